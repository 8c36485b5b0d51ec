"""kopf's part: what is registered, and that all it does is to put keys on the queue."""

import asyncio
import copy
import gc
import logging
import socket
import urllib.request

import kopf
import pytest
import yaml
from kopf._cogs.aiokits.aiotoggles import Toggle, ToggleSet
from kopf._cogs.structs.references import Resource
from kopf._core.reactor import orchestration

from quantroll.adapters.watching import Watches
from quantroll.constants import GROUP, PLURAL, VERSION
from quantroll.controller.packed import Packer, slim
from quantroll.controller.queue import WorkQueue
from quantroll.controller.seen import Seen, Shown
from quantroll.errors import ConfigurationError
from quantroll.handlers import lifecycle, watches
from quantroll.settings import Settings

SETTINGS = {"images": {"client": "c", "quantize": "q"}, "engines": {"vllm": {"image": "v"}}}


class Noted:
    """A queue that notes."""

    def __init__(self):
        self.did = []
        self.preferred = {}
        self.waiting = 3

    def add(self, key, delay=0):
        self.did.append(("add", key))
        self.delay = delay

    def prefer(self, key, *, preferred):
        self.preferred[key] = preferred

    def forget(self, key):
        self.did.append(("forget", key))


@pytest.fixture
def registry():
    made = kopf.OperatorRegistry()
    lifecycle.register(made)
    watches.register(made)
    return made


def test_nothing_is_registered_that_writes_by_itself(registry):
    """Handlers of changes, daemons and timers would put a finalizer and annotations on every object."""
    assert registry._changing.get_all_handlers() == []
    assert registry._spawning.get_all_handlers() == []
    assert registry._webhooks.get_all_handlers() == []


def test_only_the_model_is_kopfs(registry):
    for handlers in (registry._indexing.get_all_handlers(), registry._watching.get_all_handlers()):
        assert {(h.selector.group, h.selector.any_name) for h in handlers} == {("quantroll.io", "quantizedmodels")}
    assert [h.id for h in registry._indexing.get_all_handlers()] == ["models"]


def noted(handler, **given):
    memo = kopf.Memo(queue=Noted())
    assert asyncio.run(handler(memo=memo, **given)) is None, "kopf would write what a handler returns into the status"
    return memo.queue


def seen(handler, **given):
    return noted(handler, **given).did


THERE = {("team", "tiny"): ["its body"]}


@pytest.mark.parametrize(
    ("type_", "models", "did"),
    [
        (None, THERE, "add"),
        ("ADDED", THERE, "add"),
        ("MODIFIED", THERE, "add"),
        ("DELETED", {}, "forget"),
        ("DELETED", THERE, "add"),  # the former one of that name
    ],
)
def test_news_of_a_model(type_, models, did):
    asked = {"type": type_, "namespace": "team", "name": "tiny", "models": models}
    assert seen(watches.model_seen, **asked) == [(did, ("team", "tiny"))]


def test_a_users_edit_does_not_wait():
    asked = {"type": "MODIFIED", "namespace": "team", "name": "tiny", "models": THERE}
    assert noted(watches.model_seen, **asked).delay == 0


BODY = {"metadata": {"name": "x", "managedFields": [{"manager": "kubectl"}]}, "spec": {"a": 1}}


def test_the_index_of_models():
    memo, raw = kopf.Memo(packer=Packer(), queue=Noted()), copy.deepcopy(BODY)
    models = watches.by_itself(namespace="team", name="x", body=kopf.Body(raw), memo=memo)
    assert raw == {"metadata": {"name": "x"}, "spec": {}}, "kopf holds it until everything is listed"
    found = {key: packed.unpacked() for key, packed in models.items()}
    assert found == {("team", "x"): {"metadata": {"name": "x"}, "spec": {"a": 1}}}


@pytest.mark.parametrize(
    ("status", "annotations", "preferred"),
    [
        ({}, {}, False),
        ({"phase": "Analyzing", "rollout": {"kind": "Rollout"}}, {"quantroll.io/promote": "1-a/1"}, False),
        ({"phase": "RollingBack"}, {}, True),
        ({"phase": "Shifting", "rollout": {"kind": "Rollback"}}, {}, True),
        ({"phase": "Analyzing"}, {"quantroll.io/abort": "1-a/1"}, True),
        ({"commands": [{"verb": "rollback", "value": "1-a/1"}]}, {"quantroll.io/rollback": "1-a/2"}, True),
        ({"commands": [{"verb": "abort", "value": "1-a/1"}]}, {"quantroll.io/abort": "1-a/1"}, False),
        ({"rollout": None, "commands": None}, {"example.com/abort": "x"}, False),
    ],
)
def test_what_goes_back_comes_first(status, annotations, preferred):
    body = {"metadata": {"name": "x", "annotations": annotations}, "spec": {"a": 1}, "status": status}
    memo = kopf.Memo(packer=Packer(), queue=Noted())
    watches.by_itself(namespace="team", name="x", body=kopf.Body(body), memo=memo)
    assert memo.queue.preferred == {("team", "x"): preferred}


