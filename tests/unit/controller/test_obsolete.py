"""What nothing refers to goes; what a hold or a suspension may still need stays."""

from dataclasses import replace

import pytest

from quantroll.api.status import QuantizedModelStatus
from quantroll.constants import ANNOTATION_KEY, LABEL_COMPONENT, Component
from quantroll.controller.children import Children
from quantroll.controller.reconcile import obsolete
from quantroll.domain.plan import Plan
from quantroll.domain.snapshot import JobState, JobView
from quantroll.domain.wanted import Wanted
from unit.domain.world import World


def body(name, component, **notes):
    meta = {"namespace": "ml", "name": name, "uid": f"uid-{name}", "annotations": notes}
    return {"metadata": {**meta, "labels": {LABEL_COMPONENT: component.value}}}


def gone(**wanted):
    """Names of what goes, of two Jobs that nobody asks for and a prober."""
    states = {"runs": JobState.ACTIVE, "ended": JobState.SUCCEEDED}
    jobs = {name: body(name, Component.EVALUATE, **{ANNOTATION_KEY: name}) for name in states}
    prober = {"tiny-prober": body("tiny-prober", Component.PROBE)}
    views = {name: JobView(name, f"uid-{name}", name, state) for name, state in states.items()}
    decided = Plan(QuantizedModelStatus(), Wanted(**wanted), (), None)
    children = Children({"Job": jobs, "Deployment": prober})
    return {ref.name for ref in obsolete([], children, replace(World().snapshot(), jobs=views), decided)}


@pytest.mark.parametrize(
    ("wanted", "goes"),
    [
        ({}, {"runs", "ended", "tiny-prober"}),
        ({"keep_jobs": True}, {"tiny-prober"}),
        ({"kept_jobs": {"runs"}}, {"ended", "tiny-prober"}),
        ({"kept_jobs": {"ended"}}, {"runs", "tiny-prober"}),
        ({"keep_prober": True}, {"runs", "ended"}),
        ({"keep_jobs": True, "drop_jobs": {"uid-ended"}}, {"ended", "tiny-prober"}),
    ],
)
def test_what_goes(wanted, goes):
    assert gone(**wanted) == goes
