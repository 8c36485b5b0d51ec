"""Where a source lies inside a pod: claims are mounted under one folder, each by its name."""

from quantroll.api.jobs import DataFile, HubModel
from quantroll.api.spec import ModelRef
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


def data_file(source: str, sha256: str | None, id_field: str = "id") -> DataFile:
    """A data set as a Job's input names it."""
    return DataFile(path=pod_path(source), sha256=sha256, id_field=id_field)


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
