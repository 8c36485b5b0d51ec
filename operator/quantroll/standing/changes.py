"""What is new from one look to the next: the lines that a watch appends where it cannot redraw."""

from quantroll.api.status import QuantizedModelStatus
from quantroll.standing.history import happenings
from quantroll.standing.view import View
from quantroll.standing.why import why


def changes(before: View | None, after: View) -> list[str]:
    """A sentence for each thing that is new. Of the first look: where it stands, and what it waits for."""
    if before is None:
        return [_stands(after), *(f"waits for {wait.what}" for wait in why(after))]
    known = set(happenings(before))
    told = [f"{one.what}: {one.message}" for one in happenings(after) if one not in known]
    if after.status.message != before.status.message and not any(after.status.message in line for line in told):
        told.append(_stands(after))
    old, new = _facts(before.status), _facts(after.status)
    told += [f"{name}: {value}" for name, value in new.items() if value and value != old.get(name)]
    return list(dict.fromkeys([*told, *_pods(before, after)]))


def _stands(view: View) -> str:
    return f"{view.status.phase or 'not seen by the operator yet'}: {view.status.message}".removesuffix(": ")


def _facts(status: QuantizedModelStatus) -> dict[str, str]:
    """What a person follows, each in one sentence; conditions only as far as they ask for somebody."""
    names = {found.revision: found.variant for found in (status.stable, status.candidate) if found}
    rollout, drift = status.rollout, status.drift
    looked = rollout.analysis if rollout else None
    shares = (f"{names.get(share.revision, share.revision)} {share.weight} %" for share in status.traffic.applied)
    stalled = {f"{found.reason}": found.message for found in status.conditions if _asks(found.type, found.status)}
    return {
        "traffic applied": ", ".join(shares),
        "looks": f"{looked.verdict}, {looked.failures} failed: {looked.message}" if looked else "",
        "drift": f"{drift.verdict}: {drift.message}" if drift else "",
        **{row.name: f"{row.verdict}: {row.message}" for row in status.variants if row.verdict},
        **stalled,
    }


def _asks(kind: str, value: str) -> bool:
    return (kind, value) in (("Stalled", "True"), ("Available", "False"))


def _pods(before: View, after: View) -> list[str]:
    if after.pods is None or before.pods is None:
        return []
    roles = {found.revision: found.variant for found in (after.status.stable, after.status.candidate) if found}
    return [
        f"{name}: {after.pods_of(revision)}"
        for revision, name in roles.items()
        if after.pods_of(revision) != before.pods_of(revision)
    ]
