"""Another number of replicas, as an autoscaler asks for it: pods, and nothing else."""

import pytest

from quantroll.api.spec import QuantizedModelSpec
from quantroll.constants import Reason
from quantroll.domain.fingerprints import intent
from unit.domain.world import SPEC, World, spec_with, steady


def test_what_is_asked_for_is_the_same_with_other_replicas_and_with_defaults_written_out():
    def of(spec):
        return intent(QuantizedModelSpec.model_validate(spec))

    same = of(SPEC)
    assert of(spec_with(serving__replicas=17)) == same
    assert of(spec_with(serving__maxNumSeqs=64, suspend=False)) == same
    assert of(spec_with(serving__maxNumSeqs=65)) != same
    assert of(spec_with(suspend=True)) != same


def test_scaling_starts_no_rollout_and_no_job():
    world = steady()
    made, history = list(world.made), world.status.history
    for replicas in (5, 1, 8):
        world.edit(serving__replicas=replicas)
        world.settle()
        assert world.replicas == {world.status.stable.revision: replicas}
        assert world.status.replicas == replicas
    assert world.status.selector == "quantroll.io/name=tiny,quantroll.io/component=serve"
    assert (world.made, world.status.history) == (made, history)
    assert world.status.observed_generation == world.generation
    assert world.status.resolved.generation == 1


def test_scaling_forgives_nothing_and_an_edit_does():
    world = World(spec_with(variants=SPEC["variants"][1:2]))
    world.until("CandidateStarting")
    world.now = world.status.rollout.deadline
    world.until("RolledBack")
    world.settle()
    world.edit(serving__replicas=7)
    world.settle()
    assert world.status.phase == "RolledBack"
    assert len(world.status.rejected) == 1
    world.edit(rollout__deadlines={"modelLoad": "40m"})
    world.until("CandidateStarting")


def test_scaling_tries_no_failed_job_again():
    world = World()
    world.until("Quantizing")
    world.fail(world.job("quantize"), Reason.QUANTIZATION_FAILED)
    world.settle()
    made = len(world.made)
    world.edit(serving__replicas=7)
    world.settle()
    assert (len(world.made), world.verdicts()["int8"]) == (made, "ERROR")


def test_an_edit_after_scaling_is_one():
    world = steady()
    world.edit(serving__replicas=7)
    world.settle()
    world.edit(qualityGate__minAcceptable=0.93)
    world.settle()
    assert world.status.resolved.generation == world.generation == 3


@pytest.mark.parametrize("phase", ["CandidateStarting", "Shifting", "Analyzing", "Promoting", "Draining"])
@pytest.mark.parametrize("replicas", [1, 5])
def test_scaling_does_not_disturb_a_rollout(phase, replicas):
    world = World()
    world.until(phase)
    rollout = world.status.rollout.id
    world.edit(serving__replicas=replicas)
    world.until("Steady")
    world.settle()
    assert world.status.stable.rollout == rollout
    assert world.status.rejected == []
    assert world.replicas == {world.status.stable.revision: replicas}


def test_a_broken_stable_does_not_hold_up_what_mends_it():
    world = World(spec_with(variants=SPEC["variants"][:1]))
    world.until("Steady")
    world.settle()
    broken = world.status.stable.revision
    world.edit(serving__maxNumSeqs=8)
    for _ in range(60):
        world.tick()
        if world.status.stable.revision != broken:
            break
        world.works()
        world.ready(broken, 0)
        world.passes(minutes=1)
    assert world.status.stable.revision != broken
