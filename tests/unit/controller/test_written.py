"""What is on its way is not written again; what somebody else changed is."""

import pytest

from quantroll.controller.written import LAG, Written


class Time:
    seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def at():
    return Time()


@pytest.fixture
def written(at):
    return Written(at)


def body(version="7", uid="u"):
    return {"metadata": {"uid": uid, "resourceVersion": version}}


def test_a_write_is_pending_until_the_watch_shows_another_version(written, at):
    assert written.pending(body()) == 0
    written.note(body())
    at.seconds += 0.5
    assert written.pending(body()) == LAG - 0.5
    assert written.pending(body("8")) == 0
    assert written.pending(body(uid="other")) == 0


def test_a_watch_that_shows_nothing_is_not_waited_for_without_end(written, at):
    written.note(body())
    at.seconds += LAG
    assert written.pending(body()) == 0


def test_only_the_same_content_is_held_back(written):
    written.note(body(), "stamp")
    assert written.pending(body(), "stamp") > 0
    assert written.pending(body(), "another") == 0


def test_an_object_without_a_version_is_never_held_back(written):
    nameless = {"metadata": {"uid": "u"}}
    written.note(nameless)
    assert written.pending(nameless) == 0


def test_what_is_over_is_forgotten(written, at):
    written.note(body())
    at.seconds += LAG
    written.note(body(uid="other"))
    assert list(written._over) == ["other"]
