"""`status` as a tree: what serves, the rollout with its steps and clocks, traffic, verdicts, drift and commands."""

from quantroll.api.status import DriftCheckStatus, RevisionStatus, Share, VariantStatus
from quantroll.constants import BASELINE, Condition, Phase
from quantroll.standing import moments
from quantroll.standing.steps import steps_of
from quantroll.standing.tree import Mark, Node, columns
from quantroll.standing.view import View
from quantroll.standing.waits import Wait
from quantroll.standing.why import why

_PHASES = {
    Phase.STEADY: Mark.GOOD,
    Phase.REJECTED: Mark.BAD,
    Phase.ROLLED_BACK: Mark.BAD,
    Phase.ROLLING_BACK: Mark.WARNING,
    Phase.AWAITING_APPROVAL: Mark.HELD,
}
_VERDICTS = {"PASS": Mark.GOOD, "FAIL": Mark.BAD, "INCONCLUSIVE": Mark.WARNING, None: Mark.LATER}
_ASKED = {"desired": "asked"}
_DRIFT = {
    "Healthy": Mark.GOOD,
    "Breached": Mark.BAD,
    "PopulationShift": Mark.BAD,
    "Suspect": Mark.WARNING,
    "Unknown": Mark.WARNING,
    "Pending": Mark.LATER,
}


def overview(view: View) -> Node:
    """The whole, as a tree."""
    parts = [_waits(view), _serving(view), _rollout(view), _traffic(view), _variants(view), _drift(view)]
    parts += [_rejected(view), _commands(view)]
    return Node(_title(view), mark=_mark(view), bold=True, below=[part for part in parts if part])


def _title(view: View) -> str:
    subject, status = view.subject, view.status
    where = f"{subject.namespace}/{subject.name}" if subject.namespace else subject.name
    if status.phase is None:
        return f"{where}: not seen by the operator yet"
    since = f", {moments.since(view.entered, view.now)}" if view.entered else ""
    generation = f"; spec generation {status.observed_generation}" if status.observed_generation else ""
    return f"{where}: {status.phase}{since}{generation}"


def _mark(view: View) -> Mark:
    if view.status.suspended_at:
        return Mark.HELD
    if view.holds(Condition.STALLED):
        return Mark.BAD
    return _PHASES.get(view.status.phase or Phase.PENDING, Mark.WORKING)


def _waits(view: View) -> Node:
    """The answer of `why` in short."""
    waits = why(view)
    if not waits:
        return Node(f"waits for nothing: {view.status.message}", Mark.GOOD)
    return Node("waits for", bold=True, below=[_wait(view, wait) for wait in waits])


def _wait(view: View, wait: Wait) -> Node:
    clocks = wait.clocks(view.now)
    return Node(
        f"{wait.what} [{clocks}]" if clocks else wait.what,
        Mark.WARNING if wait.person else Mark.WORKING,
        below=[Node(hint) for hint in wait.unblock[: 2 if wait.person else 1]],
    )


def _serving(view: View) -> Node | None:
    status, now = view.status, view.now
    rows: list[tuple[Mark, tuple[str, ...]]] = []

    def add(role: str, found: RevisionStatus, mark: Mark, more: str) -> None:
        pods = view.pods_of(found.revision)
        recovery = f"recovery {found.recovery}" if found.recovery else ""
        rows.append((mark, (role, found.variant, found.revision, str(pods or ""), recovery, more)))

    if status.stable:
        since = moments.since(status.stable.since, now) if status.stable.since else ""
        add("stable", status.stable, Mark.GOOD if view.holds(Condition.AVAILABLE) else Mark.BAD, since)
    if status.candidate:
        ready = view.holds(Condition.CANDIDATE_AVAILABLE)
        add("candidate", status.candidate, Mark.GOOD if ready else Mark.WORKING, "")
    for past in status.last_good:
        pods = view.pods_of(past.revision) if past.warm_until else None
        warm = f"kept warm, ends {moments.until(past.warm_until, now)}" if past.warm_until else "its pods are gone"
        recovery = f"recovery {past.recovery}" if past.recovery else ""
        left = f"served until {moments.clock(past.until, now)}; {warm}"
        rows.append((Mark.LATER, ("before", past.variant, past.revision, str(pods or ""), recovery, left)))
    if not rows:
        return None
    told = columns([cells for _, cells in rows])
    return Node("serving", bold=True, below=[Node(line, mark) for (mark, _), line in zip(rows, told, strict=True)])


def _rollout(view: View) -> Node | None:
    rollout, candidate, now = view.status.rollout, view.status.candidate, view.now
    if rollout is None:
        return None
    back = rollout.kind == "Rollback"
    what = "going back" if back else "rollout"
    to = f" to {candidate.variant}" if candidate else ""
    head = f"{what}{to}: {rollout.id}, begun {moments.ago(rollout.started_at, now)}"
    if rollout.expires_at and not view.status.suspended_at:
        head += f"; given up {moments.until(rollout.expires_at, now)}"
    below = [Node(f"{rollout.reason}: {rollout.message}", Mark.WARNING)] if rollout.reason else []
    if not back:
        steps = steps_of(view)
        lines = columns([(step.what, step.clock) for step in steps])
        for step, line in zip(steps, lines, strict=True):
            looks = [Node(step.analysis, step.analysis_mark)] if step.analysis else []
            below.append(Node(line, step.mark, below=looks))
    return Node(head, bold=True, below=below)


