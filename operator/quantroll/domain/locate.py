"""Where a source lies inside a pod: claims are mounted under one folder, each by its name."""

from quantroll.api.jobs import DataFile, HubModel, PrepareResult
from quantroll.api.spec import EvalSet, ModelRef, QuantizedModelSpec
from quantroll.constants import ARTIFACTS_MOUNT, CLAIMS_MOUNT
from quantroll.domain.fingerprints import source_key

_CLAIM, _HUB = "pvc://", "hf://"


def claim_and_path(source: str) -> tuple[str, str]:
    """`pvc://claim/some/path` as (claim, some/path); the API server has checked its form."""
    claim, _, path = source.removeprefix(_CLAIM).partition("/")
    return claim, path.strip("/")


def pod_path(source: str) -> str:
    """The path of a source as a container sees it."""
    claim, path = claim_and_path(source)
    return f"{CLAIMS_MOUNT}/{claim}/{path}"


def data_file(source: str, sha256: str | None) -> DataFile:
    """A calibration set as a Job's input names it."""
    return DataFile(path=pod_path(source), sha256=sha256)


def item_file(evals: EvalSet, sha256: str | None, source: str | None = None) -> DataFile:
    """A file of labelled items as a Job's input names it; another source has the eval set's fields.

    Without any, the path is empty: tasks of lm-eval's own.
    """
    return DataFile(
        path=pod_path(place) if (place := source or evals.source) else "",
        sha256=sha256,
        id_field=evals.id_field,
        slice_field=evals.slice_field,
        cluster_field=evals.cluster_field,
    )


def probe_source(spec: QuantizedModelSpec, prepared: PrepareResult | None) -> DataFile:
    """What the prober and the confirmation take their items from: labelled production data, or the eval set."""
    evals = spec.quality_gate.eval_set
    if spec.probe.source:
        return item_file(evals, None, spec.probe.source)
    return item_file(evals, prepared.eval_set.sha256 if prepared else evals.sha256)


def revision_name(owner: str, revision: str) -> str:
    """Name of a revision's Deployment and Service."""
    return f"{owner}-{revision}"


def revision_endpoint(owner: str, revision: str) -> str:
    """Where a revision is asked, past the split, from inside its namespace."""
    return f"http://{revision_name(owner, revision)}"


def hub_model(model: ModelRef) -> HubModel | None:
    """The commit to fetch; None for a model that lies on a claim already."""
    if not model.source.startswith(_HUB):
        return None
    return HubModel(repository=model.source.removeprefix(_HUB), revision=model.revision or "")


def baseline_model(model: ModelRef) -> str:
    """What a revision that serves the baseline names as its model: the source, or where prepare puts a copy."""
    hub = hub_model(model)
    return f"sources/{source_key(hub.repository, hub.revision)}" if hub else model.source


def model_path(model: str) -> str:
    """The path of a revision's model as a container sees it: a source, or a path on the artifact volume."""
    return pod_path(model) if model.startswith(_CLAIM) else f"{ARTIFACTS_MOUNT}/{model}"
