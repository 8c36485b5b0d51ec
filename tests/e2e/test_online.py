"""A candidate that passed the gate and answers worse where it serves: what production asks was not in the eval set."""

import pytest

from demo import data
from e2e.acting import Model, more_requests, phase, scripted

# in the cluster of those that hit all models, one after the other: there is more time left there
pytestmark = [pytest.mark.faults, pytest.mark.timeout(600), pytest.mark.xdist_group("hits all models")]


def test_a_candidate_that_is_worse_only_online_is_taken_back_by_the_probe(playing):
    sums = playing.dir / "tiny" / "sums.jsonl"
    data.production("arithmetic", sums)
    steps = [{"weight": 10, "duration": "20s"}, {"weight": 50, "duration": "20s"}]
    metrics = [{"name": "quality", "minSamples": 100}, {"name": "error-ratio", "max": 0.01, "minSamples": 10}]
    manifest = scripted("online", engine="scripted-worse-at-sums", steps=steps)
    manifest["spec"]["rollout"]["analysis"] = {"interval": "2s", "metrics": metrics}
    manifest["spec"]["rollout"]["deadlines"]["total"] = "10m"
    manifest["spec"]["probe"] = {"source": "pvc://tiny/sums.jsonl", "rolloutItemsPerHour": 36_000}
    model = Model(playing, manifest)
    with model.traffic() as traffic:
        done = model.until(phase("RolledBack", "Steady"))
        more_requests(traffic)
    assert done["phase"] == "RolledBack", done["message"]
    assert done["variants"][0]["verdict"] == "PASS", "the eval set could not tell"
    (rejected,) = done["rejected"]
    assert (rejected["variant"], rejected["reason"]) == ("w8", "AnalysisFailed")
    assert "quality: proven to be below the floor" in rejected["message"]
    assert done["stable"]["variant"] == "baseline"
    assert done["traffic"]["applied"] == [{"revision": done["stable"]["revision"], "weight": 100}]
    assert traffic.failures == []
    assert {"RollingBack", "RolledBack"} <= model.events()
    model.delete()
