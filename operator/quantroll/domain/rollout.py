"""Moving traffic: start the candidate, shift step by step, look at it, promote it; or take it back.

One state at a time, read from `status.rollout`; each function below is a state and makes at most one transition. The
order of effects is fixed. Up: create, ready, warm, weight. Down (`leaving`): weight, verified, drained, delete.
"""

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RevisionStatus, RolloutStatus
from quantroll.constants import Phase, Reason
from quantroll.domain import analysis, approval, leaving, memory, rollback
from quantroll.domain.draft import Draft
from quantroll.domain.leaving import take_back
from quantroll.domain.traffic import by_route, can_split, is_applied, next_weight, pods_for, report_route


def begin(draft: Draft, spec: QuantizedModelSpec, candidate: RevisionStatus) -> None:
    """Make a revision the candidate."""
    load = parse_duration(spec.rollout.deadlines.model_load)
    total = parse_duration(spec.rollout.deadlines.total)
    memory.cool_down(draft)
    draft.set(
        candidate=candidate,
        rollout=RolloutStatus(
            id=memory.rollout_id(draft, candidate),
            step=-1,
            weight=0,
            started_at=draft.now,
            deadline=draft.now + load,
            expires_at=draft.now + total,
        ),
    )
    draft.say(Phase.CANDIDATE_STARTING, _start(spec, candidate))
    draft.wake(draft.now + min(load, total))


def advance(draft: Draft, spec: QuantizedModelSpec, chosen: str | None, rejection_key: str) -> None:
    """Go on with the rollout under way.

    `chosen` is the revision that should be rolled out now, or None while that is not decided; another one than the
    candidate supersedes it. `rejection_key` is what the revision that goes is remembered by.
    """
    rollout, candidate = draft.status.rollout, draft.status.candidate
    if rollout is None:
        return
    if rollout.draining:
        leaving.draining(draft, spec, rollout, rollout.draining)
    elif candidate is None:
        draft.set(rollout=None)
    elif rollout.kind == "Rollback":
        rollback.advance(draft, spec, rollout, candidate, rejection_key)
    elif rollout.reason:
        leaving.rolling_back(draft, spec, rollout, candidate, rejection_key)
    elif draft.aborting:
        return  # as soon as something else can answer
    elif chosen != candidate.revision:
        take_back(draft, rollout, candidate, Reason.SUPERSEDED, "the spec asks for something else now")
    elif rollout.step >= 0 and not _is_step(spec, rollout):
        take_back(draft, rollout, candidate, Reason.SUPERSEDED, "the spec asks for other steps now")
    elif not _expired(draft, rollout, candidate):
        _go_on(draft, spec, rollout, candidate)


