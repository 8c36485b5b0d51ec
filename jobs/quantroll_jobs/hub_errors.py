"""What goes wrong between us and a hub, in words that say what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from quantroll.api.jobs import HubModel
from quantroll.constants import Reason
from quantroll_jobs.errors import JobError, storage_full


@contextmanager
def translated(model: HubModel, endpoint: str, *, has_token: bool) -> Iterator[None]:
    """Errors of huggingface_hub inside become JobErrors."""
    try:
        yield
    except JobError:
        raise
    except (httpx.HTTPError, OSError, EntryNotFoundError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the volume's, not the hub's
            if full := storage_full(error):
                raise full from error
            raise
        raise _explained(_root(error), model, endpoint, has_token=has_token) from error


def _root(error: Exception) -> Exception:
    """The library says "not found locally" for whatever kept it from fetching."""
    hidden = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
    return hidden if isinstance(hidden, Exception) else error


def _explained(error: Exception, model: HubModel, endpoint: str, *, has_token: bool) -> JobError:
    name = f"{model.repository} at {endpoint}"
    if isinstance(error, RevisionNotFoundError | EntryNotFoundError):
        return JobError(
            Reason.MODEL_NOT_FOUND, f"{name} has no commit {model.revision}: check model.source and model.revision"
        )
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, GatedRepoError) or (status in (401, 403) and not _unknown(error)):
        return _forbidden(name, status, has_token=has_token)
    if status == 404 or _unknown(error):
        return JobError(
            Reason.MODEL_NOT_FOUND,
            f"there is no model {name}, or it is private and {_whose_token(has_token=has_token)}:"
            " check model.source and model.tokenSecretRef",
        )
    if isinstance(error, HFValidationError):
        return JobError(Reason.MODEL_NOT_FOUND, f"model.source: {error}")
    return JobError(Reason.HUB_UNREACHABLE, f"fetching {name} did not get on: {_cause(error, status)}", permanent=False)


def _unknown(error: Exception) -> bool:
    return isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError)


def _forbidden(name: str, status: int | None, *, has_token: bool) -> JobError:
    return JobError(
        Reason.MODEL_FORBIDDEN,
        f"the hub refuses {name} (HTTP {status}): {_whose_token(has_token=has_token)}; accept the model's terms on its"
        " page, and have model.tokenSecretRef name a Secret with a token that may read it",
    )


def _whose_token(*, has_token: bool) -> str:
    return "the token does not give access" if has_token else "no token is given"


def _cause(error: Exception, status: int | None) -> str:
    if status is not None:
        return f"HTTP {status}; tried again later"
    if isinstance(error, FileMetadataError | ValueError | KeyError | TypeError):
        return "what answers there does not speak the hub's protocol: have the admin check huggingFace.endpoint"
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]