def test_a_look_finds_a_model_with_its_children():
    packer = Packer()
    model = packer.pack("models", "", slim({"metadata": {"name": "tiny", "uid": "2"}}))
    seen = Seen(packer, lambda _: None)
    mine, former = ([{"kind": "QuantizedModel", "uid": uid}] for uid in ("2", "1"))
    for name, owner, refs in (("a", "tiny", mine), ("b", "tiny", []), ("former", "tiny", former), ("c", "other", mine)):
        text = slim({"metadata": {"name": name, "ownerReferences": refs}})
        seen.put("Job", Shown(name=("team", name), owner=owner, component="", text=text))
    look = lifecycle.look_at({("team", "tiny"): [model]}, seen)
    found, children = look(("team", "tiny"))
    assert found["metadata"]["name"] == "tiny"
    assert {job["metadata"]["name"] for job in children.of("Job")} == {"a", "b"}, "not those of a deleted model"
    assert children.get("Job", "c") is None
    assert list(children.of("Pod")) == []
    assert look(("team", "gone")) is None


def test_nothing_is_kept_of_an_object_for_handlers_that_there_are_none_of():
    settings = kopf.OperatorSettings()
    lifecycle.configure(settings, Settings.model_validate(SETTINGS))
    differences, progress = settings.persistence.diffbase_storage, settings.persistence.progress_storage
    body, patch = kopf.Body(BODY), kopf.Patch()
    assert differences.build(body=body, extra_fields=[]) == {}
    differences.store(body=body, patch=patch, essence={})
    progress.store(key="k", record={}, body=body, patch=patch)
    progress.purge(key="k", body=body, patch=patch)
    progress.touch(body=body, patch=patch, value="v")
    assert differences.fetch(body=body) is progress.fetch(key="k", body=body) is None
    assert progress.clear(essence={"a": 1}) == {"a": 1}
    assert not patch


@pytest.mark.parametrize(("namespaces", "scanning_disabled"), [([], False), (["team"], True)])
def test_kopfs_settings(namespaces, scanning_disabled):
    settings = kopf.OperatorSettings()
    lifecycle.configure(settings, Settings.model_validate({**SETTINGS, "namespaces": namespaces}))
    assert settings.posting.enabled is False
    assert settings.watching.chunk_size
    assert settings.persistence.finalizer == "quantroll.io/finalizer"
    assert settings.scanning.disabled is scanning_disabled
    assert settings.watching.client_timeout > settings.watching.server_timeout, "else the client always ends a watch"
    assert logging.getLogger("kopf.objects").level == logging.WARNING


def test_a_wrong_configuration_ends_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTROLL_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        asyncio.run(lifecycle.start(settings=kopf.OperatorSettings(), memo=kopf.Memo()))


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read()


async def a_watch_of_kopfs_that_ends(memo, monkeypatch):
    """Kopf names its task; it says nothing when one is cancelled, and starts none again."""

    async def watcher(**_):
        await asyncio.Event().wait()

    monkeypatch.setattr(orchestration.queueing, "watcher", watcher)
    ensemble = orchestration.Ensemble(ToggleSet(all), ToggleSet(any), Toggle())
    model = Resource(GROUP, VERSION, PLURAL, namespaced=True)
    await orchestration.spawn_missing_watchers(
        processor=watcher, settings=kopf.OperatorSettings(), indexed_resources=[], ensemble=ensemble,
        watched_resources=[model], watched_namespaces=["team-a", "team-b"],
    )  # fmt: skip
    assert await lifecycle.health(memo=memo) == 0
    one, other = ensemble.watcher_tasks.values()
    for task in (one, other):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="watch of the models has ended"):
                await lifecycle.health(memo=memo)
    memo.models_watched = 0


def test_start_health_and_end(tmp_path, monkeypatch):
    config, kubeconfig = tmp_path / "config.yaml", tmp_path / "kubeconfig"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config.write_text(yaml.safe_dump({**SETTINGS, "metrics": {"port": port}}))
    nowhere = {
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {"token": "t"}}],
    }  # fmt: skip
    kubeconfig.write_text(yaml.safe_dump(nowhere))
    monkeypatch.setenv("QUANTROLL_CONFIG", str(config))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr("quantroll.adapters.cluster.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    memo = kopf.Memo()
    listed = asyncio.Event()

    class Unlisted(Watches):
        """Those of an API server that does not answer."""

        async def listed(self):
            await listed.wait()

    monkeypatch.setattr(lifecycle, "Watches", Unlisted)

    async def live():
        await lifecycle.start(settings=kopf.OperatorSettings(), memo=memo, models={})
        assert isinstance(memo.queue, WorkQueue)
        memo.queue.add(("team", "gone"))
        await asyncio.sleep(0.05)
        assert await lifecycle.health(memo=memo) == 1, "nothing is decided before everything has been seen"
        assert gc.get_freeze_count() == 0
        listed.set()
        await asyncio.sleep(0.05)
        assert await lifecycle.health(memo=memo) == 0
        page = (await asyncio.to_thread(fetch, port)).decode()
        assert 'controller_runtime_reconcile_total{controller="quantizedmodels",result="success"} 1.0' in page
        assert gc.get_freeze_count() > 0, "what stays is looked at by no collection"
        gc.unfreeze()
        await a_watch_of_kopfs_that_ends(memo, monkeypatch)
        for name, what in (("watching", "watches"), ("work", "workers")):
            task = getattr(memo, name)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with pytest.raises(RuntimeError, match=f"the {what} have ended"):
                await lifecycle.health(memo=memo)
        await lifecycle.stop(memo=memo)

    asyncio.run(live())


def test_a_burst_of_childrens_news_is_one_pass():
    queue = Noted()
    lifecycle.news(kopf.Memo(queue=queue), ("team", "tiny"))
    assert (queue.did, queue.delay) == ([("add", ("team", "tiny"))], lifecycle.BURST)
