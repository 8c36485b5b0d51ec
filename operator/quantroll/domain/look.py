"""One look at one metric of a candidate."""

from dataclasses import dataclass

from quantroll.api.looks import LookVerdict, MetricName


@dataclass(frozen=True, slots=True)
class Look:
    """What it says. Inconclusive: too little to tell. Error: Prometheus did not say, which is another thing."""

    name: MetricName
    verdict: LookVerdict
    message: str  # with the numbers
    held: str = ""  # without numbers that change at every look: what a step waits for
    proven: bool = False  # so bad that no other look is needed

    @property
    def waits_for(self) -> str:
        """What keeps a step from going on, in words that stay the same while that stays the same."""
        return self.held or self.message
