"""The brain: what to record and what should exist, given what was seen and what time it is."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import HistoryEntry, QuantizedModelStatus, RevisionStatus, VariantStatus
from quantroll.constants import Phase, Reason
from quantroll.domain import (
    benchmarking,
    choosing,
    commands,
    drift_check,
    figures,
    fingerprints,
    flapping,
    ladder,
    leaving,
    memory,
    pipeline,
    probing,
    progress,
    rollout,
    schedule,
    suspension,
    traffic,
    unverified,
    windows,
)
from quantroll.domain.choosing import Choice
from quantroll.domain.conditions import conditions
from quantroll.domain.draft import LIST_LIMIT, Draft, clip
from quantroll.domain.events import Event, events
from quantroll.domain.gate import Verdict
from quantroll.domain.presets import filled_in
from quantroll.domain.snapshot import Snapshot
from quantroll.domain.wanted import Wanted

HISTORY = 20
GATEWAY_API_POLL = timedelta(seconds=15)  # no watch tells of it


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcome of one pass."""

    status: QuantizedModelStatus
    wanted: Wanted
    events: tuple[Event, ...]
    wake_at: datetime | None


def plan(seen: Snapshot, now: datetime) -> Plan:
    """Decide. Pure: the same snapshot and time give the same plan, and a plan carried out twice does no harm."""
    draft = Draft(seen=seen, now=now, status=seen.status, phase=seen.status.phase or Phase.PENDING)
    draft.message = seen.status.message
    if seen.spec is None:
        draft.wanted.settled = False
        draft.block(Reason.SPEC_INVALID, seen.spec_error)
    elif seen.lost:
        draft.wanted.settled = False
        draft.block(Reason.STATUS_LOST, seen.lost)
    elif seen.spec_error:
        draft.block(Reason.SPEC_INVALID, seen.spec_error)
        _hold_on(draft, _whole(draft, seen.spec))
    elif pipeline.adopt(draft, seen.spec):
        _decide(draft, _whole(draft, seen.spec))
    else:
        _hold_on(draft, _whole(draft, seen.spec))
    progress.forget(draft)
    status = _closed(draft)
    return Plan(status=status, wanted=draft.wanted, events=events(seen.status, status), wake_at=draft.wake_at)


def _whole(draft: Draft, spec: QuantizedModelSpec) -> QuantizedModelSpec:
    """The spec with what its workload stands for."""
    resolved = draft.status.resolved
    return filled_in(spec, resolved.preset) if resolved and resolved.preset else spec


def _decide(draft: Draft, spec: QuantizedModelSpec) -> None:
    if draft.seen.trouble:
        draft.block(draft.seen.trouble.reason, draft.seen.trouble.message)
    _steer(draft, spec, _move)
    _serve(draft, spec)
    if not draft.decided:  # else costs have decided, and nothing since has changed what they come from
        figures.fill(draft, spec)
    _report_saving(draft)
    _report_stable(draft, spec)


