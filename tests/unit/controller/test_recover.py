"""A status that was lost: what serves stays stable, and what lost its role is drained before it goes."""

import asyncio
import copy
import json

import pytest

from quantroll.api.status import RejectedRevision, Share
from quantroll.builders import route, service
from quantroll.controller.children import Children
from quantroll.controller.difference import stamped
from quantroll.controller.gather import Outside, gather
from quantroll.controller.recover import recovered
from quantroll.domain.plan import plan
from unit.builders.samples import CANDIDATE, CPU, OWNER, ROUTING, STABLE, server
from unit.controller.test_reconcile import SETTINGS, Recorder
from unit.domain.world import START, spec_with


def children(*, split=(), selected=STABLE, stable=None):
    bodies = [
        server(CPU, "baseline", STABLE), server(CPU, "int8", CANDIDATE),
        service.stable_service(OWNER, stable=stable or selected, selected=selected),
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


def split(stable=50, candidate=50):
    return [Share(revision=STABLE, weight=stable), Share(revision=CANDIDATE, weight=candidate)]


def first_pass(kids, status=None):
    world = Recorder()
    world.model["metadata"]["name"] = OWNER.name
    world.model["spec"] = spec_with()
    if status:
        world.model["status"] = status
    seen = asyncio.run(gather(world.model, kids, SETTINGS, Outside(world, world, world), START))
    return plan(seen, START)


def test_what_the_route_names_besides_is_taken_back():
    found = recovered(OWNER.name, children(split=split()), START)
    assert found.stable.revision == STABLE
    assert (found.candidate.revision, found.rollout.weight) == (CANDIDATE, 50)
    decided = first_pass(children(split=split()))
    assert decided.status.rollout.reason == "Superseded"
    assert decided.wanted.kept == {CANDIDATE}, "drained before it goes"


def test_nothing_serves_nothing_is_stable():
    assert recovered(OWNER.name, Children(), START).stable is None


def test_without_the_stable_service_the_route_tells():
    found = recovered(OWNER.name, children(split=split(10, 90), selected="another"), START)
    assert (found.stable.revision, found.candidate.revision) == (CANDIDATE, STABLE)


def test_what_a_newer_operator_wrote_is_read_as_far_as_it_goes():
    kids = children()
    for body in kids.of("Deployment"):
        notes = body["metadata"]["annotations"]
        known = json.loads(notes["quantroll.io/revision-spec"])
        known["serving"]["fromTheFuture"] = known["fromTheFuture"] = 1
        notes["quantroll.io/revision-spec"] = json.dumps(known)
    assert recovered(OWNER.name, kids, START).stable.spec == CPU


def spoiled():
    kids = children()
    for body in kids.of("Deployment"):
        body["metadata"]["annotations"] = {"quantroll.io/revision-spec": "{"}
    return kids


@pytest.mark.parametrize("kids", [children(selected="another"), spoiled()], ids=["two alike", "unreadable"])
def test_where_it_cannot_be_told_nothing_is_touched(kids):
    assert recovered(OWNER.name, kids, START) is None
    decided = first_pass(kids)
    assert decided.wanted.settled is False
    stalled = next(c for c in decided.status.conditions if c.type == "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "StatusLost")


@pytest.mark.parametrize("status", [None, {"phase": "FromAnotherVersion"}])
def test_the_first_pass_after_the_loss_takes_nothing_from_users(status):
    decided = first_pass(children(), status)
    assert decided.status.stable.revision == STABLE
    assert [s.revision for s in decided.wanted.servers] == [STABLE]
    assert decided.wanted.servers[0].served == CPU, "its pods are made from what they were made from"


@pytest.mark.parametrize(("selected", "weight"), [("", 50), (CANDIDATE, 100)], ids=["both", "the candidate alone"])
def test_without_a_gateway_what_the_service_leads_to_besides_is_taken_back(selected, weight):
    """Its label names the stable revision, whatever its selector leads to just now."""
    kids = children(stable=STABLE, selected=selected)
    found = recovered(OWNER.name, kids, START)
    assert found.stable.revision == STABLE
    assert (found.candidate.revision, found.rollout.weight) == (CANDIDATE, weight)
    assert CANDIDATE in first_pass(kids).wanted.kept, "drained before it goes"


def test_what_was_taken_back_is_known_again():
    entry = RejectedRevision(
        key="k", generation=3, rollout="3-a-260302080000", revision="a", variant="int8", reason="AnalysisFailed",
        at=START,
    )  # fmt: skip
    found = children()
    body = service.stable_service(OWNER, stable=STABLE, selected=STABLE, rejected=[entry])
    notes = body["metadata"]["annotations"]

    def again(text):
        kids = children()
        kids.get("Service", OWNER.name)["metadata"]["annotations"] = {"quantroll.io/rejected": text}
        return recovered(OWNER.name, kids, START).rejected

    assert again(notes["quantroll.io/rejected"]) == [entry]
    assert again("{") == again("[{}]") == []
    assert recovered(OWNER.name, found, START).rejected == []
