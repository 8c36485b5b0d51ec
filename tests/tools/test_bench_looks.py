"""The simulation of looks at quality: what it finds, with few runs and a fixed seed."""

import pytest

from bench import looks


@pytest.mark.parametrize(("keeps", "differs", "promoted"), [(1.0, 0.02, True), (0.97, 0.04, True), (0.85, 0.15, False)])
def test_good_candidates_pass_and_bad_ones_do_not(keeps, differs, promoted):
    found = looks.ends((keeps, differs), 20)
    assert {end.outcome for end in found} == {"promoted" if promoted else "taken back"}
    if promoted:
        assert min(end.minutes for end in found) >= 75, "the durations of all steps"
    else:
        assert max(end.step for end in found) == 0, "users of the first step alone have met it"


def test_a_candidate_at_the_floor_is_seldom_taken_back():
    found = looks.ends((looks.FLOOR, 0.058), 30)
    assert sum(end.outcome == "taken back" for end in found) <= 1


def test_the_table(capsys):
    assert looks.main(["--runs", "2"]) == 0
    said = capsys.readouterr().out
    assert "22 planned looks" in said
    assert len(said.splitlines()) >= 4 + len(looks.TRUTHS)


def test_the_draws_are_seeded():
    assert looks.ends((0.9, 0.1), 3) == looks.ends((0.9, 0.1), 3)
