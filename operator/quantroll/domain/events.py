"""Events: what is worth telling a person, found by comparing the status before and after a pass."""

from dataclasses import dataclass
from typing import Literal

from quantroll.api.status import QuantizedModelStatus, VariantStatus
from quantroll.constants import Condition, Phase

_WARNING_PHASES = frozenset({Phase.REJECTED, Phase.ROLLING_BACK, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Event:
    """An event to emit once the status is written."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def events(before: QuantizedModelStatus, after: QuantizedModelStatus) -> tuple[Event, ...]:
    """What has happened between two statuses."""
    return (*_transition(before, after), *_verdicts(before, after), *_stalled(before, after))


def _transition(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    if after.phase is None or after.phase is before.phase:
        return []
    return [Event("Warning" if after.phase in _WARNING_PHASES else "Normal", after.phase, after.message)]


def _verdicts(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    old = {row.name: row.verdict for row in before.variants}
    return [
        Event("Normal" if row.verdict == "PASS" else "Warning", _why(row), f"{row.name}: {row.verdict}. {row.message}")
        for row in after.variants
        if row.verdict and row.verdict != old.get(row.name)
    ]


def _why(row: VariantStatus) -> str:
    """What the gate said is a verdict; what kept it from saying anything goes by its own name."""
    broken = row.verdict in ("ERROR", "Infeasible")
    return (broken and row.reason) or "Verdict"


def _stalled(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    def reason(status: QuantizedModelStatus) -> tuple[str, str] | None:
        found = next((c for c in status.conditions if c.type == Condition.STALLED and c.status == "True"), None)
        return (found.reason, found.message) if found else None

    new = reason(after)
    if new is None or new[0] in _WARNING_PHASES or ((old := reason(before)) and old[0] == new[0]):
        return []
    return [Event("Warning", new[0], new[1])]
