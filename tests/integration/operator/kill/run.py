"""One run: a story from its beginning, with the operator killed at one of its writes and started again at once."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cluster.kube import Client
from cluster.procs import LIBC, PR_SET_PDEATHSIG
from integration.operator.conftest import CHECKOUT, SETTINGS
from integration.operator.kill.oracles import differences
from integration.operator.kill.proxy import Fuse, Proxy, Write
from integration.operator.kill.stories import Story
from integration.operator.kill.world import KINDS, World

QUIET = 3.0  # seconds without a write after which the operator, which may just have started, is taken to be done
START, STORY = 90.0, 180.0  # seconds until given up
COMMAND = [sys.executable, "-m", "kopf", "run", "-m", "quantroll.app", "--standalone", "-n"]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where stories are played: an API server, and what is known of the quality of whatever serves."""

    client: Client
    prometheus: str  # URL


@dataclass(slots=True)
class Outcome:
    """What one run came to."""

    fuse: Fuse | None
    writes: list[Write]
    created: Counter[str]
    end: dict[str, Any]
    broken: list[str]  # invariants
    fired: bool
    seconds: float
    since: int = 0  # writes that were made before the story was its own
    cut: str = ""  # the write that the operator was killed at

    def against(self, golden: "Outcome") -> list[str]:
        """What is otherwise than in the golden run."""
        counts = {name for name in {*golden.created, *self.created} if golden.created[name] != self.created[name]}
        created = [f"{name} made {self.created[name]} times, not {golden.created[name]}" for name in sorted(counts)]
        return [*self.broken, *created, *differences(golden.end, self.end)]


@dataclass(slots=True)
class Operator:
    """The process, started anew whenever it was killed."""

    folder: Path
    namespace: str
    prometheus: str  # URL
    starts: int = 0
    _process: asyncio.subprocess.Process | None = None
    _ends: bool = False
    _keeper: asyncio.Task[None] | None = field(default=None)

    def start(self, server: str) -> None:
        """Start it against `server`."""
        self.folder.mkdir(parents=True)
        settings = {**SETTINGS, "prometheus": {"url": self.prometheus}}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(settings))
        (self.folder / "kubeconfig").write_text(json.dumps(kubeconfig(server)))
        self._keeper = asyncio.create_task(self._keep())

    async def beside(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of something that needs the operator; an operator that ends by itself ends that, too."""
        assert self._keeper
        task = asyncio.create_task(work)
        await asyncio.wait({task, self._keeper}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await self._keeper
        return await task

    def kill(self) -> None:
        """As a lost node would: without a word."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """End it for good; raises AssertionError if it ended by itself, or complained."""
        self._ends = True
        self.kill()
        if self._keeper:
            await self._keeper
        assert "Traceback" not in self.log, self.log[-4000:]

    @property
    def log(self) -> str:
        path = self.folder / "operator.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def _keep(self) -> None:
        env = {
            **os.environ,
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "QUANTROLL_CONFIG": str(self.folder / "config.yaml"),
            "PYTHONPATH": str(CHECKOUT / "operator"),
        }
        while not self._ends:
            self.starts += 1
            with (self.folder / "operator.log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *COMMAND, self.namespace, stdout=log, stderr=log, env=env, preexec_fn=mortal
                )
            code = await self._process.wait()
            assert code == -9, f"the operator ended by itself with {code}: {self.log[-3000:]}"


def mortal() -> None:
    """In the child: end with the thread that started it, for a test that is killed itself stops nothing."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def kubeconfig(server: str) -> dict[str, Any]:
    """A kubeconfig for plain HTTP on loopback: the proxy has the certificate."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
    }


async def run(place: Place, folder: Path, namespace: str, story: Story, fuse: Fuse | None = None) -> Outcome:
    """From apply to the story's end and quiet. Raises AssertionError when that is not reached."""
    operator = Operator(folder, namespace, place.prometheus)
    began, client = time.monotonic(), place.client
    async with World(client, namespace, story) as world, Proxy(client.server, client.ssl, fuse, operator.kill) as proxy:
        operator.start(proxy.url)
        try:
            end, since = await operator.beside(told(story, world, proxy))
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"{fuse}: {error}\n{operator.log[-3000:]}") from error
        finally:
            await operator.stop()
    broken = list(dict.fromkeys(world.invariants.broken))
    cut = str(proxy.writes[fuse.write - 1]) if fuse and proxy.fired else ""
    seconds = time.monotonic() - began
    return Outcome(fuse, proxy.writes, proxy.created(), end, broken, proxy.fired, seconds, since, cut)


async def told(story: Story, world: World, proxy: Proxy) -> tuple[dict[str, Any], int]:
    """From apply until nothing happens any more; the end state, and the writes before the story was its own."""
    async with asyncio.timeout(START):
        await proxy.watching(KINDS)
    world.counts = lambda: len(proxy.writes)
    await world.apply()
    since = await world.wait(story.since, STORY) if story.since else 0
    await world.wait(story.end, STORY)
    await quiet(proxy)
    return await world.end_state(), since


async def quiet(proxy: Proxy) -> None:
    """Until the operator, started again perhaps, watches everything and has not written for a while."""
    async with asyncio.timeout(START):
        before = -1
        while before != len(proxy.writes) or not proxy.is_watched(KINDS):  # killed at its last write so far, perhaps
            await proxy.watching(KINDS)
            before = len(proxy.writes)
            await asyncio.sleep(QUIET)
