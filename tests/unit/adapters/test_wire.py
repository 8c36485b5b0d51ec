"""Lists and watch lines, read as far as somebody needs them."""

import json

import pytest

from quantroll.adapters import wire
from quantroll.controller.seen import Shown
from quantroll.errors import Unreachable

LABELS = {"quantroll.io/name": "tiny", "quantroll.io/component": "serve"}
OBJECT = {
    "kind": "Pod",
    "metadata": {
        "name": "a", "namespace": "team", "resourceVersion": "7", "labels": LABELS,
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}], "annotations": {"\u00fc": '"}{'},
    },
    "spec": {"n": 1.5, "deep": [{"a": [None, True]}]},
}  # fmt: skip


def text(body):
    return json.dumps(body).encode()


def line(kind, body):
    return text({"type": kind, "object": body}) + b"\n"


def slim(body):
    return {**body, "metadata": {k: v for k, v in body["metadata"].items() if k != "managedFields"}}


def test_a_page_with_more_to_come():
    page = wire.page(
        text({"kind": "PodList", "metadata": {"resourceVersion": "9", "continue": "x"}, "items": [OBJECT]})
    )
    (shown,) = page.shown
    assert (page.version, page.more) == ("9", "x")
    assert (shown.name, shown.owner, shown.component) == (("team", "a"), "tiny", "serve")
    assert json.loads(shown.text) == slim(OBJECT)


@pytest.mark.parametrize("items", [{}, {"items": None}, {"items": []}])
def test_an_empty_page(items):
    page = wire.page(text({"metadata": {"resourceVersion": "9"}, **items}))
    assert (page.shown, page.more) == ([], "")


def test_an_object_without_labels_belongs_to_nobody():
    (shown,) = wire.page(
        text({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "a", "namespace": "team"}}]})
    ).shown
    assert (shown.owner, shown.component) == ("", "")


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED"])
def test_what_comes_or_changes(kind):
    news = wire.news(line(kind, OBJECT))
    assert isinstance(news.shown, Shown)
    assert (news.version, news.gone, json.loads(news.shown.text)) == ("7", None, slim(OBJECT))


def test_what_goes():
    news = wire.news(line("DELETED", OBJECT))
    assert (news.version, news.shown, news.gone) == ("7", None, ("team", "a"))


@pytest.mark.parametrize("kind", ["BOOKMARK", "SOMETHING NEW"])
def test_a_line_that_tells_a_version_and_nothing_else(kind):
    news = wire.news(line(kind, {"kind": "Pod", "metadata": {"resourceVersion": "8", "creationTimestamp": None}}))
    assert (news.version, news.shown, news.gone) == ("8", None, None)


@pytest.mark.parametrize(("code", "raised"), [(410, wire.Expired), (500, Unreachable), (None, Unreachable)])
def test_a_line_that_tells_of_the_end(code, raised):
    with pytest.raises(raised, match="too old") as caught:
        wire.news(line("ERROR", {"kind": "Status", "message": "too old", **({"code": code} if code else {})}))
    assert type(caught.value) is raised


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"<html>", b"[]", b'{"type": "ADDED"}', b'{"type": "ADDED", "object": {}}', b"\xff", line("ADDED", 3)],
)
def test_garbage_is_an_interruption(data):
    with pytest.raises(Unreachable, match="not readable"):
        wire.news(data)
    with pytest.raises(Unreachable, match="not readable"):
        wire.page(data)


@pytest.mark.parametrize(
    "meta", [{"name": "a", "resourceVersion": "1"}, {"name": 3, "namespace": "t", "resourceVersion": "1"}]
)
def test_an_object_without_a_name_is_an_interruption(meta):
    with pytest.raises(Unreachable, match="not readable"):
        wire.news(line("ADDED", {"metadata": meta}))
    with pytest.raises(Unreachable, match="not readable"):
        wire.page(text({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": meta}, {}]}))
