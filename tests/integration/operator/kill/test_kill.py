"""The operator, killed before or after any of its writes, comes to the same end as one that is left alone.

A golden run of a story lists the operator's W writes to a real API server. Then every write is a place to be killed at:
once before it reaches the API server, once after the API server has carried it out and before the operator hears of it.
Events are places, too. End state and counts of created objects have to be the golden run's; events are not counted, for
one that is due may be lost with the operator.
"""

import asyncio
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.conftest import Cluster
from integration.operator.kill.proxy import Fuse, Moment
from integration.operator.kill.run import Outcome, Place, run
from integration.operator.kill.stories import ALREADY_DRIFTED, DRIFTED, EVERY, Story
from integration.operator.test_steering import Prometheus
from unit.adapters.prometheus_server import serving

SAMPLE = 4
TRIES = 3  # of a run that came to its end before the write: pods that are ready together save the operator one
GOLDEN = 3  # runs that are left alone, beside one another as the others are; the one with the fewest writes counts
PARALLEL = int(os.environ.get("KILL_PARALLEL", 3 * (os.cpu_count() or 2)))

pytestmark = pytest.mark.integration


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Place]:
    with serving() as script:
        Prometheus(script).answers = ALREADY_DRIFTED
        yield Place(cluster.client, script.url)


@pytest.mark.long
@pytest.mark.timeout(480)
def test_killed_at_some_writes(place: Place, tmp_path: Path):
    """Somewhere in each quarter of the story that has most in it."""
    seed = int(os.environ.get("KILL_SEED", secrets.randbelow(2**32)))
    print(f"KILL_SEED={seed}")
    choose = random.Random(seed)

    def sample(golden: Outcome) -> list[Fuse]:
        writes = len(golden.writes)
        parts = [range(part * writes // SAMPLE, (part + 1) * writes // SAMPLE) for part in range(SAMPLE)]
        return [Fuse(choose.choice(part) + 1, choose.choice(list(Moment))) for part in parts]

    asyncio.run(kill_at(place, tmp_path, DRIFTED, sample))


@pytest.mark.kill
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("story", EVERY, ids=lambda story: story.name)
def test_killed_at_every_write(place: Place, tmp_path: Path, story: Story):
    """Before and after each of the writes that are the story's own."""

    def every(golden: Outcome) -> list[Fuse]:
        return [Fuse(number + 1, moment) for number in range(golden.since, len(golden.writes)) for moment in Moment]

    asyncio.run(kill_at(place, tmp_path, story, every))


async def kill_at(place: Place, folder: Path, story: Story, choose: Callable[[Outcome], list[Fuse]]) -> None:
    """The golden run, then one for each fuse that `choose` gives for it."""
    began, prefix = time.monotonic(), f"kill-{secrets.token_hex(3)}"
    golden = await alone(place, folder, prefix, story)
    events = sum(write.is_event for write in golden.writes)
    told = f"W = {len(golden.writes)} writes, {events} of them events, {golden.since} before {story.since or 'it'}"
    print(f"{story.name}: {told}; golden run {golden.seconds:.1f} s")
    for number, write in enumerate(golden.writes, start=1):
        print(f"  {number:3} {write}")
    fuses, slots = choose(golden), asyncio.Semaphore(PARALLEL)
    failed: dict[str, list[str]] = {}

    async def one(number: int, fuse: Fuse) -> None:
        async with slots:
            findings = await killed(place, folder / f"{number}", f"{prefix}-{number}", story, fuse, golden)
        if findings:
            failed[str(fuse)] = findings
            print(f"  {fuse}: {findings[:5]}", flush=True)

    async with asyncio.TaskGroup() as group:
        for number, fuse in enumerate(fuses):
            group.create_task(one(number, fuse))
    print(f"{len(fuses)} runs, {len(failed)} failed, {time.monotonic() - began:.0f} s in all")
    assert failed == {}


async def alone(place: Place, folder: Path, prefix: str, story: Story) -> Outcome:
    """The run with the fewest writes of some in which nobody is killed, all of which come to one end."""
    names = [f"golden{number}" for number in range(GOLDEN)]
    outcomes = await asyncio.gather(*(run(place, folder / name, f"{prefix}-{name}", story) for name in names))
    golden = min(outcomes, key=lambda outcome: len(outcome.writes))
    assert not [found for outcome in outcomes for found in outcome.against(golden)]
    return golden


async def killed(place: Place, folder: Path, namespace: str, story: Story, fuse: Fuse, golden: Outcome) -> list[str]:
    """What one run with a kill found."""
    for attempt in range(TRIES):
        try:
            outcome = await run(place, folder / f"{attempt}", f"{namespace}-{attempt}", story, fuse)
        except AssertionError as error:
            return [str(error)]
        if findings := outcome.against(golden):
            return [f"killed at {outcome.cut or 'nothing'}", *findings]
        if outcome.fired:
            print(f"  {fuse}: {outcome.cut}: {outcome.seconds:.1f} s", flush=True)
            return []
    return [f"in {TRIES} runs the operator made fewer writes than that, {len(outcome.writes)} in the last one"]
