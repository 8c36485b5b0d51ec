"""Events: what is worth telling a person, found by comparing the status before and after a pass."""

from dataclasses import dataclass
from typing import Literal

from quantroll.api.status import QuantizedModelStatus, VariantStatus
from quantroll.constants import GROUP, Condition, Phase, Reason
from quantroll.domain import unverified
from quantroll.domain.draft import clip

_WARNING_PHASES = frozenset({Phase.REJECTED, Phase.ROLLING_BACK, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Event:
    """An event to emit once the status is written."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def events(before: QuantizedModelStatus, after: QuantizedModelStatus) -> tuple[Event, ...]:
    """What has happened between two statuses."""
    return (
        *_transition(before, after),
        *_verdicts(before, after),
        *_stalled(before, after),
        *_drift(before, after),
        *_route(before, after),
        *_unverified(before, after),
        *_commands(before, after),
        *_suspension(before, after),
        *_capacity(before, after),
        *_window(before, after),
        *_engine(before, after),
    )


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
    return (broken and row.reason) or Reason.VERDICT


def _stalled(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    def reason(status: QuantizedModelStatus) -> tuple[str, str] | None:
        found = next((c for c in status.conditions if c.type == Condition.STALLED and c.status == "True"), None)
        return (found.reason, found.message) if found else None

    new = reason(after)
    if new is None or new[0] in _WARNING_PHASES or ((old := reason(before)) and old[0] == new[0]):
        return []
    return [Event("Warning", new[0], new[1])]


_DRIFT = {
    "Unknown": Reason.QUALITY_UNKNOWN,
    "Healthy": Reason.FLOOR_MET,
    "Suspect": Reason.FLOOR_SUSPECT,
    "Breached": Reason.FLOOR_BREACHED,
    "PopulationShift": Reason.POPULATION_SHIFT,
}


def _drift(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    """A check that ended otherwise than the last one, and every one that could not tell."""
    old, new = before.drift, after.drift
    if new is None or new.revision is None or new.verdict not in _DRIFT:
        return []
    ended = old is not None and new.next != old.next
    changed = old is None or (new.verdict, new.revision) != (old.verdict, old.revision)
    if not changed and not (ended and new.verdict != "Healthy"):
        return []
    return [Event("Normal" if new.verdict == "Healthy" else "Warning", _DRIFT[new.verdict], new.message)]


def _route(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    """Somebody else has changed what splits the traffic."""
    old, new = before.rollout, after.rollout
    if new is None or new.drifted_at is None or (old and old.id == new.id and old.drifted_at == new.drifted_at):
        return []
    return [Event("Warning", Reason.ROUTE_DRIFTED, after.message)]


def _unverified(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    told = unverified.said(after)
    return [Event("Warning", Reason.QUALITY_UNVERIFIED, told)] if told and not unverified.said(before) else []


def _commands(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    old = {(command.verb, command.value) for command in before.commands}
    return [
        Event(
            "Normal" if command.accepted else "Warning",
            Reason.COMMAND_DONE if command.accepted else Reason.COMMAND_REFUSED,
            f"{GROUP}/{command.verb}={command.value}: {command.message}",
        )
        for command in after.commands
        if (command.verb, command.value) not in old
    ]


def _suspension(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    if bool(before.suspended_at) == bool(after.suspended_at):
        return []
    held = after.suspended_at is not None
    return [Event("Normal", Reason.SUSPENDED if held else Reason.RESUMED, after.message)]


def _capacity(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    """A candidate's pods are given up; of others that find no node, Stalled tells."""

    def blocked(status: QuantizedModelStatus) -> str:
        found = next((c for c in status.conditions if c.type == Condition.CAPACITY_BLOCKED), None)
        given_up = found and found.status == "True" and found.reason == Reason.CAPACITY_BLOCKED
        return found.message if found and given_up else ""

    if not (said := blocked(after)) or blocked(before):
        return []
    return [Event("Warning", Reason.CAPACITY_BLOCKED, said)]


def _window(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    """A rollout under way begins to wait for one of its windows."""
    held = after.rollout and after.rollout.held_since
    stalled = {c.reason for c in after.conditions if c.type == Condition.STALLED and c.status == "True"}
    if stalled & {Reason.SPEC_INVALID, Reason.ENGINE_UNKNOWN}:
        return []  # that is told, and is what it waits for
    if not held or (before.rollout and before.rollout.held_since):
        return []
    return [Event("Normal", Reason.OUTSIDE_WINDOW, after.message)]


def _engine(before: QuantizedModelStatus, after: QuantizedModelStatus) -> list[Event]:
    """The admin has changed the engine profile of a spec that is the same."""
    old, new = before.resolved, after.resolved
    if old is None or new is None or (old.generation, old.engine) != (new.generation, new.engine):
        return []
    if old.profile == new.profile:
        return []
    image = f"image {new.profile.image}, was {old.profile.image}" if old.profile.image != new.profile.image else "flags"
    said = (
        f"the admin has changed engine profile {new.engine} ({image}): what serves stays until the new one is verified"
    )
    return [Event("Normal", Reason.ENGINE_CHANGED, clip(said))]
