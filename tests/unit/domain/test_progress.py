"""How far a running evaluation is, as people see it."""

import pytest

from quantroll.domain import progress
from unit.domain.world import World


def evaluating(kind="baseline"):
    world = World()
    world.until("Evaluating" if kind != "baseline" else "Baselining")
    world.tick()
    return world, world.job("evaluate")


@pytest.mark.parametrize(
    ("share", "percent"), [(None, None), (0, None), (0.249, None), (0.25, 25), (0.6, 50), (0.99, 75), (1, 75)]
)
@pytest.mark.parametrize("kind", ["baseline", "variant"])
def test_quarters_are_told_in_message_and_status(kind, share, percent):
    world, job = evaluating(kind)
    plain = world.status.message
    world.change_job(job, progress=share)
    world.tick()
    found = world.status.progress
    assert (found.percent if found else None) == percent
    told = f"; {percent} % of the questions are answered" if percent else ""
    assert world.status.message == plain + told


def test_a_look_a_minute_and_no_write_between_quarters():
    world, job = evaluating()
    world.change_job(job, progress=0.3)
    assert world.tick().wake_at == world.now + progress.LOOK
    before = world.status
    for share in (0.35, 0.49, None, 0.1):
        world.change_job(job, progress=share)
        world.passes(minutes=1)
        world.tick()
        assert world.status == before


def test_it_is_gone_with_the_evaluation():
    world, job = evaluating()
    world.change_job(job, progress=0.5)
    world.tick()
    assert world.status.progress.key == job.view.key
    world.finish(job)
    world.tick()
    assert world.status.progress is None
    world.settle()
    assert world.status.progress is None


def test_another_evaluation_begins_at_nothing():
    world, job = evaluating()
    world.change_job(job, progress=0.9)
    world.tick()
    world.edit(qualityGate__generation={"maxTokens": 99})
    world.tick()
    assert world.status.progress is None
