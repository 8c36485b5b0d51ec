"""Conditions, derived from the rest of the status; nothing is decided by reading them."""

from datetime import datetime
from typing import Literal

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import ConditionStatus, RevisionStatus, VariantStatus
from quantroll.constants import BASELINE, Condition, Phase, Reason
from quantroll.domain import figures, memory, placing, unverified
from quantroll.domain.draft import Draft, clip
from quantroll.domain.gate import Verdict
from quantroll.domain.traffic import is_named

Answer = tuple[bool | None, str, str]

SETTLED = frozenset({Phase.STEADY, Phase.REJECTED, Phase.ROLLED_BACK})


def conditions(draft: Draft) -> list[ConditionStatus]:
    """All conditions, with the time of the last change kept where the answer is the same."""
    answers: dict[Condition, Answer] = {
        Condition.READY: _ready(draft),
        Condition.RECONCILING: _reconciling(draft),
        Condition.STALLED: _stalled(draft),
        Condition.AVAILABLE: _available(draft),
        Condition.QUANTIZED: _quantized(draft),
        Condition.VERIFIED: _verified(draft),
        Condition.CANDIDATE_AVAILABLE: _candidate_available(draft),
        Condition.CAPACITY_BLOCKED: _capacity_blocked(draft),
        Condition.PROMOTED: _promoted(draft),
        Condition.ROLLBACK_READY: _rollback_ready(draft),
        Condition.QUALITY_FLOOR_MET: _quality_floor_met(draft),
        Condition.AWAITING_APPROVAL: _awaiting_approval(draft),
        Condition.SUSPENDED: _suspended(draft),
        Condition.WORTHWHILE: _worthwhile(draft),
    }
    old = {c.type: c for c in draft.status.conditions}
    return [_condition(draft, kind, answer, old.get(kind)) for kind, answer in answers.items()]


def _condition(draft: Draft, kind: Condition, answer: Answer, old: ConditionStatus | None) -> ConditionStatus:
    value, reason, message = answer
    status: Literal["True", "False", "Unknown"] = "Unknown" if value is None else "True" if value else "False"
    since: datetime = old.last_transition_time if old and old.status == status else draft.now
    return ConditionStatus(
        type=kind.value,
        status=status,
        reason=reason,
        message=clip(message),
        observed_generation=draft.seen.generation,
        last_transition_time=since,
    )


def _ready(draft: Draft) -> Answer:
    """This generation is settled and proven."""
    if draft.blocked:
        return False, draft.blocked.reason, draft.blocked.message
    if draft.status.suspended_at:
        return False, Reason.SUSPENDED, draft.message
    if draft.phase is not Phase.STEADY:
        return False, draft.phase, draft.message
    if missing := _pods_to_come(draft):
        return False, Reason.PROGRESSING, missing
    return True, Reason.SETTLED, draft.message


def _pods_to_come(draft: Draft) -> str:
    """What this generation asks for of what serves, and is not there yet; empty where all is.

    All pods have to be there once. Those that come and go later are told by Available: Ready does not flap with them.
    """
    stable, spec = draft.status.stable, draft.seen.spec
    if stable is None or spec is None:
        return "nothing serves yet"
    server, was = draft.seen.server(stable.revision), _before(draft, Condition.READY)
    asked = 1 if was and was.status == "True" else spec.serving.replicas
    cause = f": {server.problem.message}" if server.problem else ""
    return "" if server.ready >= asked else f"{server.ready} of {asked} pods of {stable.variant} are ready{cause}"


def _before(draft: Draft, kind: Condition) -> ConditionStatus | None:
    """What was said of this generation before."""
    known = (c for c in draft.seen.status.conditions if c.type == kind)
    return next((c for c in known if c.observed_generation == draft.seen.generation), None)


def _reconciling(draft: Draft) -> Answer:
    if draft.blocked:  # kstatus takes Reconciling for progress, and does not look at Stalled any more
        return False, draft.blocked.reason, draft.blocked.message
    if draft.status.suspended_at:
        return False, Reason.SUSPENDED, draft.message
    if draft.phase is Phase.STEADY and (missing := _pods_to_come(draft)):
        return True, Reason.PROGRESSING, missing
    if draft.phase in SETTLED:
        return False, Reason.SETTLED, draft.message
    return True, Reason.PROGRESSING, draft.message