def _hold_on(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Of a spec that cannot be taken up nothing is begun and no weight rises; what takes back goes on all the same.

    The rollout under way is held where it is, looked at, and taken back where it would have been. What serves is
    checked for drift, unless the very schedule is wrong. The prober goes on with what has been prepared.
    """
    if draft.status.stable is None or draft.status.resolved is None:
        draft.wanted.settled = False
        return
    draft.held, draft.wanted.keep_jobs = "a spec that can be used", True
    _steer(draft, spec, lambda draft, spec: rollout.advance(draft, spec, None, _rejection_key(draft, spec)))
    if draft.status.rollout is None and draft.phase in (Phase.PROMOTING, Phase.DRAINING, Phase.ROLLING_BACK):
        draft.say(Phase.STEADY, f"{draft.status.stable.variant} serves; what comes next waits for {draft.held}")
    _serve(draft, spec)


def _steer(draft: Draft, spec: QuantizedModelSpec, move: Callable[[Draft, QuantizedModelSpec], None]) -> None:
    """What a person asks for comes first, then what moves by itself, and last the check of what serves."""
    commands.obey(draft, spec)
    _refresh_stable(draft)
    if spec.suspend:
        suspension.hold(draft, spec, _rejection_key(draft, spec))
        return
    suspension.resume(draft)
    move(draft, spec)
    if not (draft.held and schedule.problem(spec.drift_check.schedule)):
        drift_check.attend(draft, spec)


def _serve(draft: Draft, spec: QuantizedModelSpec) -> None:
    """All that answers, and whoever asks it."""
    traffic.serve(draft, spec)
    memory.serve_warm(draft, spec)
    drift_check.serve_target(draft, spec)
    traffic.introduce(draft)
    if draft.held and fingerprints.prepare_key(spec) != draft.status.prepared_key:
        draft.wanted.keep_prober = True
    else:
        probing.probe(draft, spec)


def _move(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Measure, judge, and go on with the traffic."""
    pipeline.rows(draft, spec)
    measured = pipeline.prepare(draft, spec) and pipeline.baseline(draft, spec)
    if not measured:
        ladder.withdraw(draft, spec)
        ladder.let_end(draft, spec)
    draft.judged = measured and ladder.climb(draft, spec)
    done = draft.judged and benchmarking.attend(draft, spec)
    if done:
        figures.fill(draft, spec)  # costs decide which of the proven is chosen
    chosen = choosing.choose(draft, spec) if done else None
    draft.decided, draft.chosen = done, chosen.revision.revision if chosen else None
    _refresh_stable(draft)
    if draft.status.rollout:
        target = chosen.revision.revision if chosen else choosing.proven_candidate(draft, spec) if measured else None
        rollout.advance(draft, spec, target, _rejection_key(draft, spec))
        if done and leaving.nothing_goes(draft):
            _settle(draft, spec, chosen)
    elif done:  # a pass later: what has drained is gone before the whole is said to be settled
        _settle(draft, spec, chosen)


def _refresh_stable(draft: Draft) -> None:
    """Note the first ready pod, and keep the column with the table: a new eval set sees with other eyes."""
    stable = draft.status.stable
    if stable and stable.served_at is None and draft.seen.server(stable.revision).ready:
        stable = stable.model_copy(update={"served_at": draft.now})
        draft.set(stable=stable)
    row = next((r for r in draft.status.variants if stable and r.revision == stable.revision), None)
    if stable and row and row.recovery is not None:
        draft.set(stable=stable.model_copy(update={"recovery": f"{row.recovery:.3f}"}))


def _report_saving(draft: Draft) -> None:
    """Keep the column with the table."""
    stable = draft.status.stable
    row = next((r for r in draft.status.variants if stable and r.revision == stable.revision), None)
    saving = figures.saving_of(row) if row else ""
    if stable and stable.saving != saving:
        draft.set(stable=stable.model_copy(update={"saving": saving}))


def _rejection_key(draft: Draft, spec: QuantizedModelSpec) -> str:
    """What the revision that would be taken back is remembered by: in a rollback, that is the one that serves."""
    going_back = draft.status.rollout is not None and draft.status.rollout.kind == "Rollback"
    leaving = draft.status.stable if going_back else draft.status.candidate
    return memory.key(draft, spec, leaving.revision if leaving else "")


def _settle(draft: Draft, spec: QuantizedModelSpec, chosen: Choice | None) -> None:
    """The ladder is done and nothing moves: start a rollout, or say why there is none."""
    stable = draft.status.stable
    new = chosen is not None and stable is not None and chosen.revision.revision != stable.revision
    proven = ladder.choose(draft, spec) is not None
    if chosen and chosen.rejected and (not new or chosen.rejected.revision == chosen.revision.revision):
        entry, again = chosen.rejected, memory.how_to_retry(draft, chosen.rejected)
        flapping.holds(draft, spec)
        draft.say(
            Phase.ROLLED_BACK, f"{entry.variant} was taken back: {entry.message}; to have it tried again: {again}"
        )
    elif chosen and stable and new:
        _select(draft, spec, chosen, stable)
    elif proven and chosen:
        draft.say(Phase.STEADY, f"{chosen.revision.variant} serves, recovery {chosen.revision.recovery}")
    else:
        said = "; ".join(f"{r.name} {_verdict(r)}" for r in draft.status.variants if r.verdict)
        too_slow = any(r.verdict == Verdict.PASS.value for r in draft.status.variants)
        what = "no proven variant is known to hold the SLO" if too_slow else "no variant is proven good enough"
        draft.say(Phase.REJECTED, f"{what} ({said}); {_server(stable)} keeps serving")


def _select(draft: Draft, spec: QuantizedModelSpec, choice: Choice, stable: RevisionStatus) -> None:
    chosen = choice.revision
    if flapping.holds(draft, spec):
        draft.say(Phase.ROLLED_BACK, f"{chosen.variant} is not tried: {draft.flapping}")
    elif draft.status.phase is not Phase.SELECTING:
        draft.say(Phase.SELECTING, f"{chosen.variant} {choosing.why(draft, choice)}")
        draft.wake(draft.now)
    elif not traffic.can_split(draft, spec):
        draft.say(Phase.SELECTING, f"{chosen.variant} is chosen and waits for the Gateway API")
    elif draft.status.drift and draft.status.drift.confirming:
        draft.say(Phase.SELECTING, f"{chosen.variant} is chosen and waits for the drift check of {stable.variant}")
    elif unproven := unverified.said(draft.status):
        draft.say(Phase.SELECTING, f"{chosen.variant} is chosen and waits for a drift check that can tell: {unproven}")
        draft.block(Reason.QUALITY_UNVERIFIED, draft.message)
    elif stable.served_at is None and not draft.seen.server(stable.revision).ready:
        draft.say(Phase.SELECTING, f"{chosen.variant} is chosen and waits for {stable.variant} to serve first")
    elif closed := windows.closed(draft, spec):
        draft.say(Phase.SELECTING, f"{chosen.variant} is chosen and waits for {closed}")
    else:
        rollout.begin(draft, spec, chosen)


def _verdict(row: VariantStatus) -> str:
    return str(row.verdict) if row.reason in (None, row.verdict) else f"{row.verdict}: {row.reason}"


def _server(stable: RevisionStatus | None) -> str:
    return stable.variant if stable else "nothing"


def _report_stable(draft: Draft, spec: QuantizedModelSpec) -> None:
    """What keeps users from being served, or from reaching it, is said in whatever phase."""
    if not traffic.can_split(draft, spec):
        draft.block(
            Reason.GATEWAY_API_MISSING,
            "the Gateway API (gateway.networking.k8s.io/v1, HTTPRoute) is not installed: traffic cannot be split;"
            " install its CRDs and a gateway, this goes on by itself",
        )
        draft.wake(draft.now + GATEWAY_API_POLL)
    if draft.seen.route and draft.seen.route.refused:
        draft.block(Reason.ROUTE_NOT_ACCEPTED, draft.seen.route.message)
    stable = draft.status.stable
    server = draft.seen.server(stable.revision) if stable else None
    if stable and server and server.problem and not server.ready and not draft.is_patient(server.problem):
        draft.block(server.problem.reason, f"stable {stable.variant}: {server.problem.message}")


def _closed(draft: Draft) -> QuantizedModelStatus:
    """The status to write: with phase, message, conditions and history."""
    changes: dict[str, object] = {
        "observed_generation": draft.seen.generation,
        "phase": draft.phase,
        "message": draft.message,
        "conditions": conditions(draft),
    }
    if draft.phase is not draft.seen.status.phase:
        entry = HistoryEntry(at=draft.now, phase=draft.phase, message=clip(draft.message, LIST_LIMIT))
        changes["history"] = [*draft.status.history, entry][-HISTORY:]
    return draft.status.model_copy(update=changes)
