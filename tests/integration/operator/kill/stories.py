"""What becomes of a model while the operator is killed: its spec, what a person asks for meanwhile, how it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quantroll.constants import GROUP
from unit.domain import world

Object = dict[str, Any]

NAME = "tiny"
SPEC: Object = world.spec_with(
    variants=[variant for variant in world.SPEC["variants"] if variant["name"] != "int8"],
    rollout__steps=[{"weight": 10, "duration": "1s"}, {"weight": 60, "duration": "1s"}],
    rollout__analysis={"metrics": []},  # shifts by time alone
    rollout__deadlines={"modelLoad": "60s", "drain": "1s"},
    rollout__rollback={},
    storage={"reclaimPolicy": "Delete"},
)
ALREADY_DRIFTED = (320, 80)  # right and wrong, as Prometheus has them of whatever serves
_CHECKED_SOON = {"afterPromotion": ["2s"], "window": "1h", "minSamples": 100, "confirm": {"items": 400}}
_ONE = SPEC | {"variants": SPEC["variants"][:1]}


@dataclass(frozen=True, slots=True)
class Story:
    """`asks` gives the annotations that a person adds when the status says this; `since` the phase from which on it is
    another story than the first one, and worth to be killed in.
    """

    name: str
    spec: Object
    end: str  # phase
    asks: Callable[[Object], dict[str, str]]
    since: str = ""


def _nothing(_: Object) -> dict[str, str]:
    return {}


def _approval(status: Object) -> dict[str, str]:
    if status.get("phase") != "AwaitingApproval":
        return {}
    rollout = status["rollout"]
    return {f"{GROUP}/approve": f"{rollout['id']}:{rollout['step']}/1"}


def _abort(status: Object) -> dict[str, str]:
    return {f"{GROUP}/abort": f"{status['rollout']['id']}/1"} if status.get("phase") == "Analyzing" else {}


def _steps(*steps: Object) -> Object:
    return {"rollout": SPEC["rollout"] | {"steps": list(steps)}}


PROMOTED = Story("promoted", SPEC, "Steady", _nothing)
DRIFTED = Story(
    "approved by a person, promoted, drifted, confirmed and rolled back",
    _ONE
    | _steps({"weight": 60, "duration": "1s", "approval": True})
    | {"driftCheck": SPEC["driftCheck"] | _CHECKED_SOON},
    "RolledBack",
    _approval,
    since="AwaitingApproval",
)
ABORTED = Story(
    "aborted at a tenth", _ONE | _steps({"weight": 10, "duration": "1h"}), "RolledBack", _abort, since="Shifting"
)
EVERY = (PROMOTED, DRIFTED, ABORTED)
