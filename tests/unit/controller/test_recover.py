"""A status that was lost: what serves stays stable, and what lost its role is drained before it goes."""

import asyncio
import copy

import pytest

from quantroll.api.status import Share
from quantroll.builders import route, service
from quantroll.controller.children import Children
from quantroll.controller.difference import stamped
from quantroll.controller.gather import gather
from quantroll.controller.recover import recovered
from quantroll.domain.plan import plan
from unit.builders.samples import CANDIDATE, CPU, OWNER, ROUTING, STABLE, server
from unit.controller.test_reconcile import SETTINGS, Recorder
from unit.domain.world import START, spec_with


def children(*, split=None, selected=STABLE):
    bodies = [
        server(CPU, "baseline", STABLE), server(CPU, "int8", CANDIDATE),
        service.stable_service(OWNER, revision=selected),
    ]  # fmt: skip
    if split:
        bodies.append(route.route(OWNER, ROUTING, split))
    by_kind = {}
    for body in copy.deepcopy([stamped(b) for b in bodies]):
        body["metadata"] |= {"uid": body["metadata"]["name"], "generation": 1}
        by_kind.setdefault(body["kind"], {})[body["metadata"]["name"]] = body
    return Children(by_kind)


def test_what_the_stable_service_selects_is_stable():
    found = recovered(OWNER.name, children(), START)
    assert (found.stable.revision, found.stable.variant) == (STABLE, "baseline")
    assert found.stable.spec == CPU
    assert found.candidate is None


def test_what_the_route_names_besides_is_taken_back():
    found = recovered(OWNER.name, children(split=[Share(revision=STABLE, weight=50),
                                                  Share(revision=CANDIDATE, weight=50)]), START)  # fmt: skip
    assert found.stable.revision == STABLE
    assert found.candidate.revision == CANDIDATE
    assert found.rollout.reason == "Superseded"


@pytest.mark.parametrize("kids", [Children(), children(selected="another")])
def test_nothing_serves_nothing_is_stable(kids):
    assert recovered(OWNER.name, kids, START).stable is None


def test_a_deployment_without_its_annotation_is_no_stable():
    kids = children()
    for body in kids.of("Deployment"):
        body["metadata"]["annotations"] = {"quantroll.io/revision-spec": "{"}
    assert recovered(OWNER.name, kids, START).stable is None


@pytest.mark.parametrize("status", [None, {"phase": "FromAnotherVersion"}])
def test_the_first_pass_after_the_loss_takes_nothing_from_users(status):
    world = Recorder()
    world.model["metadata"]["name"] = OWNER.name
    world.model["spec"] = spec_with()
    if status:
        world.model["status"] = status
    seen = asyncio.run(gather(world.model, children(), SETTINGS, world, world, START))
    decided = plan(seen, START)
    assert decided.status.stable.revision == STABLE
    assert [s.revision for s in decided.wanted.servers] == [STABLE]
    assert decided.wanted.servers[0].served == CPU, "its pods are made from what they were made from"