def _traffic(view: View) -> Node | None:
    """What was asked for, what the gateway has accepted, and what else the status knows of shares."""
    names = {found.revision: found.variant for found in (view.status.stable, view.status.candidate) if found}
    traffic = view.status.traffic
    fields = {name: getattr(traffic, name) for name in type(traffic).model_fields}
    kinds = {_ASKED.get(name, name): shares for name, shares in fields.items() if isinstance(shares, list)}
    if not any(kinds.values()):
        return None
    mark = Mark.GOOD if traffic.desired == traffic.applied else Mark.WORKING
    rows = columns([(kind, _shares(shares, names)) for kind, shares in kinds.items()])
    return Node("traffic", mark, bold=True, below=[Node(row) for row in rows])


def _shares(shares: list[Share], names: dict[str, str]) -> str:
    told = [f"{names.get(share.revision, share.revision)} {share.weight} %" for share in shares]
    return ", ".join(told) or "not known to be so"


def _variants(view: View) -> Node | None:
    rows = view.status.variants
    if not rows:
        return None
    gate = view.subject.spec.quality_gate
    floor = f"floor {gate.min_acceptable:g}" if gate.max_drop is None else f"at most {gate.max_drop:g} below"
    base = view.status.baseline
    score = f", baseline scores {base.score:.4f}" if base and base.score is not None else ""
    lines = columns([_verdict(row) for row in rows])
    below = [Node(line, _VERDICTS.get(row.verdict, Mark.BAD)) for row, line in zip(rows, lines, strict=True)]
    return Node(f"variants ({floor}{score})", bold=True, below=below)


def _verdict(row: VariantStatus) -> tuple[str, ...]:
    recovery = ""
    if row.recovery is not None:
        bounds = [f"{bound:.4f}" if bound is not None else "" for bound in (row.lower_bound, row.upper_bound)]
        recovery = f"{row.recovery:.4f} [{', '.join(bounds)}]"
    stage = row.verdict or ("made, not judged" if row.artifact else "not made")
    why_so = row.reason if row.verdict and row.reason != row.verdict else ""
    failed = f"last try: {row.failure.reason}" if row.failure and row.failure.reason != row.reason else ""
    return row.name, row.scheme, stage, why_so or "", recovery, failed


def _drift(view: View) -> Node | None:
    drift, now = view.status.drift, view.now
    if drift is None:
        return None
    numbers = [f"{drift.value:.4f}"] if drift.value is not None else []
    numbers += [f"of {drift.samples:,} items"] if drift.samples is not None else []
    numbers += [f"floor {drift.floor:.4f}"] if drift.floor is not None else []
    stable = view.status.stable
    other = f" of revision {drift.revision}" if drift.revision and stable and drift.revision != stable.revision else ""
    below = [Node(drift.message)] if drift.message else []
    last = f"last {moments.clock(drift.last, now)}" if drift.last else "none has ended yet"
    following = f"next {moments.until(drift.next, now)}" if drift.next else "none is due"
    below.append(Node(f"checks {drift.schedule}: {last}, {following}"))
    below += [_confirming(view, drift.confirming)] if drift.confirming else []
    head = f"drift: {drift.verdict}{other}{', ' if numbers else ''}{', '.join(numbers)}"
    rests = stable is None or stable.variant == BASELINE
    return Node(
        head, Mark.LATER if rests and not other else _DRIFT.get(drift.verdict, Mark.WARNING), below=below, bold=True
    )


def _confirming(view: View, check: DriftCheckStatus) -> Node:
    clocks = f"{moments.since(check.started_at, view.now)}, given up {moments.until(check.deadline, view.now)}"
    pods = view.pods_of(check.target)
    known = f" ({pods})" if pods else ""
    return Node(f"being confirmed against revision {check.target}{known}: {clocks}", Mark.WORKING)


def _rejected(view: View) -> Node | None:
    below = [
        Node(f"{entry.variant} ({entry.revision}), {entry.reason}, {moments.ago(entry.at, view.now)}: {entry.message}")
        for entry in view.status.rejected
    ]
    return Node("rejected: not tried again by itself", bold=True, below=below) if below else None


def _commands(view: View) -> Node | None:
    below = [
        Node(
            f"{found.verb} {moments.ago(found.at, view.now)}, {'accepted' if found.accepted else 'refused'}:"
            f" {found.message} [{found.value}]",
            Mark.GOOD if found.accepted else Mark.BAD,
        )
        for found in sorted(view.status.commands, key=lambda command: command.at, reverse=True)
    ]
    return Node("commands", bold=True, below=below) if below else None
