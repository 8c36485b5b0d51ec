"""Quality that no drift check has been able to tell for too long: it is told, and no rollout begins."""

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import Drift, QuantizedModelStatus
from quantroll.domain.draft import Draft

_CANNOT_TELL = ("Unknown", "Pending")


def mark(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Note that checks have not been able to tell for longer than `maxStaleness`, or that one has been.

    A schedule whose checks are rarer than that is no fault: the last one has to be one that could not tell. While a
    confirmation runs, what was noted stands.
    """
    drift, stable = draft.status.drift, draft.status.stable
    if drift is None or stable is None:
        return
    late = (drift.last or stable.since or draft.now) + parse_duration(spec.drift_check.missing_data.max_staleness)
    cannot_tell = drift.verdict in _CANNOT_TELL or (drift.confirming and drift.unverified_since)
    if not cannot_tell or draft.now < late:
        _set(draft, drift.model_copy(update={"unverified_since": None}))
        if cannot_tell:
            draft.wake(late)
    elif drift.unverified_since is None:
        _set(draft, drift.model_copy(update={"unverified_since": draft.now}))


def said(status: QuantizedModelStatus) -> str:
    """What is unverified, since when and why; empty where nothing is."""
    drift, stable = status.drift, status.stable
    if drift is None or stable is None or drift.unverified_since is None:
        return ""
    since = drift.last or stable.since
    when = f" since {since:%Y-%m-%dT%H:%M:%SZ}" if since else ""
    return f"no drift check of {stable.variant} has been able to tell{when}: {drift.message}"


def _set(draft: Draft, drift: Drift) -> None:
    draft.set(drift=drift)
