"""The same for programs: JSON values."""

from typing import Any

from quantroll.standing.steps import steps_of
from quantroll.standing.view import View
from quantroll.standing.waits import Wait
from quantroll.standing.why import needs_a_person, why


def status(view: View) -> dict[str, Any]:
    """The status as the API has it, and what this command line makes of it."""
    subject = view.subject
    return {
        "name": subject.name,
        "namespace": subject.namespace or None,
        "generation": subject.generation,
        **waits(view),
        "steps": [step.to_wire() for step in steps_of(view)],
        "pods": None if view.pods is None else _pods(view),
        "status": view.status.to_wire(),
    }


def waits(view: View) -> dict[str, Any]:
    """What it waits for."""
    found = why(view)
    return {"needsPerson": needs_a_person(found), "waits": [_wait(wait) for wait in found]}


def _wait(wait: Wait) -> dict[str, Any]:
    return {
        "reason": str(wait.reason),
        "what": wait.what,
        "since": wait.since.isoformat() if wait.since else None,
        "until": wait.until.isoformat() if wait.until else None,
        "needsPerson": wait.person,
        "unblock": list(wait.unblock),
    }


def _pods(view: View) -> dict[str, dict[str, int]]:
    return {name: {"ready": pods.ready, "wanted": pods.wanted} for name, pods in (view.pods or {}).items()}