def _go_on(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    if rollout.step < 0:
        _starting(draft, spec, rollout, candidate)
    elif _lost_capacity(draft, spec, rollout, candidate):
        return
    elif rollout.since is None:
        _shifting(draft, spec, rollout, candidate)
    elif not is_applied(draft, spec):  # somebody changed the route: it is put back, and the step's clock starts again
        _change(draft, rollout, since=None, analysis=None)
        phase = Phase.SHIFTING if _in_steps(spec, rollout) else Phase.PROMOTING
        draft.say(phase, f"the traffic was changed: giving {candidate.variant} {rollout.weight} % again")
    elif _in_steps(spec, rollout):
        _analyzing(draft, spec, rollout, candidate)
    else:
        _promoting(draft, rollout, candidate)


def _change(draft: Draft, rollout: RolloutStatus, **changes: object) -> RolloutStatus:
    changed = rollout.model_copy(update=changes)
    draft.set(rollout=changed)
    return changed


def _in_steps(spec: QuantizedModelSpec, rollout: RolloutStatus) -> bool:
    return rollout.step < len(spec.rollout.steps)


def _is_step(spec: QuantizedModelSpec, rollout: RolloutStatus) -> bool:
    """Whether the rollout stands at a step that the spec still has; promotion is the one after the last."""
    return rollout.step <= len(spec.rollout.steps) and rollout.weight == next_weight(spec, rollout.step - 1)


def _expired(draft: Draft, rollout: RolloutStatus, candidate: RevisionStatus) -> bool:
    """Whether the whole rollout has taken too long; nobody is hurried while asked for approval."""
    if rollout.expires_at is None or rollout.awaiting_since:
        return False
    draft.wake(rollout.expires_at)
    if draft.now < rollout.expires_at:
        return False
    cause = f": {rollout.analysis.message}" if rollout.analysis and rollout.analysis.verdict != "Pass" else ""
    message = f"not promoted within deadlines.total{cause}"
    return take_back(draft, rollout, candidate, Reason.ROLLOUT_DEADLINE, message)


def _starting(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    first = spec.rollout.steps[0].weight
    needed, server = pods_for(spec, first), draft.seen.server(candidate.revision)
    if not can_split(draft, spec):
        draft.say(Phase.CANDIDATE_STARTING, f"{candidate.variant} waits for the Gateway API")
        return
    if server.ready >= needed:
        _change(draft, rollout, step=0, weight=first, since=None, deadline=None)
        draft.say(Phase.SHIFTING, _giving(spec, candidate, first))
        return
    draft.say(Phase.CANDIDATE_STARTING, _start(spec, candidate))
    if server.problem:
        draft.block(server.problem.reason, f"candidate {candidate.variant}: {server.problem.message}")
    if rollout.deadline and draft.now >= rollout.deadline:
        cause = f": {server.problem.message}" if server.problem else ""
        _too_late(draft, spec, rollout, candidate, "not ready", cause)
    elif rollout.deadline:
        draft.wake(rollout.deadline)


def _start(spec: QuantizedModelSpec, candidate: RevisionStatus) -> str:
    """Without a count of ready pods: a write for each would tell nothing that the Deployment does not."""
    needed = pods_for(spec, spec.rollout.steps[0].weight)
    return f"starting {candidate.variant}: it gets traffic when {needed} pods are ready"


def _giving(spec: QuantizedModelSpec, candidate: RevisionStatus, weight: int) -> str:
    """The same from the decision until it is seen to be so: one status write for both."""
    waited_for = "the gateway applies it" if by_route(spec) else "enough pods are ready"
    return f"giving {candidate.variant} {weight} % of the traffic, as soon as {waited_for}"


def _too_late(
    draft: Draft,
    spec: QuantizedModelSpec,
    rollout: RolloutStatus,
    candidate: RevisionStatus,
    what: str,
    cause: str = "",
) -> None:
    limit = f"within deadlines.modelLoad ({spec.rollout.deadlines.model_load})"
    take_back(draft, rollout, candidate, Reason.LOAD_DEADLINE, f"{what} {limit}{cause}")


def _lost_capacity(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> bool:
    needed, server = pods_for(spec, rollout.weight), draft.seen.server(candidate.revision)
    needed = needed if by_route(spec) else 1  # without a gateway the share goes with the pods
    if server.ready >= needed:
        return False
    cause = f": {server.problem.message}" if server.problem else ""
    # with more replicas, say: that is no fault of the candidate's
    edited = not rollout.id.startswith(f"{draft.seen.generation}-")
    take_back(
        draft,
        rollout,
        candidate,
        Reason.SUPERSEDED if edited else Reason.CANDIDATE_UNAVAILABLE,
        f"{server.ready} of the {needed} pods that {rollout.weight} % need are ready{cause}",
    )
    return True


def _shifting(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    in_steps = _in_steps(spec, rollout)
    if is_applied(draft, spec):
        if not in_steps:  # no clock to start: a status write of its own would tell nothing that matters
            _promoting(draft, rollout, candidate)
            return
        _change(draft, rollout, since=draft.now, deadline=None)
        step = spec.rollout.steps[rollout.step]
        draft.say(Phase.ANALYZING, f"{candidate.variant} has {rollout.weight} % for {step.duration}")
        draft.wake(draft.now + parse_duration(step.duration))
        return
    draft.say(Phase.SHIFTING if in_steps else Phase.PROMOTING, _giving(spec, candidate, rollout.weight))
    report_route(draft)
    if rollout.deadline and draft.now >= rollout.deadline:
        _too_late(draft, spec, rollout, candidate, f"the pods that {rollout.weight} % need were not ready")
    elif rollout.deadline:
        draft.wake(rollout.deadline)


def _analyzing(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    """Look at the candidate every interval; when the step's time is over and the last look is good, go on."""
    step, since = spec.rollout.steps[rollout.step], rollout.since or draft.now
    said = analysis.look(draft, spec)
    found = analysis.record(draft, spec, rollout, said)
    if found is not rollout.analysis:
        rollout = _change(draft, rollout, analysis=found)
    limits = spec.rollout.analysis
    if found and found.failures > limits.failure_limit:
        take_back(draft, rollout, candidate, Reason.ANALYSIS_FAILED, found.message)
        return
    over = since + parse_duration(step.duration)
    if limits.metrics:
        draft.wake(draft.now + parse_duration(limits.interval))
    if draft.now < over:
        draft.say(Phase.ANALYZING, f"{candidate.variant} has {rollout.weight} % for {step.duration}")
        draft.wake(over)
    elif said.verdict != "Pass":
        approval.stop_waiting(draft, rollout)
        draft.say(Phase.ANALYZING, f"{candidate.variant} is held at {rollout.weight} %: {_why(said)}")
        if said.missing:
            draft.block(
                Reason.METRICS_UNAVAILABLE, f"{candidate.variant} is held at {rollout.weight} %: {said.message}"
            )
    elif step.approval and rollout.approved_step != rollout.step:
        approval.ask(draft, rollout, candidate)
    else:
        _next_step(draft, spec, approval.stop_waiting(draft, rollout), candidate)


def _why(said: analysis.Look) -> str:
    """Without counts, which change at every look: a message is written only when something has happened."""
    return said.message if said.verdict == "Unknown" else "the last look has failed"


def _next_step(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    following, load = next_weight(spec, rollout.step), parse_duration(spec.rollout.deadlines.model_load)
    needed, server = pods_for(spec, following), draft.seen.server(candidate.revision)
    if by_route(spec) and server.ready < needed:  # capacity before weight; without a gateway they are the same
        draft.say(Phase.ANALYZING, f"{candidate.variant}: {server.ready} of {needed} pods ready for {following} %")
        if rollout.deadline is None:
            rollout = _change(draft, rollout, deadline=draft.now + load)
        late = rollout.deadline or draft.now
        if draft.now >= late:
            found = f"only {server.ready} of the {needed} pods that {following} % need were ready"
            _too_late(draft, spec, rollout, candidate, found)
        else:
            draft.wake(late)
        return
    shifting = rollout.step + 1 < len(spec.rollout.steps)
    _change(
        draft,
        rollout,
        step=rollout.step + 1,
        weight=following,
        since=None,
        deadline=None if by_route(spec) else draft.now + load,
        analysis=None,
    )
    draft.say(Phase.SHIFTING if shifting else Phase.PROMOTING, _giving(spec, candidate, following))


def _promoting(draft: Draft, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    """Move the pointer; no pod is touched."""
    old = draft.status.stable
    if old:
        memory.retire(draft, old)
    leaving.promote(draft, rollout, candidate, old)