def _stalled(draft: Draft) -> Answer:
    if draft.blocked:
        return True, draft.blocked.reason, draft.blocked.message
    if draft.phase in (Phase.REJECTED, Phase.ROLLED_BACK):
        return True, draft.phase, draft.message
    return False, Reason.PROGRESSING if draft.phase not in SETTLED else Reason.SETTLED, ""


def _available(draft: Draft) -> Answer:
    """Users are served."""
    stable = draft.status.stable
    if stable is None:
        return False, Reason.NOT_SERVING, "nothing serves yet"
    server = draft.seen.server(stable.revision)
    if server.ready:
        return True, Reason.SERVING, f"{stable.variant} serves with {server.ready} ready pods"
    problem = server.problem
    return (
        False,
        problem.reason if problem else Reason.NOT_SERVING,
        (problem.message if problem else f"no pod of {stable.variant} is ready"),
    )


def _quantized(draft: Draft) -> Answer:
    table = draft.status.variants
    made = [row.name for row in table if row.artifact]
    if not table or not made:
        return False, Reason.WAITING, "no variant is made yet"
    return True, Reason.MADE, f"made: {', '.join(made)}"


def _verified(draft: Draft) -> Answer:
    """The ladder is done and something is proven."""
    table = draft.status.variants
    said = "; ".join(_said(row) for row in table if row.verdict)
    proven = [row.name for row in table if row.verdict == Verdict.PASS.value]
    if not draft.judged:
        return None, Reason.WAITING, said or "no verdict yet"
    if proven:
        return True, Reason.PROVEN, said
    return False, Reason.NONE_PROVEN, said or "no verdict"


def _said(row: VariantStatus) -> str:
    """A verdict in short, with its cause where there was nothing to judge."""
    cause = f" ({row.message})" if row.verdict in (Verdict.ERROR.value, Reason.INFEASIBLE) else ""
    return f"{row.name}: {row.verdict}{cause}"


def _candidate_available(draft: Draft) -> Answer:
    candidate = draft.status.candidate
    if candidate is None:
        return False, Reason.WAITING, "there is no candidate"
    server = draft.seen.server(candidate.revision)
    if server.ready and _is_introduced(draft, candidate):
        return True, Reason.SERVING, f"{candidate.variant} has ready pods"
    if not server.ready and server.problem and not placing.is_momentary(draft, server.problem):
        return False, server.problem.reason, server.problem.message
    return False, Reason.WAITING, f"no pod of {candidate.variant} is ready for requests"


def _is_introduced(draft: Draft, candidate: RevisionStatus) -> bool:
    """Whether the gateway may know it; where pods are ready before, the two are told in one status write."""
    rollout, spec = draft.status.rollout, draft.seen.spec
    return rollout is None or rollout.step >= 0 or spec is None or is_named(draft, spec, candidate.revision)


def _capacity_blocked(draft: Draft) -> Answer:
    """There is no node for a pod: Unknown while an autoscaler may bring one, True once it is given up."""
    rollout, rejected = draft.status.rollout, draft.status.rejected
    if rollout and rollout.reason == Reason.CAPACITY_BLOCKED:
        return True, Reason.CAPACITY_BLOCKED, rollout.message
    if draft.phase is Phase.ROLLED_BACK and rejected and rejected[0].reason == Reason.CAPACITY_BLOCKED:
        return True, Reason.CAPACITY_BLOCKED, rejected[0].message
    for part in (draft.status.candidate, draft.status.stable):
        problem = draft.seen.server(part.revision).problem if part else None
        if part and problem and placing.is_unplaced(problem) and not placing.is_momentary(draft, problem):
            waits = draft.is_patient(problem)
            return None if waits else True, Reason.UNSCHEDULABLE, f"{part.variant}: {problem.message}"
    return False, Reason.PROGRESSING, ""


