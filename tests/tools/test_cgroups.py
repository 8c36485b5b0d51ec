"""How much of a busy processor a cluster's pods get."""

import pytest

from cluster import cgroups


@pytest.mark.parametrize("weight", [1, 4])
def test_pods_have_a_weight_beside_those_of_other_clusters(tmp_path, monkeypatch, weight):
    monkeypatch.setenv("QUANTROLL_CPU_WEIGHT", str(weight))
    first, second = tmp_path / "first", tmp_path / "second"
    for own, file in ((first / "cpu" / "one", "cpu.shares"), (second / "one", "cpu.weight")):
        own.mkdir(parents=True)
        (own / file).touch()
    (second / "cgroup.controllers").touch()
    for root in (first, second):
        monkeypatch.setattr(cgroups, "CGROUPS", root)
        cgroups.make("one")
    assert (first / "cpu" / "one" / "cpu.shares").read_text() == str(1024 * weight)
    assert (second / "one" / "cpu.weight").read_text() == str(100 * weight)
