"""Everything that a report says, before it is told whether in text, Markdown, JSON or HTML."""

from dataclasses import dataclass
from typing import Any

from quantroll.report.arms import Arm, arms_of
from quantroll.report.choice import choice
from quantroll.report.findings import Finding, findings
from quantroll.report.subject import Subject
from quantroll.report.table import Table, table_of
from quantroll.report.verification import verification


@dataclass(frozen=True)
class Report:
    """The report on one QuantizedModel."""

    subject: Subject
    arms: list[Arm]
    table: Table
    choice: list[str]
    floor: float
    """Recovery below which nothing may ship; 0 where the gate compares differences and the baseline has no score."""
    confidence: float
    """One-sided confidence of each bound."""

    @property
    def title(self) -> str:
        """The resource, as people name it."""
        subject = self.subject
        return f"{subject.name} (namespace {subject.namespace})" if subject.namespace else subject.name

    @property
    def phase(self) -> str:
        """Where it stands, in one word."""
        phase = self.subject.status.phase
        return phase.value if phase else "not seen by the operator yet"

    @property
    def basis(self) -> str:
        """What was asked for and how much data it stands on, in a sentence."""
        spec, status = self.subject.spec, self.subject.status
        source = f"{spec.model.source} at {spec.model.revision}" if spec.model.revision else spec.model.source
        measured = status.baseline.evaluation if status.baseline else None
        items = f", {measured.items:,} items" if measured else ""
        proof = f"proven with {100 * self.confidence:g} % confidence"
        return f"{source} ({spec.model.dtype.value}); {spec.quality_gate.scorer}{items}; {self._floor}, {proof}."

    @property
    def floor_told(self) -> str:
        """The floor of recovery as a number."""
        return f"{self.floor:.4g}"

    @property
    def _floor(self) -> str:
        drop = self.subject.spec.quality_gate.max_drop
        if drop is None:
            return f"floor {self.floor_told} of the baseline's score"
        known = f", a recovery of {self.floor_told}" if self.floor else ""
        return f"floor {drop:g} below the baseline's score{known}"

    @property
    def stale(self) -> str:
        """A warning where the status is about an older spec."""
        seen, now = self.subject.status.observed_generation, self.subject.generation
        if now is None or seen == now:
            return ""
        return f"The spec is at generation {now}, the status at {'none' if seen is None else seen}: it is behind."

    @property
    def findings(self) -> list[Finding]:
        """What was found of each arm."""
        return findings(self.arms, self.table.units)

    def to_wire(self) -> dict[str, Any]:
        """The report for programs: JSON values, rates and bytes unrounded; what is missing is null, with its reason."""
        status, gate = self.subject.status, self.subject.spec.quality_gate
        return {
            "name": self.subject.name,
            "namespace": self.subject.namespace or None,
            "generation": self.subject.generation,
            "observedGeneration": status.observed_generation,
            "phase": status.phase.value if status.phase else None,
            "comparison": gate.comparison,
            "minAcceptable": None if gate.max_drop else gate.min_acceptable,
            "maxDrop": gate.max_drop,
            "floor": self.floor or None,
            "confidence": self.confidence,
            "stable": status.stable.variant if status.stable else None,
            "candidate": status.candidate.variant if status.candidate else None,
            "choice": self.choice,
            "rows": [
                {**row, "verification": verification(self.subject, arm)}
                for row, arm in zip(self.table.records, self.arms, strict=True)
            ],
        }


def report_on(subject: Subject) -> Report:
    """The report, from spec and status alone."""
    gate = subject.spec.quality_gate
    arms = arms_of(subject)
    floor = gate.min_acceptable if gate.max_drop is None else _recovery_floor(gate.max_drop, arms[0].score)
    table = table_of(arms, floor)
    return Report(subject, arms, table, choice(subject, arms, table.units), floor, gate.confidence)


def _recovery_floor(drop: float, baseline: float | None) -> float:
    """The recovery that is so much below the baseline's score."""
    return max(1 - drop / baseline, 0.0) if baseline else 0.0