def _promoted(draft: Draft) -> Answer:
    """Users get the variant that this generation has chosen; one that an earlier one had chosen is not enough."""
    stable = draft.status.stable
    if stable is None or stable.variant == BASELINE:
        return False, Reason.WAITING, "the full-precision model serves"
    if not draft.decided:
        return None, Reason.WAITING, f"{stable.variant} serves; what this spec asks for is not decided yet"
    if draft.chosen == stable.revision:
        return True, Reason.PROMOTED, f"{stable.variant} is promoted"
    ended = draft.phase in (Phase.REJECTED, Phase.ROLLED_BACK)
    return False, draft.phase if ended else Reason.PROGRESSING, f"{stable.variant} serves: {draft.message}"


def _rollback_ready(draft: Draft) -> Answer:
    """What would serve instead has pods that are ready, so that going back takes seconds and not a load."""
    stable, rollout, spec = draft.status.stable, draft.status.rollout, draft.seen.spec
    if stable is None or spec is None:
        return None, Reason.WAITING, "nothing serves yet" if spec else "the spec cannot be read"
    if rollout and rollout.kind == "Rollback":
        return None, Reason.PROGRESSING, "the traffic is going back"
    if draft.status.candidate:
        if draft.seen.server(stable.revision).ready:
            return True, Reason.SERVING, f"{stable.variant} serves beside the candidate"
        return False, Reason.NOT_SERVING, f"no pod of {stable.variant} is ready"
    if stable.variant == BASELINE:
        return None, Reason.WAITING, "the full-precision model serves: nothing is gone back to from it"
    return _target_ready(draft, spec)


def _target_ready(draft: Draft, spec: QuantizedModelSpec) -> Answer:
    target = memory.fallback(draft, spec)
    if target is None:
        return False, Reason.WAITING, memory.why_none(draft, None)
    kept = target.revision in {server.revision for server in draft.wanted.servers} | draft.wanted.kept
    if kept and draft.seen.server(target.revision).ready:
        return True, Reason.SERVING, f"{target.variant} has pods that are ready"
    return False, Reason.NOT_SERVING, f"{target.variant} would be loaded first"


_FLOOR: dict[str, tuple[bool | None, Reason]] = {
    "Unknown": (None, Reason.QUALITY_UNKNOWN),
    "Pending": (None, Reason.WAITING),
    "Healthy": (True, Reason.FLOOR_MET),
    "Suspect": (None, Reason.FLOOR_SUSPECT),
    "Breached": (False, Reason.FLOOR_BREACHED),
    "PopulationShift": (False, Reason.POPULATION_SHIFT),
}


def _quality_floor_met(draft: Draft) -> Answer:
    """What serves still is as good as it was proven to be."""
    drift, stable = draft.status.drift, draft.status.stable
    if drift is None or stable is None:
        return None, Reason.WAITING, "nothing serves yet"
    if stable.variant == BASELINE:
        return None, Reason.WAITING, "the full-precision model serves: it is what others are held to"
    if told := unverified.said(draft.status):
        return None, Reason.QUALITY_UNVERIFIED, told
    value, reason = _FLOOR[drift.verdict]
    return value, reason, drift.message


def _awaiting_approval(draft: Draft) -> Answer:
    rollout = draft.status.rollout
    if rollout and rollout.awaiting_since:
        return True, Reason.WAITING, draft.message
    return False, Reason.PROGRESSING, ""


def _suspended(draft: Draft) -> Answer:
    if draft.status.suspended_at:
        return True, Reason.SUSPENDED, "spec.suspend holds everything where it is"
    if draft.flapping:
        return True, Reason.FLAPPING, draft.flapping
    return False, Reason.PROGRESSING, ""


def _worthwhile(draft: Draft) -> Answer:
    """What is proven costs less than the baseline, by more than the user asks for. Nothing depends on it."""
    if not draft.judged:
        return None, Reason.WAITING, "the ladder is not done"
    proven = [row for row in draft.status.variants if row.verdict == Verdict.PASS.value]
    if not proven:
        return None, Reason.NONE_PROVEN, "no variant is proven"
    if saves := [row for row in proven if row.cost and row.cost.worthwhile]:
        return True, Reason.SAVES, ", ".join(f"{row.name} saves {figures.saving_of(row)}" for row in saves)
    said = "; ".join(f"{row.name}: {row.cost.message}" for row in proven if row.cost and row.cost.message)
    if any(row.cost is None or row.cost.worthwhile is None for row in proven):
        return None, Reason.COST_UNKNOWN, said or "no cost is known"
    return False, Reason.NOT_WORTHWHILE, said
