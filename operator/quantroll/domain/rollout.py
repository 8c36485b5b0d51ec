"""Moving traffic: start the candidate, shift step by step, look at it, promote it; or take it back.

One state at a time, read from `status.rollout`; each function below is a state and makes at most one transition. The
order of effects is fixed. Up: create, ready, warm, weight. Down (`leaving`): weight, verified, drained, delete.
"""

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RevisionStatus, RolloutStatus
from quantroll.constants import Phase, Reason
from quantroll.domain import analysis, approval, leaving, memory, placing, quality_looks, rollback, steps, windows
from quantroll.domain.capacity import pods_for
from quantroll.domain.draft import Draft
from quantroll.domain.leaving import take_back
from quantroll.domain.traffic import by_route, can_split, is_applied, is_edited, is_named, report_route, share_problem


def begin(draft: Draft, spec: QuantizedModelSpec, candidate: RevisionStatus) -> None:
    """Make a revision the candidate."""
    load = parse_duration(spec.rollout.deadlines.model_load)
    total = parse_duration(spec.rollout.deadlines.total)
    memory.cool_down(draft, spec)
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
    draft.say(Phase.CANDIDATE_STARTING, _start(spec, candidate, steps.weight_at(spec, 0)))
    draft.wake(draft.now + min(load, total))


def advance(draft: Draft, spec: QuantizedModelSpec, chosen: str | None, rejection_key: str) -> None:
    """Go on with the rollout under way.

    `chosen` is the revision that should be rolled out now, or None while that is not decided; another one than the
    candidate supersedes it. `rejection_key` is what the revision that goes is remembered by.
    """
    rollout, candidate = draft.status.rollout, draft.status.candidate
    if rollout is None:
        return
    rollout = windows.release(draft, spec, rollout)
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
    elif _is_superseded(draft, spec, rollout, candidate, chosen):
        return
    elif not _expired(draft, rollout, candidate):
        _go_on(draft, spec, rollout, candidate)


def _is_superseded(
    draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus, chosen: str | None
) -> bool:
    """Whether the spec asks for something else, for which the candidate is taken back.

    One that cannot be taken up supersedes nothing. Where it lacks the step that the rollout is at, no look is taken.
    """
    other_steps = rollout.step >= 0 and not steps.is_step(spec, rollout)
    if draft.held:
        if other_steps:
            _lost_capacity(draft, spec, rollout, candidate)
        return other_steps
    if chosen != candidate.revision:
        take_back(draft, rollout, candidate, Reason.SUPERSEDED, "the spec asks for something else now")
    elif other_steps:
        take_back(draft, rollout, candidate, Reason.SUPERSEDED, "the spec asks for other steps now")
    else:
        return False
    return True


