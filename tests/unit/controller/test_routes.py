"""A route is as it was written, or somebody has changed it."""

import copy

import pytest

from quantroll.api.spec import Routing
from quantroll.api.status import Share
from quantroll.builders import route
from quantroll.controller.difference import stamped
from quantroll.controller.routes import is_edited
from unit.builders.samples import CANDIDATE, OWNER, ROUTING, STABLE

SPLIT = [Share(revision=STABLE, weight=90), Share(revision=CANDIDATE, weight=10), Share(revision="older", weight=0)]


def rule(body):
    return body["spec"]["rules"][0]


@pytest.mark.parametrize(
    ("change", "edited"),
    [
        (lambda body: None, False),
        (lambda body: body["metadata"].update(generation=7), False),
        (lambda body: rule(body)["backendRefs"][0].update(weight=80), False),  # a weight tells of itself
        (lambda body: rule(body)["backendRefs"].pop(0), False),
        (lambda body: rule(body).update(matches=[{"path": {"type": "Exact", "value": "/"}}]), True),
        (lambda body: rule(body).update(filters=[{"type": "RequestRedirect"}]), True),
        (lambda body: body["spec"].update(hostnames=["other.example.com"]), True),
        (lambda body: body["metadata"].pop("annotations"), True),
    ],
)
def test_what_is_an_edit(change, edited):
    body = copy.deepcopy(stamped(route.route(OWNER, ROUTING, SPLIT)))
    change(body)
    assert is_edited(OWNER, ROUTING, body) is edited


def test_another_route_that_the_spec_asks_for_is_none():
    body = stamped(route.route(OWNER, ROUTING, SPLIT))
    other = Routing.model_validate({**ROUTING.to_wire(), "hostnames": ["new.example.com"]})
    assert not is_edited(OWNER, other, body)
