"""What is remembered: revisions to go back to, and revisions that are not to be tried again."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import PastRevision, RejectedRevision, RevisionStatus, RolloutStatus
from quantroll.constants import BASELINE, GROUP, Reason
from quantroll.domain import capacity, fingerprints, ladder, pipeline
from quantroll.domain.draft import LIST_LIMIT, Draft, clip
from quantroll.domain.locate import baseline_model
from quantroll.domain.traffic import server_of

LAST_GOOD, REJECTED = 2, 8

# What failed for want of pods or time may go well under another spec; what was found bad is bad under any.
_FORGIVEN_BY_AN_EDIT = frozenset(
    {
        Reason.LOAD_DEADLINE,
        Reason.CANDIDATE_UNAVAILABLE,
        Reason.ROLLOUT_DEADLINE,
        Reason.CAPACITY_BLOCKED,
        Reason.ANALYSIS_INCONCLUSIVE,
    }
)


def rejection(draft: Draft, key: str) -> RejectedRevision | None:
    """Why a revision is not tried, if it is not."""
    for entry in draft.status.rejected:
        edited = entry.generation != draft.edition
        if entry.key == key and not (edited and entry.reason in _FORGIVEN_BY_AN_EDIT):
            return entry
    return None


def key(draft: Draft, spec: QuantizedModelSpec, revision: str) -> str:
    """What a revision that is taken back is remembered by."""
    prepared = draft.status.prepared
    return fingerprints.evaluation_key(revision, spec.quality_gate, prepared.eval_set.sha256 if prepared else "")


def how_to_retry(draft: Draft, entry: RejectedRevision) -> str:
    """The command that has it tried again."""
    return f"kubectl annotate quantizedmodel {draft.seen.name} {GROUP}/retry={entry.rollout}/1 --overwrite"


def reject(draft: Draft, rollout: RolloutStatus, revision: RevisionStatus, key: str) -> None:
    """Remember that a revision was taken back, and why."""
    entry = RejectedRevision(
        key=key,
        generation=generation_of(draft, rollout),
        rollout=rollout.id,
        revision=revision.revision,
        variant=revision.variant,
        reason=rollout.reason or Reason.JOB_FAILED,
        message=clip(rollout.message, LIST_LIMIT),
        at=draft.now,
    )
    # An older entry of the same key was forgiven by an edit: it counts as a rollback all the same.
    draft.set(rejected=[entry, *(r for r in draft.status.rejected if r.rollout != rollout.id)][:REJECTED])


def rollout_id(draft: Draft, candidate: RevisionStatus) -> str:
    """The name of a rollout that begins now: no other one, of the same revision say, ever has it."""
    return f"{draft.edition}-{candidate.revision}-{draft.now:%y%m%d%H%M%S}"


def promoted_by(stable: RevisionStatus) -> str:
    """The rollout that made it stable; of one that none did, or that is no longer known, a name as unique as that."""
    since = stable.since or stable.served_at
    return stable.rollout or (f"{stable.revision}-{since:%y%m%d%H%M%S}" if since else stable.revision)


def generation_of(draft: Draft, rollout: RolloutStatus) -> int:
    """The generation that a rollout was begun for: an edit made while it is taken back is another try."""
    text = rollout.id.partition("-")[0]
    return int(text) if text.isdecimal() else draft.edition


def retire(draft: Draft, spec: QuantizedModelSpec, old: RevisionStatus) -> None:
    """Remember a revision that has served well until now, and have it keep its pods for a while.

    Not for less than its last requests may take. Where new pods need the room of the old ones, they are not kept.
    """
    kept = parse_duration(spec.rollout.rollback.keep_warm)
    warm = kept > timedelta(0) and not capacity.replaces(spec)
    entry = PastRevision(
        revision=old.revision,
        variant=old.variant,
        recovery=old.recovery,
        until=draft.now,
        spec=old.spec,
        warm_until=draft.now + max(kept, parse_duration(spec.rollout.deadlines.drain)) if warm else None,
    )
    others = [past for past in draft.status.last_good if past.revision != old.revision]
    draft.set(last_good=[entry, *others][:LAST_GOOD])


def forget(draft: Draft, revision: str) -> None:
    """It serves again: it is no past revision any more."""
    draft.set(last_good=[past for past in draft.status.last_good if past.revision != revision])


def cool_down(draft: Draft, spec: QuantizedModelSpec) -> None:
    """The room is needed for others: nothing is kept warm for longer than its last requests may take."""
    drain = parse_duration(spec.rollout.deadlines.drain)
    ends = {
        past.revision: min(past.warm_until, past.until + drain) for past in draft.status.last_good if past.warm_until
    }
    _set_warm(draft, {revision: end if end > draft.now else None for revision, end in ends.items()})


def _set_warm(draft: Draft, until: Mapping[str, datetime | None]) -> None:
    draft.set(
        last_good=[
            past.model_copy(update={"warm_until": until[past.revision]}) if past.revision in until else past
            for past in draft.status.last_good
        ]
    )


def serve_warm(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Pods of revisions that are kept warm."""
    known = {server.revision for server in draft.wanted.servers} | draft.wanted.kept
    if capacity.replaces(spec):
        cool_down(draft, spec)
    for past in draft.status.last_good:
        if past.warm_until is None:
            continue
        if draft.now >= past.warm_until:
            _set_warm(draft, {past.revision: None})
            continue
        draft.wake(past.warm_until)
        if past.revision not in known:
            draft.wanted.servers.append(server_of(spec, _as_revision(past), spec.serving.replicas))


