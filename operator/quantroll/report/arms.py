"""Baseline and variants in one shape: what a row of the table, a point of a chart and a sentence are made from."""

import re
from dataclasses import dataclass
from typing import Any

from quantroll.api.figures import BenchmarkFigures, CostFigures, MemoryFigures
from quantroll.api.spec import Dtype, Variant
from quantroll.api.status import BaselineStatus, Evaluation, VariantStatus, WorstSlice
from quantroll.constants import BASELINE, Phase
from quantroll.domain.rules import beside
from quantroll.report.subject import Subject

REFERENCE = "reference"
PASS = "PASS"  # noqa: S105 - a verdict, not a password
NOT_PROVEN = ("FAIL", "INCONCLUSIVE")

_DTYPE_BITS = {Dtype.FLOAT32: 32, Dtype.FLOAT16: 16, Dtype.BFLOAT16: 16}
_WIDE = re.compile(r"W(\d+)A(\d+)")
_SETTLED = (Phase.STEADY, Phase.REJECTED, Phase.ROLLED_BACK)


@dataclass(frozen=True)
class Bits:
    """Bits of a weight, of an activation and of a number in the KV cache; None where they are not known."""

    weights: int | None
    activations: int | None
    kv_cache: int | None


@dataclass(frozen=True)
class Arm:
    """The baseline or a variant, with whatever is known of it."""

    name: str
    scheme: str
    bits: Bits
    verdict: str | None
    """The gate's; `reference` for the baseline."""
    reason: str
    message: str
    unmade: str
    """Why there is no checkpoint, and so nothing else; empty where there is one."""
    unmeasured: str
    """Why there is no score; empty where there is one."""
    revision: str | None = None
    weight_bytes: int | None = None
    score: float | None = None
    recovery: float | None = None
    lower_bound: float | None = None
    upper_bound: float | None = None
    worst_slice: WorstSlice | None = None
    evaluation: Evaluation | None = None
    memory: MemoryFigures | None = None
    benchmark: BenchmarkFigures | None = None
    cost: CostFigures | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether this is what the others are compared with."""
        return self.verdict == REFERENCE

    @property
    def proven_recovery(self) -> float | None:
        """The recovery that is proven: the lower bound; 1 for the baseline, which is compared with itself."""
        return 1.0 if self.is_baseline and self.score is not None else self.lower_bound

    def recovery_text(self, floor: float) -> str:
        """Recovery with its interval: 0.9680 [0.9608, 0.9742]; `-` stands for a bound that is not known."""
        if self.recovery is None:
            return ""
        lower, upper = (
            "-" if bound is None else beside(bound, floor) for bound in (self.lower_bound, self.upper_bound)
        )
        return f"{beside(self.recovery, floor)} [{lower}, {upper}]"


def arms_of(subject: Subject) -> list[Arm]:
    """The baseline, the variants of the spec in declared order, and those that only the status still knows."""
    known = {row.name: row for row in subject.status.variants}
    declared = {variant.name: variant for variant in subject.spec.variants}
    names = [*declared, *(name for name in known if name not in declared)]
    rows = [_variant(subject, name, declared.get(name), known.get(name)) for name in names]
    return [_baseline(subject, subject.status.baseline), *rows]


def _baseline(subject: Subject, row: BaselineStatus | None) -> Arm:
    dtype = subject.spec.model.dtype
    wide = _DTYPE_BITS[dtype]
    failed = f"{row.failure.reason}: {row.failure.message}" if row and row.failure else ""
    return Arm(
        name=BASELINE,
        scheme=dtype.value,
        bits=Bits(wide, wide, _kv_bits(subject)),
        verdict=REFERENCE,
        reason=row.failure.reason if row and row.failure else "",
        message=failed,
        unmade="" if row else "not measured yet",
        unmeasured=failed or "not measured yet",
        **_figures(row),
        score=row.score if row else None,
        recovery=1.0 if row and row.score is not None else None,
    )


def _variant(subject: Subject, name: str, declared: Variant | None, row: VariantStatus | None) -> Arm:
    scheme = row.scheme if row else declared.scheme.value if declared else ""
    why = _why_nothing(subject, row)
    if row is None:
        bits = _bits(subject, scheme, declared.scheme.weight_bits if declared else None)
        return Arm(name, scheme, bits, None, "", "", unmade=why, unmeasured=why)
    return Arm(
        name=name,
        scheme=scheme,
        bits=_bits(subject, scheme, row.bits),
        verdict=row.verdict,
        reason=row.reason or "",
        message=row.message,
        unmade=why if row.weight_bytes is None else "",
        unmeasured=why if row.score is None else "",
        **_figures(row),
        score=row.score,
        recovery=row.recovery,
        lower_bound=row.lower_bound,
        upper_bound=row.upper_bound,
        worst_slice=row.worst_slice,
    )


def _figures(row: BaselineStatus | VariantStatus | None) -> dict[str, Any]:
    names = ("revision", "weight_bytes", "evaluation", "memory", "benchmark", "cost")
    return {name: getattr(row, name) for name in names} if row else {}


def _why_nothing(subject: Subject, row: VariantStatus | None) -> str:
    if row and row.verdict in ("ERROR", "Infeasible"):
        return row.message or row.reason or row.verdict
    if row and row.failure:
        return f"{row.failure.reason}: {row.failure.message}"
    if row and row.evaluation and row.message:
        return row.message
    ended = subject.spec.ladder == "Sequential" and subject.status.phase in _SETTLED
    return "not tried: the ladder ended before it" if ended else "not measured yet"


def _bits(subject: Subject, scheme: str, weights: int | None) -> Bits:
    """By the scheme's name, as compressed-tensors names them; FP8 has 8 bits on both sides."""
    found = _WIDE.fullmatch(scheme)
    if found:
        return Bits(weights or int(found[1]), int(found[2]), _kv_bits(subject))
    return Bits(weights, 8 if scheme.startswith("FP8") else None, _kv_bits(subject))


def _kv_bits(subject: Subject) -> int | None:
    """The model's own type, unless the admin's engine profile says otherwise; the last flag counts."""
    own = _DTYPE_BITS[subject.spec.model.dtype]
    args = subject.status.resolved.profile.args if subject.status.resolved else []
    chosen = [_value(args, at) for at, arg in enumerate(args) if arg.partition("=")[0] == "--kv-cache-dtype"]
    if not chosen or chosen[-1] == "auto":
        return own
    return 8 if chosen[-1].startswith("fp8") else {"bfloat16": 16, "float16": 16}.get(chosen[-1])


def _value(args: list[str], at: int) -> str:
    name, equals, value = args[at].partition("=")
    return value if equals else args[at + 1] if at + 1 < len(args) else name
