"""The simulation of the gate, with few runs: it can tell a test that keeps its level from one that does not."""

import pytest

from bench import gate
from quantroll.domain.gate import Verdict
from quantroll.domain.graded import LEAST_CLUSTERS, LEAST_ITEMS


def test_prints_every_table_and_judges_by_the_limit(capsys, monkeypatch):
    monkeypatch.setattr(gate, "LIMIT", 1.0)
    assert gate.main(["--runs", "20"]) == 0
    said = capsys.readouterr().out
    for title in ("False ships, recovery exactly 0.94", "Difference", "linear test", "Share of PASS"):
        assert title in said
    assert "kept: at most 100 %" in said
    monkeypatch.setattr(gate, "LIMIT", -1.0)
    monkeypatch.setattr(gate, "SIZES", (50,))
    monkeypatch.setattr(gate, "LINEAR", ((250, 50),))
    monkeypatch.setattr(gate, "POWER", gate.POWER[:1])
    assert gate.main(["--runs", "5"]) == 1
    assert "NOT kept" in capsys.readouterr().out


def test_is_the_same_each_time_and_asks_the_product(monkeypatch):
    once = [gate.shipped(0.75, 0.06, 0.985, 250, 200, gate.RELATIVE) for _ in range(2)]
    assert once[0] == once[1] == pytest.approx(0.6, abs=0.15)
    assert gate.shipped_linear(0.75, 1000, 100, 30) == gate.shipped_linear(0.75, 1000, 100, 30)
    real = gate.judge
    monkeypatch.setattr(gate, "judge", lambda *given: real(*given) if given[0].cells.n == 7 else Shipping)
    assert gate.shipped(0.75, 0.06, 0.985, 250, 10, gate.RELATIVE) == 1


class Shipping:
    verdict = Verdict.PASS


def test_the_linear_tests_are_from_their_least_on():
    assert all(items >= LEAST_ITEMS and clusters >= LEAST_CLUSTERS for items, clusters in gate.LINEAR)
    assert min(gate.LINEAR)[0] == LEAST_ITEMS
    assert min(clusters for _, clusters in gate.LINEAR) == LEAST_CLUSTERS


def test_the_sizes_and_baselines_are_those_that_are_promised():
    assert gate.SIZES == (50, 100, 250, 1000, 5000)
    assert {baseline for baseline, _ in gate.RATES} == {0.60, 0.75, 0.942}
    assert (gate.FLOOR, gate.LIMIT) == (0.94, 0.055)
