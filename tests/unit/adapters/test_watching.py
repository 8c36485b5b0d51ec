"""Watches whose connections fail in every way, against a scripted HTTP server."""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from quantroll.adapters import watching
from quantroll.adapters.watching import CHILDREN, Watch, Watches
from quantroll.controller.packed import Packer
from quantroll.controller.seen import Seen

PATIENCE = 5  # seconds until a test is given up


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """None is waited for; those that would have been are noted."""
    noted = []
    monkeypatch.setattr(watching, "pause", lambda failures: noted.append(failures) or 0)
    monkeypatch.setattr(watching, "ABSENT", 0)
    return noted


def job(name, version="1", owner="tiny", namespace="team"):
    meta = {"name": name, "namespace": namespace, "resourceVersion": version, "labels": {"quantroll.io/name": owner}}
    return {"metadata": meta}


# answers of the server


def listing(*jobs, version="10", more=""):
    return {"metadata": {"resourceVersion": version, "continue": more}, "items": list(jobs)}


def line(kind, body):
    return json.dumps({"type": kind, "object": body}) + "\n"


def bookmark(version):
    return line("BOOKMARK", {"metadata": {"resourceVersion": version}})


GONE = line("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
BROKEN = line("ERROR", {"kind": "Status", "code": 500, "message": "etcd is away"})


class Cut(str):
    """A stream whose connection breaks in the middle of it."""

    __slots__ = ()


class Silent(str):
    """A stream that says nothing more, and does not end."""

    __slots__ = ()


class Api:
    """Answers from a script, and notes what was asked; past its end it says nothing."""

    def __init__(self, script, *, silent_watches=False):
        self.silent_watches = silent_watches
        self.script, self.asked, self.paths, self.over = list(script), [], [], asyncio.Event()

    async def answer(self, request):
        if not self.script:
            self.over.set()
        if not self.script or (self.silent_watches and "watch" in request.query):
            await asyncio.Event().wait()
        self.asked.append(dict(request.query))
        self.paths.append(request.path)
        found = self.script.pop(0)
        if isinstance(found, int):
            return web.json_response({"message": "no"}, status=found)
        if isinstance(found, dict):
            return web.json_response(found)
        return await self._stream(request, found)

    async def _stream(self, request, found):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(found.encode())
        if isinstance(found, Cut):
            request.transport.close()
        if isinstance(found, Silent):
            await asyncio.Event().wait()
        return response


@asynccontextmanager
async def serving(script, **how):
    api = Api(script, **how)
    app = web.Application()
    app.router.add_get("/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    client = ApiClient(configuration=Configuration(host=f"http://{host}:{port}"))
    try:
        yield api, client
    finally:
        await client.close()
        await runner.cleanup()


def play(*script, kind="Job", namespace=None):
    """Watch until the script is over: the server with what it was asked, what is seen, and the watch."""
    seen = Seen(Packer(), lambda _: None)

    async def main():
        async with serving(script) as (api, client):
            watch = Watch(client, kind, namespace, seen, asyncio.Semaphore(1))
            task = asyncio.create_task(watch.run())
            async with asyncio.timeout(PATIENCE):
                await api.over.wait()
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return api, watch

    api, watch = asyncio.run(main())
    return api, seen, watch


def there(seen, owner="tiny"):
    return {body["metadata"]["name"]: body["metadata"]["resourceVersion"] for _, body in seen.of(("team", owner))}


def versions(api):
    """What was asked: the version that a watch begins at, or None for a listing."""
    return [query.get("resourceVersion") for query in api.asked]


def test_first_a_listing_then_a_watch_from_there():
    api, seen, watch = play(listing(job("a"), version="10"), line("ADDED", job("b", "11")))
    assert there(seen) == {"a": "1", "b": "11"}
    assert watch.listed.is_set()
    assert api.paths == ["/apis/batch/v1/jobs"] * 2
    ours = {"labelSelector": "app.kubernetes.io/managed-by=quantroll"}
    assert api.asked[0] == {**ours, "limit": "100"}
    lasts = int(api.asked[1].pop("timeoutSeconds"))
    assert 250 <= lasts <= 350
    assert api.asked[1] == {**ours, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "10"}


def test_a_listing_of_several_pages():
    api, seen, _ = play(listing(job("a"), more="p2"), listing(job("b"), more="p3"), listing(job("c")))
    assert there(seen).keys() == {"a", "b", "c"}
    assert [query.get("continue") for query in api.asked] == [None, "p2", "p3"]


@pytest.mark.parametrize(
    ("kind", "namespace", "path"),
    [
        ("Pod", None, "/api/v1/pods"),
        ("Pod", "team", "/api/v1/namespaces/team/pods"),
        ("HTTPRoute", "team", "/apis/gateway.networking.k8s.io/v1/namespaces/team/httproutes"),
    ],
)
def test_where_it_looks(kind, namespace, path):
    api, *_ = play(listing(), kind=kind, namespace=namespace)
    assert api.paths == [path]


def test_what_changes_and_what_goes():
    news = line("MODIFIED", job("a", "11")) + line("ADDED", job("b", "12")) + line("DELETED", job("c", "13"))
    _, seen, _ = play(listing(job("a"), job("c")), news)
    assert there(seen) == {"a": "11", "b": "12"}


@pytest.mark.parametrize(
    "first",
    [
        line("ADDED", job("b", "11")),
        bookmark("11"),
        Cut(line("ADDED", job("b", "11")) + '{"type": "ADD'),
        line("ADDED", job("b", "11")) + "<html>\n",
        line("ADDED", job("b", "11")) + BROKEN,
    ],
    ids=["ended", "bookmark", "cut", "garbage", "error"],
)
def test_a_watch_that_ends_goes_on_from_what_it_has_seen(first):
    api, *_ = play(listing(), first, bookmark("12"))
    assert versions(api) == [None, "10", "11"]


def test_a_connection_on_which_nobody_is_any_more(monkeypatch):
    monkeypatch.setattr(watching, "SILENCE", 1)  # longer than a busy machine takes for the line before it
    api, seen, _ = play(listing(), Silent(line("ADDED", job("b", "11"))), line("ADDED", job("c", "12")))
    assert versions(api) == [None, "10", "11"]
    assert there(seen).keys() == {"b", "c"}


@pytest.mark.parametrize("gone", [410, GONE], ids=["as an answer", "in the stream"])
def test_a_version_that_is_too_old_means_a_new_listing_and_what_went_meanwhile_is_dropped(gone):
    api, seen, _ = play(listing(job("a"), job("b")), gone, listing(job("b", "20"), version="21"), bookmark("22"))
    assert versions(api) == [None, "10", None, "21"]
    assert there(seen) == {"b": "20"}


def test_a_listing_that_expires_half_way_begins_anew_and_drops_nothing_before_it_is_whole():
    api, seen, watch = play(listing(job("a"), more="p2"), 410, listing(job("b"), more="p2"))
    assert [query.get("continue") for query in api.asked] == [None, "p2", None]
    assert there(seen).keys() == {"a", "b"}
    assert not watch.listed.is_set()


def test_a_kind_that_comes_later_and_goes_again():
    _, seen, watch = play(404, 404)
    assert (there(seen), watch.listed.is_set()) == ({}, True)
    _, seen, _ = play(404, listing(job("a")))
    assert there(seen) == {"a": "1"}
    api, seen, _ = play(listing(job("a")), 404, 404)
    assert (there(seen), versions(api)) == ({}, [None, "10", None])


@pytest.mark.parametrize("answer", [403, 429, 500, 503, "<html>"])
def test_what_cannot_be_listed_is_tried_again_after_ever_longer_pauses(answer, pauses):
    _, seen, watch = play(answer, answer, answer, listing(job("a")))
    assert pauses == [1, 2, 3]
    assert (there(seen), watch.listed.is_set()) == ({"a": "1"}, True)


def test_after_a_word_it_is_tried_again_at_once(pauses):
    play(listing(), 500, bookmark("11"), 500)
    assert pauses == [1, 0, 1]


def test_a_watch_that_fails_again_and_again_lists_again():
    """A store that was restored from a backup knows the version as one of the future, and says 504."""
    api, seen, _ = play(listing(job("a")), 504, 504, 504, listing(job("b"), version="3"), bookmark("4"))
    assert versions(api) == [None, "10", "10", "10", None, "3"]
    assert there(seen) == {"b": "1"}


def test_a_watch_that_ends_without_a_word_is_not_begun_in_a_hurry(pauses):
    play(listing(), "", "", bookmark("11"))
    assert pauses == [1, 2, 0]


def test_an_api_server_that_is_not_there_yet(monkeypatch):
    async def main():
        client = ApiClient(configuration=Configuration(host="http://127.0.0.1:9"))
        watch = Watch(client, "Job", None, Seen(Packer(), lambda _: None), asyncio.Semaphore(1))
        tried = asyncio.Event()
        monkeypatch.setattr(watching, "pause", lambda failures: (tried.set() if failures == 2 else None) or 0)
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(PATIENCE):
            await tried.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()
        return watch.listed.is_set()

    assert asyncio.run(main()) is False


def test_pauses_grow_and_end_to_grow(monkeypatch):
    monkeypatch.undo()
    assert watching.pause(0) == 0
    for failures, seconds in ((1, 0.25), (2, 0.5), (5, 4), (9, 15), (10_000, 15)):
        assert seconds * 0.79 < watching.pause(failures) < seconds * 1.21


@pytest.mark.parametrize(
    ("script", "heard"),
    [
        ([listing(job("a"))], 1),
        ([listing(), bookmark("11"), bookmark("12")], 3),
        ([listing(), line("MODIFIED", job("a", "11")), 500, 500], 2),
        ([403, 503, "<html>"], 0),
        ([listing(), ""], 1),
    ],
)
def test_it_is_known_when_the_api_server_last_told_of_a_kind(script, heard, monkeypatch):
    words = itertools.count(1000)
    monkeypatch.setattr(watching, "time", SimpleNamespace(time=lambda: float(next(words))))
    _, _, watch = play(*script)
    assert watch.heard_at == 1000 + heard, "since its start, and with each word"


def test_a_kind_that_is_absent_is_not_waited_for():
    _, _, watch = play(404)
    assert watch.heard_at is None
    _, _, watch = play(404, listing(job("a")))
    assert watch.heard_at is not None


def test_of_several_namespaces_the_most_silent_one_counts(monkeypatch):
    async def main():
        async def access():
            return Configuration(host="http://127.0.0.1:9")

        monkeypatch.setattr(watching, "access", access)
        async with Watches(Seen(Packer(), lambda _: None), ["team", "other"]) as watches:
            for number, watch in enumerate(watches._watches):
                watch.heard_at = None if watch.kind == "HTTPRoute" else 100.0 + number
            return watches.heard_at()

    kinds = [kind for kind in CHILDREN if kind != "HTTPRoute"]
    assert asyncio.run(main()) == {kind: 100.0 + number for number, kind in enumerate(kinds)}


@pytest.mark.parametrize("namespaces", [[], ["team"], ["team", "other"]])
def test_all_kinds_in_all_namespaces(namespaces, monkeypatch):
    async def main():
        lists = [listing()] * (len(CHILDREN) * max(1, len(namespaces)))
        async with serving(lists, silent_watches=True) as (api, client):

            async def access():
                return client.configuration

            monkeypatch.setattr(watching, "access", access)
            async with Watches(Seen(Packer(), lambda _: None), namespaces) as watches:
                task = asyncio.create_task(watches.run())
                async with asyncio.timeout(PATIENCE):
                    await watches.listed()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            return api

    api = asyncio.run(main())
    assert len(set(api.paths)) == len(CHILDREN) * max(1, len(namespaces))
