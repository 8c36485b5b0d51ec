"""Who comes first when many models wait for a worker: whose traffic has to go back."""

from collections.abc import Mapping
from typing import Any

from quantroll.constants import ANNOTATION_COMMAND, Phase

_BACK = ("abort", "rollback")


def goes_back(annotations: Mapping[str, str], status: Mapping[str, Any]) -> bool:
    """Whether a model's traffic is going back, or a person has asked for that and has had no answer yet."""
    rollout = status.get("rollout") or {}
    if status.get("phase") == Phase.ROLLING_BACK or rollout.get("kind") == "Rollback":
        return True
    answered = {entry.get("verb"): entry.get("value") for entry in status.get("commands") or []}
    asked = {verb: annotations.get(f"{ANNOTATION_COMMAND}/{verb}") for verb in _BACK}
    return any(value is not None and value != answered.get(verb) for verb, value in asked.items())
