"""What a person asks for by an annotation: quantroll.io/abort, /approve, /promote, /retry and /rollback.

The value is `<what>/<token>`. A value is looked at once, and `status.commands` tells what came of it; the token is any
text that makes a repeated command another one. What is named exists only once, so that an old annotation, brought back
by a restored backup say, does nothing.
"""

import re
from typing import TypeVar

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import (
    Attempt,
    BaselineStatus,
    CommandStatus,
    RevisionStatus,
    RolloutStatus,
    VariantStatus,
)
from quantroll.constants import GROUP, Reason
from quantroll.domain import approval, capacity, leaving, memory, rollback, steps
from quantroll.domain.draft import Draft, clip
from quantroll.domain.gate import GateReason

JOBS = "jobs"  # what `retry` names to have failed Jobs tried again
VALUE_LIMIT = 256
_FORM = re.compile(r"([^/:\s]+)(?::([^/:\s]+))?/(\S+)")

_DISTURBED = (GateReason.TOO_MANY_ERRORS.value, GateReason.LOPSIDED_ERRORS.value)

Outcome = tuple[bool, str]
Row = TypeVar("Row", BaselineStatus, VariantStatus)


def obey(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Carry out commands that are new; what takes back comes before what goes on."""
    for verb in ("abort", "rollback", "approve", "promote", "retry"):
        value = draft.seen.commands.get(verb)
        known = next((c.value for c in draft.status.commands if c.verb == verb), None)
        if value is None or value[:VALUE_LIMIT] == known:
            continue
        outcome = _carry_out(draft, spec, verb, value)
        if outcome is not None:
            accepted, message = outcome
            entry = CommandStatus(
                verb=verb, value=value[:VALUE_LIMIT], accepted=accepted, message=clip(message), at=draft.now
            )
            others = [c for c in draft.status.commands if c.verb != verb]
            draft.set(commands=sorted([*others, entry], key=lambda command: command.verb))


def _carry_out(draft: Draft, spec: QuantizedModelSpec, verb: str, value: str) -> Outcome | None:
    """Whether it was done, and what to say; None to try it again in the next pass."""
    form = _FORM.fullmatch(value) if len(value) <= VALUE_LIMIT else None
    if form is None:
        return False, "the value must be NAME/TOKEN or NAME:STEP/TOKEN, at most 256 characters"
    subject, detail = form.group(1), form.group(2)
    match verb:
        case "abort":
            return _abort(draft, subject)
        case "rollback":
            return _rollback(draft, spec, subject, detail)
        case "approve":
            return _approve(draft, spec, subject, detail)
        case "promote":
            return _promote(draft, spec, subject, detail)
        case _:
            return _retry(draft, subject)


def _under_way(draft: Draft, subject: str) -> str:
    """Why a command about the rollout `subject` makes no sense now; empty if it does."""
    rollout = draft.status.rollout
    if rollout is None:
        return "no rollout is under way"
    if rollout.id != subject:
        return f"the rollout under way is {rollout.id}, not {subject}"
    if rollout.kind == "Rollback" or rollout.reason:
        return "it is being taken back already"
    return "it is promoted already" if rollout.draining else ""


def _abort(draft: Draft, subject: str) -> Outcome | None:
    rollout, candidate = draft.status.rollout, draft.status.candidate
    if rollout and candidate and rollout.id == subject and rollout.kind == "Rollback":
        return _abort_way_back(draft, rollout, candidate)
    if wrong := _under_way(draft, subject):
        return False, wrong
    if rollout is None or candidate is None:
        return False, "there is no candidate"
    taken = leaving.take_back(draft, rollout, candidate, Reason.ABORTED, f"aborted by the annotation {GROUP}/abort")
    draft.aborting = not taken
    return (True, f"{candidate.variant} is taken back") if taken else None


def _abort_way_back(draft: Draft, rollout: RolloutStatus, target: RevisionStatus) -> Outcome:
    """What serves stays; the one to go back to goes, and is not held to be bad for that."""
    stable = draft.status.stable
    if stable is None or not (draft.seen.server(stable.revision).ready or capacity.is_alone(draft.seen.spec)):
        return False, f"no pod of what serves now is ready: only {target.variant} can answer"
    began = rollout.model_copy(update={"kind": "Rollout", "step": 0 if rollout.weight else -1})
    message = f"going back was aborted by the annotation {GROUP}/abort"
    leaving.take_back(draft, began, target, Reason.ROLLBACK_ABORTED, message)
    return True, f"{stable.variant} keeps serving, and {target.variant} goes"


def _rollback(draft: Draft, spec: QuantizedModelSpec, subject: str, detail: str | None) -> Outcome | None:
    """Undo the rollout `subject`: what is under way is aborted; from what it has promoted the traffic goes back."""
    rollout, stable = draft.status.rollout, draft.status.stable
    if rollout and not rollout.draining:
        wrong = _under_way(draft, subject)
        if not wrong and detail:
            wrong = f"a rollout is under way: abort it first, or leave :{detail} out"
        return (False, wrong) if wrong else _abort(draft, subject)
    if stable is None:
        return False, "nothing serves yet"
    if subject != (name := memory.promoted_by(stable)):
        return False, f"what serves, {stable.variant}, came by {name}: the value must be {name}[:REVISION]/TOKEN"
    target = memory.proven(draft, spec, detail) if detail else memory.fallback(draft, spec)
    if target is None:
        return False, memory.why_none(draft, detail)
    if rollout and rollout.draining != target.revision:
        return None  # what served before still has requests: it goes first
    rollback.begin(draft, spec, target, Reason.ROLLBACK_REQUESTED, f"asked for by the annotation {GROUP}/rollback")
    return True, f"going back from {stable.variant} to {target.variant}"


def _approve(draft: Draft, spec: QuantizedModelSpec, subject: str, detail: str | None) -> Outcome:
    rollout = draft.status.rollout
    if wrong := _under_way(draft, subject):
        return False, wrong
    if rollout is None or detail != str(rollout.step):
        step = rollout.step if rollout else None
        return False, f"the rollout is at step {step}: the value must be {subject}:{step}/TOKEN"
    if not approval.is_asked(spec, rollout):
        return False, f"step {rollout.step} asks for no approval: promote leaves out the waits of a step"
    rollout = approval.stop_waiting(draft, rollout)
    draft.set(rollout=rollout.model_copy(update={"approved_step": rollout.step}))
    return True, f"step {rollout.step} is approved"


def _promote(draft: Draft, spec: QuantizedModelSpec, subject: str, detail: str | None) -> Outcome:
    """Leave out the waits of one step, or of all that are left; pods are waited for all the same."""
    rollout, candidate = draft.status.rollout, draft.status.candidate
    if wrong := _under_way(draft, subject):
        return False, wrong
    if rollout is None or candidate is None:
        return False, "there is no candidate"
    if not steps.in_steps(spec, rollout):
        return False, f"{candidate.variant} is given all the traffic already"
    if detail is None:
        target, said = steps.promotion(spec), "it gets all the traffic as soon as it has all pods"
    elif detail == str(rollout.step) and rollout.step >= 0:
        target, said = rollout.step + 1, f"step {detail} is left as soon as there are pods for the next"
    else:
        return False, f"the rollout is at step {rollout.step}: the value must be {subject}[:STEP]/TOKEN, from step 0 on"
    rollout = approval.stop_waiting(draft, rollout)
    draft.set(rollout=rollout.model_copy(update={"skip_to": target}))
    return True, f"{candidate.variant}: {said}"


def _retry(draft: Draft, subject: str) -> Outcome:
    if subject == JOBS:
        return _retry_jobs(draft)
    left = [entry for entry in draft.status.rejected if entry.rollout != subject]
    if len(left) == len(draft.status.rejected):
        return False, f"status.rejected has no entry of rollout {subject}; for failed Jobs the name is {JOBS}"
    draft.set(rejected=left)
    return True, "the rejection is forgotten"


def _retry_jobs(draft: Draft) -> Outcome:
    """Failures that nothing but a change of the spec would mend are due now.

    An evaluation in which requests failed has a result, and is a failure all the same where it gave the verdict, or has
    kept the baseline from being compared with: its Job asks once more what got no answer.
    """
    status = draft.status
    count = 0

    def due(failure: Attempt | None) -> Attempt | None:
        nonlocal count
        if failure is None:
            return None
        count += 1
        return failure.model_copy(update={"retry_at": draft.now})

    def again(row: Row, *, disturbed: bool) -> Row:
        failure = _disturbance(draft, row) if disturbed else None
        measured = None if failure else row.evaluation
        return row.model_copy(update={"failure": due(failure or row.failure), "evaluation": measured})

    disturbed = [row.reason in _DISTURBED or _is_withdrawn(row) for row in status.variants]
    alone = not any(row.evaluation for row in status.variants)
    base = status.baseline and again(status.baseline, disturbed=any(disturbed) or alone)
    variants = [again(row, disturbed=mine) for row, mine in zip(status.variants, disturbed, strict=True)]
    prepare = due(status.prepare_failure)
    if not count:
        return False, "no Job has failed"
    draft.set(variants=variants, baseline=base, prepare_failure=prepare)
    return True, f"{count} failed Jobs are tried again"


def _is_withdrawn(row: VariantStatus) -> bool:
    """Whether it was measured, and is not judged: what it is compared with may be what has to be asked again."""
    return row.verdict is None and row.evaluation is not None


def _disturbance(draft: Draft, row: BaselineStatus | VariantStatus) -> Attempt | None:
    """An evaluation in which requests failed, as a failed Job; None where none did."""
    measured = row.evaluation
    if measured is None or not (measured.errors or measured.baseline_errors):
        return None
    job = draft.seen.jobs.get(measured.key)
    return Attempt(
        key=measured.key,
        job=job.uid if job else "",
        reason=Reason.ENGINE_FAILED,
        message=f"{measured.errors} requests failed; they are sent again",
        at=draft.now,
        generation=draft.work_edition,
    )
