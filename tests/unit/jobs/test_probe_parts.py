"""Pace, order, source and series of the prober, each for itself."""

import itertools
import os
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quantroll.api.jobs import Arm, DataFile, ProbeInput
from quantroll_jobs import split
from quantroll_jobs.datafiles import Item, ItemForm
from quantroll_jobs.digests import sha256_file
from quantroll_jobs.evaluate.answers import Outcome
from quantroll_jobs.probe import exporter as exporter_module
from quantroll_jobs.probe import pace as pace_module
from quantroll_jobs.probe import source as source_module
from quantroll_jobs.probe.exporter import Exporter
from quantroll_jobs.probe.pace import JITTER, Pace, rotation
from quantroll_jobs.probe.source import Source
from quantroll_jobs.split import Part, place, read_part
from unit.jobs.handmade import item, write_lines

ARMS = [Arm(revision="aaaaaaaaaa", endpoint="http://a"), Arm(revision="bbbbbbbbbb", endpoint="http://b")]
MODEL = {"namespace": "team-a", "name": "triage"}
RIGHT, WRONG, ERROR = (Outcome.RIGHT, 200), (Outcome.WRONG, 200), (Outcome.ERROR, None)


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.now + 1e9


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    return clock


def test_questions_are_evenly_spaced(clock):
    pace, due = Pace(60, "a/b"), []
    for _ in range(500):
        seconds = pace.seconds()
        assert seconds > 0
        clock.now += seconds
        due.append(clock.now)
    gaps = [later - first for first, later in itertools.pairwise(due)]
    assert min(gaps) >= 60 * (1 - JITTER) - 1e-3
    assert max(gaps) <= 60 * (1 + JITTER) + 1e-3
    assert max(gaps) - min(gaps) > 10  # there is jitter
    assert due[-1] - due[0] == pytest.approx(499 * 60, abs=60 * JITTER)


def test_what_was_missed_is_not_made_up_for(clock):
    pace = Pace(3600, "a/b")
    clock.now += pace.seconds() + 10.5
    clock.now += pace.seconds()
    assert 1 - JITTER <= pace.seconds() + 1e-3 <= 1 + JITTER


def test_a_new_process_goes_on_about_where_the_last_one_ended(clock):
    first = Pace(60, "a/b").position()
    clock.now += 60 * 10
    assert Pace(60, "a/b").position() == first + 10


def test_probers_ask_at_different_times(clock):
    waits = [Pace(60, f"a/{n}").seconds() for n in range(40)]
    assert max(waits) - min(waits) > 30


def test_a_clock_that_is_set_changes_nothing(clock, monkeypatch):
    pace = Pace(60, "a/b")
    clock.now += pace.seconds()
    monkeypatch.setattr(Clock, "time", lambda self: 0.0)
    assert 60 * (1 - JITTER) <= pace.seconds() + 1e-3 <= 60 * (1 + JITTER)


def test_a_rotation_has_every_item_once_in_the_same_order_for_one_name():
    items = [Item(str(n), "p", (), "e", n) for n in range(100)]
    order = rotation(items, "a/b")
    assert order == rotation(items, "a/b")
    assert order != items
    assert order != rotation(items, "a/c")
    assert sorted(found.line for found in order) == list(range(100))


@pytest.fixture
def path(tmp_path):
    return write_lines(tmp_path / "source.jsonl", *[item(n) for n in range(60)])


def _ids(source):
    return {found.id for found in source.items}


def _replace(path, *lines):
    """As people and tools replace files: another one gets the name."""
    write_lines(path.with_suffix(".new"), *lines).rename(path)


def test_only_the_probes_part_is_read(path):
    source = Source(DataFile(path=str(path)), ItemForm())
    assert source.look()
    assert source.ok
    assert _ids(source) == {f"i{n}" for n in range(60) if place(f"i{n}")[0] is Part.PROBE}
    assert not source.look()


def test_a_large_file_is_cut_to_the_lowest_ranks(path, monkeypatch):
    monkeypatch.setattr(source_module, "ITEM_LIMIT", 5)
    source = Source(DataFile(path=str(path)), ItemForm())
    source.look()
    assert source.items == read_part(path, ItemForm(), Part.PROBE, 5)


