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
# of the places: the last ones, where every run was through with fewer writes than the golden one
UNREACHED = 0.1
PARALLEL = int(os.environ.get("KILL_PARALLEL", 3 * (os.cpu_count() or 2)))


@pytest.mark.integration
@pytest.mark.timeout(480)
def test_killed_at_some_writes(cluster: ControlPlaneOnly, gateway_crds: None, tmp_path: Path):
    """A place in each quarter of the rollout."""
    seed = int(os.environ.get("KILL_SEED", secrets.randbelow(2**32)))
    print(f"KILL_SEED={seed}")
    choose = random.Random(seed)

    def sample(writes: int) -> list[Fuse]:
        reached = int(writes * (1 - UNREACHED))
        parts = [range(part * reached // SAMPLE, (part + 1) * reached // SAMPLE) for part in range(SAMPLE)]
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
    golden = await run(client, folder / "golden", f"{prefix}-golden")
    assert golden.broken == []
    events = sum(write.is_event for write in golden.writes)
    print(f"W = {len(golden.writes)} writes, {events} of them events; golden run {golden.seconds:.1f} s")
    for number, write in enumerate(golden.writes, start=1):
        print(f"  {number:3} {write}")
    fuses, slots = choose(len(golden.writes)), asyncio.Semaphore(PARALLEL)
    failed: dict[str, list[str]] = {}
    unreached: list[str] = []

    async def one(number: int, fuse: Fuse) -> None:
        async with slots:
            findings = await killed(client, folder / f"{number}", f"{prefix}-{number}", fuse, golden)
        if findings is None:
            unreached.append(str(fuse))
        elif findings:
            failed[str(fuse)] = findings
            print(f"  {fuse}: {findings[:5]}", flush=True)

    async with asyncio.TaskGroup() as group:
        for number, fuse in enumerate(fuses):
            group.create_task(one(number, fuse))
    print(f"{len(fuses)} runs, {len(failed)} failed, {time.monotonic() - began:.0f} s in all")
    print(f"through before they came to it, in {TRIES} runs each: {unreached or 'none'}")
    assert failed == {}
    assert len(unreached) <= UNREACHED * len(fuses)


async def killed(client: Client, folder: Path, namespace: str, fuse: Fuse, golden: Outcome) -> list[str] | None:
    """What one run with a kill found; None if none of the tries had so many writes."""
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
    return None
