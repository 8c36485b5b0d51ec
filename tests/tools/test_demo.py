"""What the demo shows at its end."""

from demo import page
from unit.report import documents


def test_the_report_is_told_and_written_as_a_page(tmp_path):
    file = tmp_path / "report.html"
    told = page.report(documents.proven(), file)
    assert "gptq4 serves: the smallest of the proven" in told
    assert "0.9680 [0.9608, 0.9739]" in told
    assert file.read_text().startswith("<!doctype html>")


def test_what_the_drift_check_found():
    entry = {"variant": "gptq4", "revision": "r1", "reason": "FloorBreached"}
    drift = {"verdict": "Breached", "value": 0.863, "samples": 400, "floor": 0.94}
    told = page.drift({"drift": drift, "stable": {"variant": "baseline", "revision": "r0"}, "rejected": [entry]})
    assert "Breached, 0.863 of 400 items right, floor 0.94" in told
    assert "serves: baseline (revision r0)" in told
    assert "gptq4 (revision r1): FloorBreached" in told
