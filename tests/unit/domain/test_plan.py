"""The loop as a whole: from nothing to Steady, and what holds whatever happens on the way."""

from unit.domain.world import World, steady


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
