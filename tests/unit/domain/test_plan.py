"""The loop as a whole: from nothing to Steady, and what holds whatever happens on the way."""

import copy
import json

import pytest

from quantroll.constants import Reason
from quantroll.domain.plan import plan
from quantroll.domain.snapshot import Problem
from unit.domain import invariants
from unit.domain.world import World, spec_with, steady


def test_from_nothing_to_steady():
    world = steady()
    assert world.phases() == [
        "Pending", "Baselining", "Quantizing", "Evaluating", "Quantizing", "Evaluating", "Quantizing", "Evaluating",
        "Selecting", "CandidateStarting", "Shifting", "Analyzing", "Shifting", "Analyzing", "Promoting", "Draining",
        "Steady",
    ]  # fmt: skip
    assert world.verdicts() == {"int8": "PASS", "gptq4": "PASS", "rtn4": "FAIL"}
    assert world.kinds() == ["prepare", "evaluate", *["quantize", "evaluate"] * 3]
    assert len(set(world.made)) == len(world.made), "a Job was made twice"
    stable = world.status.stable
    assert (stable.variant, stable.recovery) == ("gptq4", "0.956")
    assert world.replicas == {stable.revision: 2}
    assert [(s.revision, s.weight) for s in world.route.shares] == [(stable.revision, 100)]
    assert world.stalled() is None
    assert [p.variant for p in world.status.last_good] == ["baseline"]
    assert [e.reason for e in world.told if e.type == "Warning"] == ["Verdict"], "rtn4's"


@pytest.mark.parametrize("phase", ["Baselining", "Quantizing", "Evaluating", "Selecting", "Analyzing", "Draining"])
def test_the_same_snapshot_and_time_give_the_same_plan(phase):
    world = World()
    world.until(phase)
    seen = world.snapshot()
    assert plan(seen, world.now) == plan(copy.deepcopy(seen), world.now)


def test_the_worst_status_stays_small(monkeypatch):
    """As many variants as there may be that no engine can load, for long reasons; more rejections than are kept."""
    names = [f"variant-number-{index:02}-of-seven" for index in range(6)]
    variants = [{"name": n, "scheme": "W8A16", "ignore": [n]} for n in names] + [{"name": "int8", "scheme": "W8A8"}]
    world = World(spec_with(variants=variants, rollout__rollback={"keepWarm": "0s", "cooldown": "0s"}))
    # nine times the whole loop: all other checks are for the end
    monkeypatch.setattr(invariants, "check", lambda _, decided, __: invariants.stored_status(decided))
    long = Problem(Reason.ENGINE_FAILED, "ValueError: " + "x" * 2000)
    for attempt in range(9):
        world.edit(serving__maxNumSeqs=8 + attempt)
        for _ in range(200):
            world.tick()
            for job in world.running():
                if job.kind == "evaluate" and job.variant in names:
                    world.change_job(job, engine_restarts=2, engine_problem=long)
                else:
                    world.finish(job)
            if world.status.stable:
                world.ready(world.status.stable.revision)
            if candidate := world.status.candidate:
                world.ready(candidate.revision, 0, long)
                world.now = world.status.rollout.deadline or world.now
            world.accept()
            if world.status.phase == "RolledBack" and not world.running():
                break
    status = world.status
    assert [row.verdict for row in status.variants] == ["Infeasible"] * 6 + ["PASS"]
    assert (len(status.rejected), len(status.history)) == (8, 20)
    size = len(json.dumps(status.to_wire()))
    assert 30_000 < size < 64 * 1024
    monkeypatch.undo()
    world.plan()
