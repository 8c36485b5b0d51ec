"""What was chosen and why, in words: only what spec and status say."""

from collections.abc import Callable
from typing import NamedTuple

from quantroll.api.status import RejectedRevision
from quantroll.constants import BASELINE
from quantroll.domain.rules import beside
from quantroll.report.arms import NOT_PROVEN, PASS, Arm
from quantroll.report.columns import Units
from quantroll.report.numbers import money, percent, significant
from quantroll.report.subject import Subject


def choice(subject: Subject, arms: list[Arm], units: Units) -> list[str]:
    """Sentences: what serves and why that, what is being tried, what was taken back, what ended the ladder."""
    said = [
        _serves(subject, arms, units),
        _worth(subject, arms),
        _tried(subject, arms, units),
        *(_taken_back(entry) for entry in _taken_back_now(subject)),
        _ladder(arms) if subject.spec.ladder == "Sequential" else "",
        _drift(subject, units),
        f"The operator says: {subject.status.message}" if subject.status.message else "",
    ]
    return [sentence for sentence in said if sentence]


def _serves(subject: Subject, arms: list[Arm], units: Units) -> str:
    stable = subject.status.stable
    if stable is None:
        return "Nothing serves yet."
    if stable.variant != BASELINE:
        return f"{stable.variant} serves: {_why(stable.variant, stable.revision, arms, units)}."
    proven = [arm.name for arm in arms if arm.verdict == PASS]
    if proven:
        return f"The baseline serves. Proven: {', '.join(proven)}."
    judged = any(arm.verdict and not arm.is_baseline for arm in arms)
    return "The baseline serves: no variant is proven." if judged else "The baseline serves: no variant is judged yet."


def _why(name: str, revision: str, arms: list[Arm], units: Units) -> str:
    """Why this one of the proven, as far as the figures bear it out."""
    own = next((arm for arm in arms if arm.name == name and arm.revision == revision), None)
    if own is None:
        return "a revision that the present spec does not make any more"
    bound = "" if own.lower_bound is None else f", recovery at least {beside(own.lower_bound, units.floor)}"
    if own.verdict != PASS:
        return f"it was proven once; the verdict of today is {own.verdict or 'not there yet'}{bound}"
    proven = [arm for arm in arms if arm.verdict == PASS]
    if len(proven) == 1:
        return f"the only proven one{bound}"
    for measure in _MEASURES:
        values = {arm.name: value for arm in proven if (value := measure.of(arm)) is not None}
        others = [value for name, value in values.items() if name != own.name]
        if len(values) == len(proven) and values[own.name] < min(others):
            told = ", ".join(f"{name} {measure.text(value, units)}" for name, value in values.items())
            return f"the {measure.word} of the proven ({told} {measure.unit(units)}){bound}"
    return f"one of the proven ({', '.join(arm.name for arm in proven)}){bound}"


class _Measure(NamedTuple):
    """By what one of the proven may be the least."""

    word: str
    of: Callable[[Arm], float | None]
    text: Callable[[float, Units], str]
    unit: Callable[[Units], str]


_MEASURES = (
    _Measure(
        "cheapest",
        lambda arm: arm.cost.per_million_output_tokens if arm.cost else None,
        lambda value, _: money(value),
        lambda units: f"{units.currency} a million output tokens",
    ),
    _Measure(
        "cheapest",
        lambda arm: arm.cost.monthly if arm.cost else None,
        lambda value, _: money(value),
        lambda units: f"{units.currency} a month",
    ),
    _Measure(
        "smallest",
        lambda arm: arm.weight_bytes,
        lambda value, units: significant(value / units.bytes_size),
        lambda units: f"{units.bytes_name} of weights",
    ),
)


def _worth(subject: Subject, arms: list[Arm]) -> str:
    """What it saves, of what serves; else, for the baseline, what is proven and not worth it."""
    stable = subject.status.stable
    own = next((arm for arm in arms if stable and arm.revision == stable.revision and not arm.is_baseline), None)
    if own and own.cost:
        cost = own.cost
        said = []
        if cost.monthly_saving is not None and cost.saving is not None:
            change, share_of = ("saves", cost.saving) if cost.saving >= 0 else ("costs more by", -cost.saving)
            said.append(f"{change} {money(abs(cost.monthly_saving))} {cost.currency} a month, {percent(share_of)}")
        if cost.payback_days is not None:
            days = cost.payback_days
            said.append(f"its Jobs are paid for {f'after {significant(days)} days' if days >= 1 else 'within a day'}")
        if cost.worthwhile is False:
            said.append(f"not worth it: {cost.message}" if cost.message else "not worth it")
        return f"Beside the baseline it {'; '.join(said)}." if said else ""
    idle = [arm for arm in arms if arm.verdict == PASS and arm.cost and arm.cost.worthwhile is False]
    return " ".join(f"{arm.name} is proven, but not worth it: {arm.cost.message}" for arm in idle if arm.cost)


def _tried(subject: Subject, arms: list[Arm], units: Units) -> str:
    candidate, rollout = subject.status.candidate, subject.status.rollout
    if candidate is None:
        return ""
    if candidate.variant == BASELINE:
        why = "the full-precision model"
    else:
        why = _why(candidate.variant, candidate.revision, arms, units)
    if rollout is None:
        return f"{candidate.variant} is the candidate: {why}."
    if rollout.kind == "Rollback":
        reason = f" ({rollout.reason}: {rollout.message})" if rollout.reason else ""
        return f"The traffic goes back to {candidate.variant}{reason}."
    return f"{candidate.variant} is being tried with {rollout.weight} % of the requests: {why}."


def _taken_back_now(subject: Subject) -> list[RejectedRevision]:
    stable = subject.status.stable
    return [entry for entry in subject.status.rejected if not stable or entry.revision != stable.revision]


def _taken_back(entry: RejectedRevision) -> str:
    message = f": {entry.message}" if entry.message else ""
    return f"{entry.variant} was taken back on {entry.at:%Y-%m-%d %H:%M} UTC, {entry.reason}{message}"


def _ladder(arms: list[Arm]) -> str:
    """What ended the ladder, where something behind it was not tried."""
    for at, arm in enumerate(arms):
        if arm.verdict in NOT_PROVEN:
            behind = [other.name for other in arms[at + 1 :] if other.verdict is None]
            if behind:
                return f"{arm.name} is {arm.verdict} ({arm.reason}); behind it, not judged: {', '.join(behind)}."
    return ""


def _drift(subject: Subject, units: Units) -> str:
    drift = subject.status.drift
    if drift is None:
        return ""
    if drift.value is None:
        return f"The drift check is {drift.verdict}: {drift.message}"
    floor = "" if drift.floor is None else f", floor {beside(drift.floor, drift.floor)}"
    counted = "" if drift.samples is None else f" of {drift.samples} answers"
    value = beside(drift.value, drift.floor if drift.floor is not None else units.floor)
    return f"The drift check is {drift.verdict}: {value}{counted} right{floor}."
