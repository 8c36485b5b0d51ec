"""The operator, killed before or after any of its writes, comes to the same end as one that is left alone.

A golden run lists the operator's W writes to a real API server. Then every write is a place to be killed at: once
before it reaches the API server, once after the API server has carried it out and before the operator hears of it.
Events are places, too. End state and counts of created objects have to be the golden run's; events are not counted, for
one that is due may be lost with the operator.
"""

import asyncio
import os
import random
import secrets
import time
from pathlib import Path

import pytest

from cluster.kube import Client
from cluster.testcontrol import ControlPlaneOnly
from integration.operator.kill.proxy import Fuse, Moment
from integration.operator.kill.run import Outcome, run

SAMPLE = 4
TRIES = 3  # of a run that came to its end before the write: pods that are ready together save the operator one
GOLDEN = 3  # runs that are left alone, beside one another as the others are; the one with the fewest writes counts
PARALLEL = int(os.environ.get("KILL_PARALLEL", 3 * (os.cpu_count() or 2)))


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.timeout(480)
def test_killed_at_some_writes(cluster: ControlPlaneOnly, gateway_crds: None, tmp_path: Path):
    """A place in each quarter of the rollout."""
    seed = int(os.environ.get("KILL_SEED", secrets.randbelow(2**32)))
    print(f"KILL_SEED={seed}")
    choose = random.Random(seed)

    def sample(writes: int) -> list[Fuse]:
        parts = [range(part * writes // SAMPLE, (part + 1) * writes // SAMPLE) for part in range(SAMPLE)]
        return [Fuse(choose.choice(part) + 1, choose.choice(list(Moment))) for part in parts]

    asyncio.run(kill_at(cluster.client, tmp_path, sample))


@pytest.mark.integration
@pytest.mark.kill
@pytest.mark.timeout(3600)
def test_killed_at_every_write(cluster: ControlPlaneOnly, gateway_crds: None, tmp_path: Path):
    """Before and after each of the writes."""
    every = lambda writes: [Fuse(number + 1, moment) for number in range(writes) for moment in Moment]  # noqa: E731
    asyncio.run(kill_at(cluster.client, tmp_path, every))


async def kill_at(client: Client, folder: Path, choose) -> None:
    """The golden run, then one for each fuse that `choose` gives for its number of writes."""
    began, prefix = time.monotonic(), f"kill-{secrets.token_hex(3)}"
    golden = await alone(client, folder, prefix)
    events = sum(write.is_event for write in golden.writes)
    print(f"W = {len(golden.writes)} writes, {events} of them events; golden run {golden.seconds:.1f} s")
    for number, write in enumerate(golden.writes, start=1):
        print(f"  {number:3} {write}")
    fuses, slots = choose(len(golden.writes)), asyncio.Semaphore(PARALLEL)
    failed: dict[str, list[str]] = {}

    async def one(number: int, fuse: Fuse) -> None:
        async with slots:
            findings = await killed(client, folder / f"{number}", f"{prefix}-{number}", fuse, golden)
        if findings:
            failed[str(fuse)] = findings
            print(f"  {fuse}: {findings[:5]}", flush=True)

    async with asyncio.TaskGroup() as group:
        for number, fuse in enumerate(fuses):
            group.create_task(one(number, fuse))
    print(f"{len(fuses)} runs, {len(failed)} failed, {time.monotonic() - began:.0f} s in all")
    assert failed == {}


async def alone(client: Client, folder: Path, prefix: str) -> Outcome:
    """The run with the fewest writes of some in which nobody is killed, all of which come to one end."""
    names = [f"golden{number}" for number in range(GOLDEN)]
    outcomes = await asyncio.gather(*(run(client, folder / name, f"{prefix}-{name}") for name in names))
    golden = min(outcomes, key=lambda outcome: len(outcome.writes))
    assert [outcome.against(golden) for outcome in outcomes] == [[]] * GOLDEN
    assert golden.broken == []
    return golden


async def killed(client: Client, folder: Path, namespace: str, fuse: Fuse, golden: Outcome) -> list[str]:
    """What one run with a kill found."""
    for attempt in range(TRIES):
        try:
            outcome = await run(client, folder / f"{attempt}", f"{namespace}-{attempt}", fuse)
        except AssertionError as error:
            return [str(error)]
        if findings := outcome.against(golden):
            return [f"killed at {outcome.cut or 'nothing'}", *findings]
        if outcome.fired:
            print(f"  {fuse}: {outcome.cut}: {outcome.seconds:.1f} s", flush=True)
            return []
    return [f"in {TRIES} runs the operator made fewer writes than that, {len(outcome.writes)} in the last one"]
