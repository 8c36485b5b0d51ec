"""kopf's part: what is registered, and that all it does is to put keys on the queue."""

import asyncio
import copy
import logging
import socket
import urllib.request
from functools import partial

import kopf
import pytest
import yaml

from quantroll.constants import LABEL_OWNER
from quantroll.controller.packed import Packer
from quantroll.controller.queue import WorkQueue
from quantroll.errors import ConfigurationError
from quantroll.handlers import lifecycle, watches
from quantroll.settings import Settings

SETTINGS = {"images": {"client": "c", "quantize": "q"}, "engines": {"vllm": {"image": "v"}}}


class Noted:
    """A queue that notes."""

    def __init__(self):
        self.did = []
        self.waiting = 3

    def add(self, key, delay=0):
        self.did.append(("add", key))
        self.delay = delay

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


def test_the_model_and_its_children_are_indexed_and_watched(registry):
    for handlers in (registry._indexing.get_all_handlers(), registry._watching.get_all_handlers()):
        watched = {(h.selector.group, h.selector.any_name) for h in handlers}
        assert watched == {
            ("quantroll.io", "quantizedmodels"), ("batch", "jobs"), ("", "pods"), ("apps", "deployments"),
            ("", "services"), ("", "persistentvolumeclaims"), ("gateway.networking.k8s.io", "httproutes"),
        }  # fmt: skip
        ours = [h for h in handlers if h.selector.group != "quantroll.io"]
        assert all(h.labels == {"app.kubernetes.io/managed-by": "quantroll"} for h in ours)
    ids = [h.id for h in registry._indexing.get_all_handlers()]
    assert sorted(ids) == sorted(["models", *(kind.lower() for kind in watches.CHILDREN)])


def noted(handler, **given):
    memo = kopf.Memo(queue=Noted())
    assert asyncio.run(handler(memo=memo, **given)) is None, "kopf would write what a handler returns into the status"
    return memo.queue


def seen(handler, **given):
    return noted(handler, **given).did


@pytest.mark.parametrize(
    ("type_", "did"), [(None, "add"), ("ADDED", "add"), ("MODIFIED", "add"), ("DELETED", "forget")]
)
def test_news_of_a_model(type_, did):
    assert seen(watches.model_seen, type=type_, namespace="team", name="tiny") == [(did, ("team", "tiny"))]


def test_news_of_a_child_are_its_owners():
    assert seen(watches.child_seen, namespace="team", labels={LABEL_OWNER: "tiny"}) == [("add", ("team", "tiny"))]
    assert seen(watches.child_seen, namespace="team", labels={}) == []


def test_a_burst_of_childrens_news_is_one_pass_and_a_users_edit_does_not_wait():
    child = noted(watches.child_seen, namespace="team", labels={LABEL_OWNER: "tiny"})
    model = noted(watches.model_seen, type="MODIFIED", namespace="team", name="tiny")
    assert (child.delay, model.delay) == (watches.BURST, 0)


LABELS = {LABEL_OWNER: "tiny"}
BODY = {"metadata": {"name": "x", "managedFields": [{"manager": "kubectl"}], "labels": LABELS}, "spec": {"a": 1}}


def test_indexes():
    memo, raw = kopf.Memo(packer=Packer()), copy.deepcopy(BODY)
    slim = {"metadata": {"name": "x", "labels": {LABEL_OWNER: "tiny"}}, "spec": {"a": 1}}
    jobs = kopf.Resource("batch", "v1", "jobs")
    models = watches.by_itself(namespace="team", name="x", body=kopf.Body(raw), memo=memo)
    assert raw == {"metadata": slim["metadata"], "spec": {}}, "kopf holds it until everything is listed"
    body = kopf.Body(copy.deepcopy(BODY))
    children = watches.by_owner(namespace="team", labels=LABELS, body=body, resource=jobs, memo=memo)
    assert {key: packed.unpacked() for key, packed in models.items()} == {("team", "x"): slim}
    assert {key: packed.unpacked() for key, packed in children.items()} == {("team", "tiny"): slim}


def test_a_look_finds_a_model_with_its_children():
    indexes = {kind.lower(): {} for kind in watches.CHILDREN}
    pack = partial(Packer().pack, "any")
    indexes["models"] = {("team", "tiny"): [pack({"metadata": {"name": "tiny", "uid": "2"}})]}
    mine, former = ([{"kind": "QuantizedModel", "uid": uid}] for uid in ("2", "1"))
    indexes["job"] = {
        ("team", "tiny"): [
            pack({"metadata": {"name": "a", "ownerReferences": mine}}),
            pack({"metadata": {"name": "b"}}),
            pack({"metadata": {"name": "of a deleted one", "ownerReferences": former}}),
        ],
        ("team", "other"): [pack({"metadata": {"name": "c"}})],
    }
    model, children = lifecycle.look_at(indexes)(("team", "tiny"))
    assert model["metadata"]["name"] == "tiny"
    assert {job["metadata"]["name"] for job in children.of("Job")} == {"a", "b"}
    assert children.get("Job", "c") is None
    assert list(children.of("Pod")) == []
    assert lifecycle.look_at(indexes)(("team", "gone")) is None


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
    selected = {(s.group, s.version, s.any_name) for s in settings.watching.label_selectors}
    assert selected == set(watches.CHILDREN.values())
    assert settings.watching.client_timeout > settings.watching.server_timeout, "else the client always ends a watch"
    assert logging.getLogger("kopf.objects").level == logging.WARNING


def test_a_wrong_configuration_ends_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTROLL_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        asyncio.run(lifecycle.start(settings=kopf.OperatorSettings(), memo=kopf.Memo()))


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read()


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
    indexes = {kind.lower(): {} for kind in watches.CHILDREN} | {"models": {}}
    memo = kopf.Memo()

    async def live():
        await lifecycle.start(settings=kopf.OperatorSettings(), memo=memo, **indexes)
        assert isinstance(memo.queue, WorkQueue)
        assert await lifecycle.health(memo=memo) == 0
        memo.queue.add(("team", "gone"))
        await asyncio.sleep(0.05)
        assert memo.queue.waiting == 0
        page = (await asyncio.to_thread(fetch, port)).decode()
        assert 'controller_runtime_reconcile_total{controller="quantizedmodels",result="success"} 1.0' in page
        memo.work.cancel()
        await asyncio.gather(memo.work, return_exceptions=True)
        with pytest.raises(RuntimeError, match="workers have ended"):
            await lifecycle.health(memo=memo)
        await lifecycle.stop(memo=memo)

    asyncio.run(live())