def _go_on(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    if rollout.step < 0:
        _starting(draft, spec, rollout, candidate)
    elif _lost_capacity(draft, spec, rollout, candidate):
        return
    elif rollout.since is None:
        _shifting(draft, spec, rollout, candidate)
    elif not is_applied(draft, spec):
        _start_again(draft, spec, rollout, candidate)
    elif steps.in_steps(spec, rollout):
        _analyzing(draft, spec, rollout, candidate)
    else:
        _promoting(draft, spec, rollout, candidate)


def _start_again(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    """The weights are not those of the step any more: they are put back, and the step's clock starts again."""
    edited = is_edited(draft, spec)
    drifted = draft.now if edited else rollout.drifted_at
    _change(draft, rollout, since=None, step_expires_at=None, analysis=None, drifted_at=drifted)
    phase = Phase.SHIFTING if steps.in_steps(spec, rollout) else Phase.PROMOTING
    what = "the traffic was changed" if edited else "the traffic is no longer split as decided"
    draft.say(phase, f"{what}: giving {candidate.variant} {rollout.weight} % again")


def _change(draft: Draft, rollout: RolloutStatus, **changes: object) -> RolloutStatus:
    changed = rollout.model_copy(update=changes)
    draft.set(rollout=changed)
    return changed


def _expired(draft: Draft, rollout: RolloutStatus, candidate: RevisionStatus) -> bool:
    """Whether the whole rollout has taken too long; waits for a person's approval and for a window do not count."""
    if rollout.expires_at is None or rollout.awaiting_since or rollout.held_since:
        return False
    if draft.now < rollout.expires_at:
        draft.wake(rollout.expires_at)
        return False
    cause = f": {rollout.analysis.message}" if rollout.analysis and rollout.analysis.verdict != "Pass" else ""
    message = f"not promoted within deadlines.total{cause}"
    return take_back(draft, rollout, candidate, Reason.ROLLOUT_DEADLINE, message)


def _starting(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    step = steps.ahead(spec, rollout)
    first = steps.weight_at(spec, step)
    needed, server = pods_for(spec, first), draft.seen.server(candidate.revision)
    ready = server.ready >= needed and is_named(draft, spec, candidate.revision)
    if not can_split(draft, spec):
        draft.say(Phase.CANDIDATE_STARTING, f"{candidate.variant} waits for the Gateway API")
        return
    if ready and (closed := windows.closed(draft, spec)):
        _change(draft, windows.hold(draft, rollout), deadline=None)
        draft.say(Phase.CANDIDATE_STARTING, f"{candidate.variant} is ready and waits for {closed}")
        return
    if ready:
        counted = spec.serving.replicas
        rollout = _change(draft, rollout, step=step, weight=first, replicas=counted, since=None, deadline=None)
        phase = Phase.SHIFTING if steps.in_steps(spec, rollout) else Phase.PROMOTING
        draft.say(phase, _giving(spec, candidate, first))
        return
    draft.say(Phase.CANDIDATE_STARTING, _start(spec, candidate, first))
    if server.problem and not draft.is_patient(server.problem):
        draft.block(server.problem.reason, f"candidate {candidate.variant}: {server.problem.message}")
    if rollout.deadline is None and rollout.held_since is None:  # it was ready, and no window was open
        load = parse_duration(spec.rollout.deadlines.model_load)
        rollout = _change(draft, rollout, deadline=draft.now + load)
    if _has_no_room(draft, spec, rollout, candidate):
        return
    if rollout.deadline and draft.now >= rollout.deadline:
        cause = f": {server.problem.message}" if server.problem else ""
        _too_late(draft, spec, rollout, candidate, "not ready", cause)
    elif rollout.deadline:
        draft.wake(rollout.deadline)


def _start(spec: QuantizedModelSpec, candidate: RevisionStatus, first: int) -> str:
    """Without a count of ready pods: a write for each would tell nothing that the Deployment does not."""
    needed = pods_for(spec, first)
    return f"starting {candidate.variant}: it gets traffic when {needed} pods are ready{_outlook(spec, 0)}"


def _outlook(spec: QuantizedModelSpec, step: int) -> str:
    said = quality_looks.outlook(spec, step)
    return f"; {said}" if said else ""


def _has(spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> str:
    duration = spec.rollout.steps[rollout.step].duration
    return f"{candidate.variant} has {rollout.weight} % for {duration}{_outlook(spec, rollout.step)}"


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


def _has_no_room(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> bool:
    """Whether its pods are taken away again because there is no node for them."""
    found = placing.given_up(draft, spec, rollout, draft.seen.server(candidate.revision))
    return bool(found) and take_back(draft, rollout, candidate, Reason.CAPACITY_BLOCKED, found)


def _lost_capacity(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> bool:
    """Whether pods are lost that the weight was given for; where more are asked for by now, both revisions get them."""
    replicas, server = spec.serving.replicas, draft.seen.server(candidate.revision)
    given = min(rollout.replicas or replicas, replicas)
    needed = pods_for(spec, rollout.weight, given) if by_route(spec) else 1  # else the share goes with the pods
    if server.ready >= needed:
        all_come = server.ready >= pods_for(spec, rollout.weight)
        if rollout.replicas and rollout.replicas != (counted := replicas if all_come else given):
            _change(draft, rollout, replicas=counted)
            draft.wake(draft.now)
            return True
        return False
    cause = f": {server.problem.message}" if server.problem else ""
    found = f"{server.ready} of the {needed} pods that {rollout.weight} % need are ready{cause}"
    take_back(draft, rollout, candidate, Reason.CANDIDATE_UNAVAILABLE, found)
    return True


def _shifting(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    in_steps = steps.in_steps(spec, rollout)
    if is_applied(draft, spec):
        if not in_steps:  # no clock to start: a status write of its own would tell nothing that matters
            _promoting(draft, spec, rollout, candidate)
            return
        step = spec.rollout.steps[rollout.step]
        limit = steps.given_up_at(spec, step, draft.now)
        _change(draft, rollout, since=draft.now, deadline=None, step_expires_at=limit)
        draft.say(Phase.ANALYZING, _has(spec, rollout, candidate))
        draft.wake(draft.now + parse_duration(step.duration))
        return
    draft.say(Phase.SHIFTING if in_steps else Phase.PROMOTING, _giving(spec, candidate, rollout.weight))
    report_route(draft)
    if _has_no_room(draft, spec, rollout, candidate):
        return
    if rollout.deadline and draft.now >= rollout.deadline:
        _too_late(draft, spec, rollout, candidate, f"the pods that {rollout.weight} % need were not ready")
    elif rollout.deadline:
        draft.wake(rollout.deadline)


def _analyzing(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    """Look at the candidate every interval; when the step's time is over and the last look is good, go on."""
    step, since = spec.rollout.steps[rollout.step], rollout.since or draft.now
    said = analysis.look(draft, spec, rollout)
    found = analysis.record(draft, spec, rollout, said)
    if found is not rollout.analysis:
        rollout = _change(draft, rollout, analysis=found)
    if gone := analysis.lost(draft, spec, found, said):
        take_back(draft, rollout, candidate, *gone)
        return
    over = since + parse_duration(step.duration)
    if said.each:
        draft.wake(draft.now + analysis.interval(spec))
    contradiction = share_problem(draft, spec, rollout)
    if steps.is_hurried(rollout):
        _next_step(draft, spec, approval.stop_waiting(draft, rollout), candidate)
    elif draft.now < over:
        draft.say(Phase.ANALYZING, _has(spec, rollout, candidate))
        draft.wake(over)
        if contradiction:
            draft.block(Reason.SHARE_CONTRADICTS, contradiction)
    elif said.verdict != "Pass" or contradiction:
        _hold(draft, spec, approval.stop_waiting(draft, rollout), candidate, said, contradiction)
    elif step.approval and rollout.approved_step != rollout.step:
        approval.ask(draft, rollout, candidate)
    else:
        _next_step(draft, spec, approval.stop_waiting(draft, rollout), candidate)


def _hold(
    draft: Draft,
    spec: QuantizedModelSpec,
    rollout: RolloutStatus,
    candidate: RevisionStatus,
    said: analysis.Looks,
    contradiction: str,
) -> None:
    """The step's time is over, and the candidate may not go on: say why, and tell a person where one has to act."""
    why = contradiction if said.verdict == "Pass" else analysis.waits_for(said)
    limit, end = spec.rollout.deadlines.step, rollout.step_expires_at
    if limit and end and not rollout.held_since:
        found = f"{rollout.weight} % not left within deadlines.step ({limit}) after the step's duration: {why}"
        if draft.now < end:
            draft.wake(end)
        elif take_back(draft, rollout, candidate, Reason.ROLLOUT_DEADLINE, found):
            return
    draft.say(Phase.ANALYZING, f"{candidate.variant} is held at {rollout.weight} %: {why}")
    if said.verdict == "Error" and rollout.analysis:
        if draft.now >= (told := analysis.told_at(spec, rollout.analysis)):
            draft.block(Reason.METRICS_UNAVAILABLE, f"{candidate.variant} is held at {rollout.weight} %: {why}")
        else:
            draft.wake(told)
    elif contradiction:
        draft.block(Reason.SHARE_CONTRADICTS, contradiction)


def _next_step(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    step, load = steps.ahead(spec, rollout), parse_duration(spec.rollout.deadlines.model_load)
    following = steps.weight_at(spec, step)
    if closed := windows.closed(draft, spec):
        windows.hold(draft, rollout)
        draft.say(Phase.ANALYZING, f"{candidate.variant} may leave {rollout.weight} % and waits for {closed}")
        return
    needed, server = pods_for(spec, following), draft.seen.server(candidate.revision)
    if by_route(spec) and server.ready < needed:  # capacity before weight; without a gateway they are the same
        draft.say(Phase.ANALYZING, f"{candidate.variant}: {server.ready} of {needed} pods ready for {following} %")
        if rollout.deadline is None:
            rollout = _change(draft, rollout, deadline=draft.now + load)
        late = rollout.deadline or draft.now
        if _has_no_room(draft, spec, rollout, candidate):
            return
        if draft.now >= late:
            found = f"only {server.ready} of the {needed} pods that {following} % need were ready"
            _too_late(draft, spec, rollout, candidate, found)
        else:
            draft.wake(late)
        return
    _change(
        draft,
        rollout,
        step=step,
        weight=following,
        replicas=spec.serving.replicas,
        since=None,
        deadline=None if by_route(spec) else draft.now + load,
        step_expires_at=None,
        analysis=None,
        passed=analysis.passed(draft, rollout, candidate),
        drifted_at=None,
    )
    draft.say(Phase.SHIFTING if step < steps.promotion(spec) else Phase.PROMOTING, _giving(spec, candidate, following))


def _promoting(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    """Move the pointer; no pod is touched. With more replicas since it got its weight, they are waited for."""
    if draft.seen.server(candidate.revision).ready < pods_for(spec, 100):
        return
    old = draft.status.stable
    if old:
        memory.retire(draft, spec, old)
    leaving.promote(draft, rollout, candidate, old)
