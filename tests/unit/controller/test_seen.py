"""What the watches show is kept by owner, and what went unseen is dropped."""

import json

import pytest

from quantroll.controller.packed import Packer
from quantroll.controller.seen import Seen, Shown


@pytest.fixture
def news():
    return []


@pytest.fixture
def seen(news):
    return Seen(Packer(), news.append)


def shown(name, owner="tiny", namespace="team", version="1"):
    text = json.dumps({"metadata": {"name": name, "resourceVersion": version}}).encode()
    return Shown(name=(namespace, name), owner=owner, component="serve", text=text)


def names(seen, owner="tiny", namespace="team"):
    return [(kind, body["metadata"]["name"]) for kind, body in seen.of((namespace, owner))]


def test_children_are_found_by_their_owner(seen, news):
    for kind, child in (("Job", shown("a")), ("Pod", shown("a")), ("Pod", shown("b", owner="other"))):
        seen.put(kind, child)
    assert names(seen) == [("Job", "a"), ("Pod", "a")]
    assert names(seen, "other") == [("Pod", "b")]
    assert names(seen, "nobody") == names(seen, namespace="elsewhere") == []
    assert news == [("team", "tiny"), ("team", "tiny"), ("team", "other")]


def test_a_change_is_news_and_the_same_once_more_is_not(seen, news):
    seen.put("Job", shown("a"))
    seen.put("Job", shown("a"))
    seen.put("Job", shown("a", version="2"))
    assert [body["metadata"]["resourceVersion"] for _, body in seen.of(("team", "tiny"))] == ["2"]
    assert news == [("team", "tiny")] * 2


def test_one_that_changes_hands_is_news_to_both(seen, news):
    seen.put("Job", shown("a"))
    seen.put("Job", shown("a", owner="other"))
    assert (names(seen), names(seen, "other")) == ([], [("Job", "a")])
    assert news == [("team", "tiny"), ("team", "tiny"), ("team", "other")]


def test_one_that_went_is_news_once(seen, news):
    seen.put("Job", shown("a"))
    seen.drop("Job", ("team", "a"))
    seen.drop("Job", ("team", "a"))
    seen.drop("Pod", ("team", "a"))
    assert names(seen) == []
    assert news == [("team", "tiny")] * 2


@pytest.mark.parametrize(
    ("namespace", "left"), [("team", ["kept", "elsewhere"]), (None, ["kept"]), ("third", ["kept", "went", "elsewhere"])]
)
def test_what_a_listing_does_not_have_is_gone_as_far_as_it_looked(seen, news, namespace, left):
    for child in (shown("kept"), shown("went"), shown("elsewhere", namespace="other")):
        seen.put("Job", child)
    seen.put("Pod", shown("of another kind"))
    del news[:]
    seen.keep("Job", namespace, {("team", "kept")})
    jobs = [name for kind, name in [*names(seen), *names(seen, namespace="other")] if kind == "Job"]
    assert jobs == left
    assert ("Pod", "of another kind") in names(seen)
    went = [("team", "tiny"), ("other", "tiny")]
    assert news == [key for key, name in zip(went, ("went", "elsewhere"), strict=True) if name not in left]


def test_the_name_of_a_job_that_went_is_free_a_moment_later(seen):
    seen.put("Job", shown("a"))
    seen.put("Pod", shown("b"))
    seen.drop("Pod", ("team", "b"))
    assert seen.departed.pause(("team", "tiny")) == 0
    seen.drop("Job", ("team", "a"))
    assert 1.5 < seen.departed.pause(("team", "tiny"), "a") <= 2
    assert seen.departed.pause(("team", "tiny"), "b") == seen.departed.pause(("team", "other"), "a") == 0
