"""Which revision should serve: of what is proven and was not taken back, what selection puts first."""

from dataclasses import dataclass

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RejectedRevision, RevisionStatus, VariantStatus
from quantroll.constants import BASELINE, Reason
from quantroll.domain import ladder, memory, pipeline
from quantroll.domain.draft import Draft
from quantroll.domain.gate import shippable
from quantroll.domain.locate import baseline_model

# Of these a person has to make something first: no other variant is tried in place of the one that was taken back.
_FOR_A_PERSON = frozenset({Reason.ABORTED, Reason.ROLLBACK_REQUESTED, Reason.FLOOR_BREACHED})


@dataclass(frozen=True, slots=True)
class Choice:
    """What should serve, and the rejection that stands against what selection would have put first."""

    revision: RevisionStatus
    rejected: RejectedRevision | None = None


def choose(draft: Draft, spec: QuantizedModelSpec) -> Choice | None:
    """
    The cheapest proven variant, or the baseline in its present form; None while nothing is proven.

    A variant that failed as a candidate is passed over for the next proven one. Where a person has stopped it, or it
    was found below the floor in production, nothing takes its place by itself; nor where none is left.
    """
    first: Choice | None = None
    passed: set[str] = set()
    while best := ladder.choose(draft, spec, passed):
        choice = _of_variant(draft, spec, best)
        if choice is None or choice.rejected is None:
            return Choice(choice.revision, first.rejected if first else None) if choice else None
        first = first or choice
        if choice.rejected.reason in _FOR_A_PERSON:
            break
        passed.add(best.name)
    return first or _of_baseline(draft, spec)


def _of_variant(draft: Draft, spec: QuantizedModelSpec, row: VariantStatus) -> Choice | None:
    if row.artifact is None:
        return None
    variant = next(v for v in spec.variants if v.name == row.name)
    revision, served, _ = ladder.identity(draft, spec, variant, row.artifact)
    recovery = "" if row.recovery is None else f"{row.recovery:.3f}"
    return Choice(
        RevisionStatus(revision=revision, variant=row.name, recovery=recovery, spec=served),
        memory.rejection(draft, memory.key(draft, spec, revision)),
    )


def _of_baseline(draft: Draft, spec: QuantizedModelSpec) -> Choice | None:
    stable, base = draft.status.stable, draft.status.baseline
    if stable is None or base is None or stable.variant != BASELINE:
        return None
    served = pipeline.revision_spec(draft, spec, BASELINE, baseline_model(spec.model))
    return Choice(
        RevisionStatus(revision=base.revision, variant=BASELINE, spec=served),
        memory.rejection(draft, memory.key(draft, spec, base.revision)),
    )


def proven_candidate(draft: Draft, spec: QuantizedModelSpec) -> str | None:
    """The candidate, while the ladder goes on behind it, if it may still ship by what is known now."""
    candidate, table = draft.status.candidate, draft.status.variants
    verdicts = [ladder.gate_verdict(row) for row in table]
    may_ship = [table[index].revision for index in shippable(verdicts, spec.ladder)]
    return candidate.revision if candidate and candidate.revision in may_ship else None


def why(draft: Draft, chosen: Choice) -> str:
    """Why this one, in words."""
    if chosen.revision.variant == BASELINE:
        return "has new serving settings"
    if chosen.rejected:
        return f"is the next proven variant: {chosen.rejected.variant} was taken back ({chosen.rejected.reason})"
    row = next((row for row in draft.status.variants if row.name == chosen.revision.variant), None)
    cost = row.cost if row else None
    if cost and cost.per_million_output_tokens is not None:
        price = f"{cost.per_million_output_tokens:.4g} {cost.currency} a million output tokens"
        return f"is the cheapest proven variant, at {price}"
    return "is the smallest proven variant"