@pytest.mark.parametrize("renamed", [True, False])
def test_a_changed_file_is_read_again(path, renamed):
    source = Source(DataFile(path=str(path)), ItemForm())
    source.look()
    lines = [item(n) for n in range(100, 160)]
    if renamed:
        _replace(path, *lines)
    else:
        write_lines(path, *lines)
    assert source.look()
    assert _ids(source) == {f"i{n}" for n in range(100, 160) if place(f"i{n}")[0] is Part.PROBE}


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([item(1), '{"id": "i2", "prom'], "cannot be used: line 2: not JSON"),
        ([], "no items for the probe"),
        ([""], "no items for the probe"),
        ([item(1, expected=None)], "cannot be used: line 1: expected"),
        (["<html>"], "cannot be used: line 1: not JSON"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_bad_replacement_keeps_the_items_from_before(path, capsys, lines, text):
    source = Source(DataFile(path=str(path)), ItemForm())
    source.look()
    before = _ids(source)
    if lines is None:
        path.unlink()
    else:
        write_lines(path, *lines)
    for _ in range(3):
        assert not source.look()
        assert not source.ok
        assert _ids(source) == before
    said = capsys.readouterr().out
    assert said.count(text) == 1
    assert f"asking the {len(before)} items from before" in said
    write_lines(path, *[item(n) for n in range(200, 220)])
    assert source.look()
    assert source.ok
    assert _ids(source).isdisjoint(before)


def test_a_file_that_changes_while_it_is_read_is_read_again(path, monkeypatch, capsys):
    source = Source(DataFile(path=str(path)), ItemForm())
    real, calls = split.read_part, []

    def read_part(*args):
        if not calls:
            write_lines(path, *[item(n) for n in range(61)], "{")
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(split, "read_part", read_part)
    assert not source.look()
    assert "is being written to; waiting for it" in capsys.readouterr().out
    write_lines(path, *[item(n) for n in range(62)])
    assert source.look()


def test_a_missing_file_is_waited_for(tmp_path, capsys):
    path = tmp_path / "late.jsonl"
    source = Source(DataFile(path=str(path)), ItemForm())
    assert not source.look()
    assert "waiting for it" in capsys.readouterr().out
    write_lines(path, *[item(n) for n in range(10)])
    assert source.look()


def test_a_file_with_a_digest_is_the_only_one_that_is_used(path, capsys):
    source = Source(DataFile(path=str(path), sha256=sha256_file(path)), ItemForm())
    assert source.look()
    before, lines = _ids(source), path.read_text()
    _replace(path, item(1), item(2), item(3))
    assert not source.look()
    assert (_ids(source), source.ok) == (before, False)
    assert "it has sha256" in capsys.readouterr().out
    path.write_text(lines)
    source.look()
    assert (_ids(source), source.ok) == (before, True)


def test_a_file_that_was_touched_has_the_same_items(path):
    source = Source(DataFile(path=str(path)), ItemForm())
    source.look()
    before = source.items
    os.utime(path, (1, 1))
    source.look()
    assert source.items == before


def exporter_of(targets=2, **changes):
    job = ProbeInput(
        **MODEL,
        source=DataFile(path="/f"),
        items_per_hour=60,
        scorer="ExactMatch",
        temperature=0,
        max_tokens=4,
        targets=ARMS[:targets],
    )
    return Exporter(job.model_copy(update=changes))


def samples(exporter):
    """{(name, labels without the model's): value}."""
    found = {}
    for family in text_string_to_metric_families(exporter.text().decode()):
        for sample in family.samples:
            assert sample.labels.items() >= MODEL.items()
            rest = frozenset(sample.labels.items() - MODEL.items())
            assert (sample.name, rest) not in found
            found[sample.name, rest] = sample.value
    return found


def value(exporter, name, **labels):
    return samples(exporter)[name, frozenset(labels.items())]


def pairs(exporter, cell, part=""):
    return value(
        exporter,
        "quantroll_probe_pairs_total",
        revision="bbbbbbbbbb",
        reference="aaaaaaaaaa",
        slice=part,
        cell=cell,
    )


def items_of(exporter, revision, outcome, part=""):
    labels = {"revision": revision, "slice": part, "source": "probe", "outcome": outcome}
    return value(exporter, "quantroll_eval_items_total", **labels)


def count(exporter, part, ends):
    for arm, (outcome, status) in zip(ARMS, ends, strict=False):
        exporter.count(part, arm.revision, outcome, status)
    exporter.pair(part, [outcome for outcome, _ in ends])


def test_every_series_is_there_before_it_counts():
    exporter = exporter_of()
    exporter.declare(["hard", "easy", "easy"])
    before = samples(exporter)
    names = [name for name, _ in before]
    assert names.count("quantroll_eval_items_total") == 2 * 3 * 3
    assert names.count("quantroll_probe_pairs_total") == 3 * 4
    assert names.count("quantroll_probe_requests_total") == 2 * 4
    assert names.count("quantroll_probe_last_answer_timestamp_seconds") == 2
    assert {found for (name, _), found in before.items() if name != "quantroll_probe_interval_seconds"} == {0}
    assert value(exporter, "quantroll_probe_interval_seconds") == 60
    for ends in ([RIGHT, RIGHT], [RIGHT, WRONG], [WRONG, RIGHT], [WRONG, WRONG], [ERROR, (Outcome.ERROR, 503)]):
        for part in ("hard", "easy", ""):
            count(exporter, part, ends)
    assert samples(exporter).keys() == before.keys()


def test_one_target_has_no_pairs():
    exporter = exporter_of(targets=1)
    count(exporter, "", [RIGHT])
    assert items_of(exporter, "aaaaaaaaaa", "pass") == 1
    assert not [name for name, _ in samples(exporter) if "pairs" in name]


@pytest.mark.parametrize(
    ("ends", "cell"),
    [([RIGHT, RIGHT], "both"), ([RIGHT, WRONG], "harm"), ([WRONG, RIGHT], "gain"), ([WRONG, WRONG], "neither")],
)
def test_the_cells_of_a_pair(ends, cell):
    exporter = exporter_of()
    exporter.declare(["s"])
    count(exporter, "s", ends)
    assert [pairs(exporter, name, "s") for name in ("both", "harm", "gain", "neither") if name != cell] == [0, 0, 0]
    assert pairs(exporter, cell, "s") == 1


@pytest.mark.parametrize("ends", [[RIGHT, ERROR], [ERROR, RIGHT], [ERROR, ERROR]])
def test_an_error_is_in_no_pair(ends):
    exporter = exporter_of()
    count(exporter, "", ends)
    assert [pairs(exporter, cell) for cell in ("both", "harm", "gain", "neither")] == [0, 0, 0, 0]
    for arm, end in zip(ARMS, ends, strict=True):
        assert items_of(exporter, arm.revision, "error") == (end is ERROR)
        assert items_of(exporter, arm.revision, "pass") == (end is RIGHT)


@pytest.mark.parametrize(
    ("status", "label"), [(200, "2xx"), (404, "4xx"), (429, "4xx"), (503, "5xx"), (None, "none"), (302, "none")]
)
def test_requests_by_status(status, label):
    exporter = exporter_of(targets=1)
    count(exporter, "", [(Outcome.ERROR, status)])
    assert value(exporter, "quantroll_probe_requests_total", revision="aaaaaaaaaa", status=label) == 1


def test_the_last_answer_is_no_error_and_the_time_is_now():
    exporter = exporter_of()
    count(exporter, "", [WRONG, ERROR])
    name = "quantroll_probe_last_answer_timestamp_seconds"
    assert value(exporter, name, revision="aaaaaaaaaa") == pytest.approx(time.time(), abs=5)
    assert value(exporter, name, revision="bbbbbbbbbb") == 0


def test_slices_are_bounded_however_often_the_file_changes():
    exporter = exporter_of(targets=1)
    exporter.declare(["common", "common", *(f"s{n:03}" for n in range(100))])
    exporter.declare(f"t{n}" for n in range(100))
    count(exporter, "s099", [RIGHT])
    count(exporter, "t1", [RIGHT])
    count(exporter, "common", [RIGHT])
    slices = {dict(labels).get("slice") for name, labels in samples(exporter) if "eval_items" in name}
    assert slices == {"", "common", "other", *(f"s{n:03}" for n in range(19))}
    assert items_of(exporter, "aaaaaaaaaa", "pass", "other") == 2
    assert items_of(exporter, "aaaaaaaaaa", "pass", "common") == 1


@pytest.mark.parametrize("name", ['a"b\\c\nd', "x" * 5000, "größer", "}{", "\x00"])
def test_odd_slices(name):
    exporter = exporter_of(targets=1)
    exporter.declare([name])
    count(exporter, name, [RIGHT])
    assert items_of(exporter, "aaaaaaaaaa", "pass", name[:64]) == 1


def test_new_series_are_unread_until_somebody_reads_or_nobody_seems_to(monkeypatch):
    exporter = exporter_of()
    assert exporter.unread()
    exporter.text()
    assert not exporter.unread()
    exporter.declare(["s"])
    assert exporter.unread()
    exporter.text()
    exporter.declare(["s"])
    assert not exporter.unread()
    exporter.declare(["t"])
    monkeypatch.setattr(exporter_module, "PATIENCE", 0)
    assert not exporter.unread()


def _get(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode(), response.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), ""


def test_the_server():
    alive = [True]
    exporter = exporter_of()
    with exporter.serving(0, lambda: alive[0]) as port:
        status, text, kind = _get(f"http://localhost:{port}/metrics")
        assert (status, kind.split(";")[0]) == (200, "text/plain")
        assert "quantroll_probe_source_items" in text
        assert "_created" not in text
        assert _get(f"http://localhost:{port}/healthz")[0] == 200
        alive[0] = False
        assert _get(f"http://localhost:{port}/healthz")[0] == 503
        assert _get(f"http://localhost:{port}/else")[0] == 404
