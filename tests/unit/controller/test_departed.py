"""For how long the name of a Job that went is left alone."""

from quantroll.controller.departed import PAUSE, Departed

TINY, OTHER = ("team", "tiny"), ("team", "other")


class Time:
    seconds = 100.0

    def __call__(self):
        return self.seconds


def test_a_name_is_free_after_the_pause_and_then_forgotten():
    at = Time()
    departed = Departed(at)
    departed.note(TINY, "a")
    at.seconds += 0.5
    departed.note(TINY, "b")
    assert departed.pause(TINY, "a") == PAUSE - 0.5
    assert departed.pause(TINY) == departed.pause(TINY, "b") == PAUSE
    assert departed.pause(TINY, "c") == departed.pause(OTHER) == departed.pause(OTHER, "a") == 0
    at.seconds += PAUSE
    assert departed.pause(TINY) == 0
    departed.note(OTHER, "d")
    assert list(departed._until) == [OTHER]
