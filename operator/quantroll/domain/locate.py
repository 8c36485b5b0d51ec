"""Where a source lies inside a pod: claims are mounted under one folder, each by its name."""

from quantroll.api.jobs import DataFile
from quantroll.constants import CLAIMS_MOUNT


def claim_and_path(source: str) -> tuple[str, str]:
    """`pvc://claim/some/path` as (claim, some/path); the API server has checked its form."""
    claim, _, path = source.removeprefix("pvc://").partition("/")
    return claim, path.strip("/")


def pod_path(source: str) -> str:
    """The path of a source as a container sees it."""
    claim, path = claim_and_path(source)
    return f"{CLAIMS_MOUNT}/{claim}/{path}"


def data_file(source: str, sha256: str | None, id_field: str = "id") -> DataFile:
    """A data set as a Job's input names it."""
    return DataFile(path=pod_path(source), sha256=sha256, id_field=id_field)