def fallback(draft: Draft, spec: QuantizedModelSpec) -> RevisionStatus | None:
    """The revision to go back to from what serves; None where there is none.

    One that served before only if it is proven by what is known today: the eval set may have changed since.
    """
    stable, base = draft.status.stable, draft.status.baseline
    if stable is None or base is None or stable.variant == BASELINE:
        return None
    if spec.rollout.rollback.target == "LastGood":
        past = (proven(draft, spec, past.revision) for past in draft.status.last_good)
        if good := next((found for found in past if found), None):
            return good
    return _baseline(draft, spec, base.revision)


def proven(draft: Draft, spec: QuantizedModelSpec, revision: str) -> RevisionStatus | None:
    """A revision that may serve in place of what does, by what is known today; None where there is no such one."""
    stable, base = draft.status.stable, draft.status.baseline
    if stable is None or base is None or revision == stable.revision:
        return None
    good = ladder.good_by_counts(draft, spec)
    good -= {entry.revision for entry in draft.status.rejected}
    return found(draft, spec, revision) if revision in good | {base.revision} else None


def why_none(draft: Draft, revision: str | None) -> str:
    """Why there is nothing to go back to."""
    if revision is None:
        return "there is nothing to go back to: no other revision that is proven, and not taken back, is known"
    known = [past.revision for past in draft.status.last_good]
    base = draft.status.baseline
    names = ", ".join([*known, *([base.revision] if base else [])]) or "none"
    return f"{revision} is not one that may serve now: it has to be in status (known: {names}), proven, not taken back"


def found(draft: Draft, spec: QuantizedModelSpec, revision: str) -> RevisionStatus | None:
    """A revision that may be gone back to, by its name; None where it is no longer known."""
    if past := next((past for past in draft.status.last_good if past.revision == revision), None):
        return _as_revision(past)
    base = draft.status.baseline
    return _baseline(draft, spec, revision) if base and base.revision == revision else None


def _baseline(draft: Draft, spec: QuantizedModelSpec, revision: str) -> RevisionStatus | None:
    """The full-precision model, if the present spec still makes this very revision of it."""
    prepared = draft.status.prepared
    served = pipeline.revision_spec(draft, spec, BASELINE, baseline_model(spec.model))
    if prepared is None or fingerprints.revision(served, prepared.model.digest) != revision:
        return None
    return RevisionStatus(revision=revision, variant=BASELINE, spec=served)


def _as_revision(past: PastRevision) -> RevisionStatus:
    return RevisionStatus(revision=past.revision, variant=past.variant, recovery=past.recovery, spec=past.spec)
