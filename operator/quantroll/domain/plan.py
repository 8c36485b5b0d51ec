"""The brain: what to record and what should exist, given what was seen and what time it is."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import HistoryEntry, QuantizedModelStatus, RevisionStatus, VariantStatus
from quantroll.constants import BASELINE, Phase, Reason
from quantroll.domain import (
    benchmarking,
    commands,
    drift_check,
    figures,
    ladder,
    memory,
    pipeline,
    probing,
    rollout,
    suspension,
    traffic,
    windows,
)
from quantroll.domain.conditions import conditions
from quantroll.domain.draft import LIST_LIMIT, Draft, clip
from quantroll.domain.events import Event, events
from quantroll.domain.fingerprints import evaluation_key
from quantroll.domain.gate import Verdict, shippable
from quantroll.domain.locate import baseline_model
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
    elif pipeline.adopt(draft, seen.spec):
        resolved = draft.status.resolved
        _decide(draft, filled_in(seen.spec, resolved.preset) if resolved and resolved.preset else seen.spec)
    else:
        draft.wanted.settled = False
    status = _closed(draft)
    return Plan(status=status, wanted=draft.wanted, events=events(seen.status, status), wake_at=draft.wake_at)


def _decide(draft: Draft, spec: QuantizedModelSpec) -> None:
    if draft.seen.trouble:
        draft.block(draft.seen.trouble.reason, draft.seen.trouble.message)
    commands.obey(draft, spec)
    _refresh_stable(draft)
    if spec.suspend:
        suspension.hold(draft, spec, _rejection_key(draft, spec))
    else:
        suspension.resume(draft)
        _move(draft, spec)
        drift_check.attend(draft, spec)
    traffic.serve(draft, spec)
    memory.serve_warm(draft, spec)
    drift_check.serve_target(draft, spec)
    probing.probe(draft, spec)
    figures.fill(draft, spec)
    _report_saving(draft)
    _report_stable(draft, spec)


def _move(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Measure, judge, and go on with the traffic."""
    pipeline.rows(draft, spec)
    measured = pipeline.prepare(draft, spec) and pipeline.baseline(draft, spec)
    draft.judged = measured and ladder.climb(draft, spec)
    done = draft.judged and benchmarking.attend(draft, spec)
    if done:
        figures.fill(draft, spec)  # costs decide which of the proven is chosen
    chosen = _chosen(draft, spec) if done else None
    _refresh_stable(draft)
    if draft.status.rollout:
        target = chosen.revision if chosen else _proven_candidate(draft, spec) if measured else None
        rollout.advance(draft, spec, target, _rejection_key(draft, spec))
    elif done:  # a pass later: what has drained is gone before the whole is said to be settled
        _settle(draft, spec, chosen)


def _chosen(draft: Draft, spec: QuantizedModelSpec) -> RevisionStatus | None:
    """The revision that should serve: the smallest proven variant, or the baseline in its present form."""
    best = ladder.choose(draft, spec)
    if best and best.artifact:
        variant = next(v for v in spec.variants if v.name == best.name)
        revision, served, _ = ladder.identity(draft, spec, variant, best.artifact)
        recovery = "" if best.recovery is None else f"{best.recovery:.3f}"
        return RevisionStatus(revision=revision, variant=best.name, recovery=recovery, spec=served)
    stable, base = draft.status.stable, draft.status.baseline
    if stable and base and stable.variant == BASELINE:
        served = pipeline.revision_spec(draft, spec, BASELINE, baseline_model(spec.model))
        return RevisionStatus(revision=base.revision, variant=BASELINE, spec=served)
    return None


def _proven_candidate(draft: Draft, spec: QuantizedModelSpec) -> str | None:
    """The candidate, while the ladder goes on behind it, if it may still ship by what is known now."""
    candidate, table = draft.status.candidate, draft.status.variants
    verdicts = [ladder.gate_verdict(row) for row in table]
    may_ship = [table[index].revision for index in shippable(verdicts, spec.ladder)]
    return candidate.revision if candidate and candidate.revision in may_ship else None


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


def _rejection_key(draft: Draft, spec: QuantizedModelSpec, revision: str | None = None) -> str:
    """What the revision that would be taken back is remembered by: in a rollback, that is the one that serves."""
    going_back = draft.status.rollout is not None and draft.status.rollout.kind == "Rollback"
    leaving, prepared = draft.status.stable if going_back else draft.status.candidate, draft.status.prepared
    revision = revision or (leaving.revision if leaving else "")
    return evaluation_key(revision, spec.quality_gate, prepared.eval_set.sha256 if prepared else "")


def _settle(draft: Draft, spec: QuantizedModelSpec, chosen: RevisionStatus | None) -> None:
    """The ladder is done and nothing moves: start a rollout, or say why there is none."""
    stable = draft.status.stable
    proven = ladder.choose(draft, spec) is not None
    if chosen and stable and chosen.revision != stable.revision:
        if entry := memory.rejection(draft, _rejection_key(draft, spec, chosen.revision)):
            again = memory.how_to_retry(draft, entry)
            draft.say(
                Phase.ROLLED_BACK, f"{entry.variant} was taken back: {entry.message}; to have it tried again: {again}"
            )
        else:
            _select(draft, spec, chosen, stable)
    elif proven and chosen:
        draft.say(Phase.STEADY, f"{chosen.variant} serves, recovery {chosen.recovery}")
    else:
        said = "; ".join(f"{r.name} {_verdict(r)}" for r in draft.status.variants if r.verdict)
        too_slow = any(r.verdict == Verdict.PASS.value for r in draft.status.variants)
        what = "no proven variant is known to hold the SLO" if too_slow else "no variant is proven good enough"
        draft.say(Phase.REJECTED, f"{what} ({said}); {_server(stable)} keeps serving")


def _select(draft: Draft, spec: QuantizedModelSpec, chosen: RevisionStatus, stable: RevisionStatus) -> None:
    if draft.status.phase is not Phase.SELECTING:
        draft.say(Phase.SELECTING, f"{chosen.variant} {_why_chosen(draft, chosen)}")
        draft.wake(draft.now)
    elif not traffic.can_split(draft, spec):
        draft.say(Phase.SELECTING, f"{chosen.variant} is chosen and waits for the Gateway API")
    elif draft.status.drift and draft.status.drift.confirming:
        draft.say(Phase.SELECTING, f"{chosen.variant} is chosen and waits for the drift check of {stable.variant}")
    elif not draft.seen.server(stable.revision).ready:
        draft.say(Phase.SELECTING, f"{chosen.variant} is chosen and waits for {stable.variant} to serve first")
    elif closed := windows.closed(draft, spec):
        draft.say(Phase.SELECTING, f"{chosen.variant} is chosen and waits for {closed}")
    else:
        rollout.begin(draft, spec, chosen)


def _why_chosen(draft: Draft, chosen: RevisionStatus) -> str:
    if chosen.variant == BASELINE:
        return "has new serving settings"
    row = next((row for row in draft.status.variants if row.name == chosen.variant), None)
    cost = row.cost if row else None
    if cost and cost.per_million_output_tokens is not None:
        price = f"{cost.per_million_output_tokens:.4g} {cost.currency} a million output tokens"
        return f"is the cheapest proven variant, at {price}"
    return "is the smallest proven variant"


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
