"""The simulation of drift checks, with few years: seeded, by the product's decisions, and able to fail."""

import pytest

from bench import drift
from quantroll.domain.drift import Decision

HEALTHY, ABOVE, BELOW, FAR, WORST, SHIFTED, _ = drift.SERVICES


def test_prints_the_table_and_judges_by_the_limit(capsys, monkeypatch):
    assert drift.main(["--part", "0.02"]) == 0
    said = capsys.readouterr().out
    for text in ("healthy", "0.928", "0.900", "0.870", "0.850", "floor 0.8855", "2 weeks", "kept: a healthy service"):
        assert text in said
    monkeypatch.setattr(drift, "decide", lambda *_, **__: Decision("Breached", "", 1))
    assert drift.main(["--part", "0.002"]) == 1
    assert "NOT kept" in capsys.readouterr().out


def test_is_the_same_each_time():
    assert drift.run(BELOW, 20) == drift.run(BELOW, 20)


def test_a_healthy_service_stays_and_those_below_the_floor_go_in_the_published_time():
    healthy = drift.run(HEALTHY, 1000)
    assert healthy.gaps == []
    assert 0.8 <= healthy.confirmations / healthy.years <= 1.1
    assert drift.median(drift.run(BELOW, 50).gaps) == 2
    assert drift.median(drift.run(FAR, 50).gaps) == 1
    assert set(drift.run(WORST, 10).gaps) == {1}
    assert drift.run(ABOVE, 300).taken_back / 300 < 0.05


def test_a_shift_of_the_questions_is_told_far_oftener_than_a_service_is_taken_back_for_it():
    shifted = drift.run(SHIFTED, 100)
    assert shifted.shifts > 10 * len(shifted.gaps)


def test_rows_of_confirmations_and_catastrophes_are_the_products(monkeypatch):
    seen = []

    def decide(found, floor, before, *, catastrophic):
        seen.append((before, catastrophic))
        return Decision("Suspect", "", before + 1)

    monkeypatch.setattr(drift, "decide", decide)
    drift.run(WORST, 1)
    assert seen == [(week, True) for week in range(52)], "weeks below the floor follow one another"
    seen.clear()
    drift.run(FAR, 1)
    assert any(before > 0 for before, _ in seen)
    assert not all(catastrophic for _, catastrophic in seen)


@pytest.mark.parametrize("service", drift.SERVICES, ids=lambda service: service.name)
def test_the_shares_of_a_confirmation_are_the_services(service):
    both, serving, target, neither = drift._shares(service)
    assert both + serving + target + neither == pytest.approx(1)
    assert both + serving == pytest.approx(service.share, abs=1e-6)
    assert both + target == pytest.approx(service.target, abs=1e-6)
