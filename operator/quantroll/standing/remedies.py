"""What each reason means and what to do about it: the runbooks, as `make generate` has read them."""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_ELSEWHERE = re.compile(r"\s*(Then|To have it tried after all,) see RolledBack\.")  # the command itself is told instead


@dataclass(frozen=True, slots=True)
class Remedy:
    """A runbook in short. `do` and `itself` are empty where nothing is wrong."""

    means: str
    do: str = ""
    itself: str = ""


@cache
def known() -> dict[str, Remedy]:
    """By reason."""
    page = resources.files("quantroll.standing").joinpath("remedies.json").read_text(encoding="utf-8")
    return {reason: Remedy(**parts) for reason, parts in json.loads(page).items()}


def remedy(reason: str, name: str) -> tuple[str, ...]:
    """What to do about it, for the QuantizedModel of this name; and whether it goes away by itself.

    An operator newer than this command line has reasons that are not known here: the runbooks of its release have them.
    """
    found = known().get(reason)
    if found is None or not found.do:
        return (f"see docs/runbooks.md#{reason.lower()} of the operator's release",)
    do = _ELSEWHERE.sub("", re.sub(r"\bNAME\b", lambda _: name, found.do))
    return do, f"by itself: {found.itself}"
