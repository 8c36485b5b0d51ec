"""Start, login, health and end of the operator."""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import kopf

from quantroll.adapters import heap
from quantroll.adapters.clock import WallClock
from quantroll.adapters.cluster import KubernetesCluster
from quantroll.adapters.engines import VllmEngines
from quantroll.adapters.metrics import metrics_from
from quantroll.adapters.metrics_page import MetricsPage
from quantroll.adapters.telemetry import OperatorTelemetry
from quantroll.adapters.watching import Watches
from quantroll.constants import GROUP, PLURAL
from quantroll.controller.children import Children
from quantroll.controller.gather import Outside
from quantroll.controller.packed import Packed, Packer
from quantroll.controller.queue import Key, WorkQueue
from quantroll.controller.reconcile import Look, Reconciler, owner_of
from quantroll.controller.seen import Seen
from quantroll.handlers import listing
from quantroll.handlers.nothing import NoDifferences, NoProgress
from quantroll.handlers.watches import MODELS
from quantroll.settings import Settings, load

BURST = 0.05  # seconds: a child seldom changes alone or only once, and all of it is one pass
CONFIG_VARIABLE, CONFIG_DEFAULT = "QUANTROLL_CONFIG", "/etc/quantroll/config.yaml"


def register(registry: kopf.OperatorRegistry) -> None:
    """Add the lifecycle handlers."""
    listing.patch()
    kopf.on.login(registry=registry)(login)
    kopf.on.startup(registry=registry)(start)
    kopf.on.cleanup(registry=registry)(stop)
    kopf.on.probe(registry=registry, id="queue", errors=kopf.ErrorsMode.PERMANENT)(health)


async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The pod's service account, or a kubeconfig outside of a cluster."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **kwargs: Any) -> None:
    """Read the configuration, connect, and start watches and workers."""
    ours = load(Path(os.environ.get(CONFIG_VARIABLE, CONFIG_DEFAULT)))
    configure(settings, ours)
    memo.packer = Packer()
    memo.stack = AsyncExitStack()
    telemetry = OperatorTelemetry()
    seen = Seen(memo.packer, partial(news, memo))
    cluster = await memo.stack.enter_async_context(KubernetesCluster(telemetry))
    watches = await memo.stack.enter_async_context(Watches(seen, ours.namespaces))
    metrics = metrics_from(ours, telemetry)
    memo.stack.callback(metrics.close)
    outside = Outside(cluster=cluster, engines=VllmEngines(), metrics=metrics, telemetry=telemetry)
    reconciler = Reconciler(look_at(kwargs[MODELS], seen), ours, outside, WallClock(), seen.departed)
    memo.queue = WorkQueue(reconciler.run_pass, workers=ours.workers, resync=ours.resync_seconds, telemetry=telemetry)
    if port := ours.metrics.port:
        look = partial(note, memo, telemetry, watches)
        await memo.stack.enter_async_context(MetricsPage(telemetry, port, look))
    memo.models_watched = 0
    memo.watching = asyncio.create_task(watches.run())
    memo.work = asyncio.create_task(work(watches, memo.queue))
    memo.tidying = asyncio.create_task(heap.tidy(lambda: memo.queue.depth > 0))


def news(memo: kopf.Memo, key: Key) -> None:
    """A child of a model came, changed or went."""
    memo.queue.add(key, BURST)


def note(memo: kopf.Memo, telemetry: OperatorTelemetry, watches: Watches) -> None:
    """What a metrics page says of this moment."""
    telemetry.now_is(memo.queue.depth, watches.heard_at())


async def work(watches: Watches, queue: WorkQueue) -> None:
    """Decide nothing before everything has been seen."""
    await watches.listed()
    heap.settle()
    await queue.run()


async def stop(memo: kopf.Memo, **_: Any) -> None:
    """Let go of everything."""
    tasks = (memo.work, memo.watching, memo.tidying)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await memo.stack.aclose()


async def health(memo: kopf.Memo, **_: Any) -> int:
    """Length of the queue; unhealthy when workers or watches are gone."""
    if memo.work.done():
        raise RuntimeError("the workers have ended")
    if memo.watching.done():
        raise RuntimeError("the watches have ended")
    watching = watches_of_models()  # there are none before the cluster knows the kind
    if watching < memo.models_watched:
        raise RuntimeError("kopf's watch of the models has ended")
    memo.models_watched = watching
    waiting: int = memo.queue.waiting
    return waiting


def watches_of_models() -> int:
    """How many kopf has, one a namespace or one for all: where one ends, kopf goes on without it (nolar/kopf#1276)."""
    return sum(task.get_name().startswith(f"watcher for {PLURAL}.") for task in asyncio.all_tasks())


def look_at(models: Mapping[Key, Iterable[Packed]], seen: Seen) -> Look:
    """A function that shows a model and its children as the watches have them."""

    def look(key: Key) -> tuple[dict[str, Any], Children] | None:
        packed = next(iter(models.get(key, ())), None)
        if packed is None:
            return None
        model = packed.unpacked()
        uid = model["metadata"]["uid"]
        found: dict[str, dict[str, Any]] = {}
        for kind, body in seen.of(key):
            if owner_of(body) in (None, uid):  # a deleted model of the same name may still have children
                found.setdefault(kind, {})[body["metadata"]["name"]] = body
        return model, Children(found)

    return look


def configure(settings: kopf.OperatorSettings, ours: Settings) -> None:
    """Kopf's settings: no writes of its own, filtered watches, bounded requests."""
    settings.persistence.finalizer = f"{GROUP}/finalizer"  # never set: no handler needs one
    settings.persistence.diffbase_storage = NoDifferences()
    settings.persistence.progress_storage = NoProgress()
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.chunk_size = 100  # objects of a listing that are in memory at once
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.scanning.disabled = bool(ours.namespaces)  # with rights in some namespaces only, nothing else can be seen
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 0.5  # a per-object worker holds memory for so long after its last event
    settings.posting.enabled = False  # our events are written after our status
    # a line an event is the largest cost of all, and a line a probe drowns what matters
    for name in ("kopf.objects", "kopf.activities.probe", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
