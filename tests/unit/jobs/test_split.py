import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantroll_jobs import split
from quantroll_jobs.datafiles import DataError, ItemForm
from quantroll_jobs.split import Part, place, read_part
from unit.jobs.handmade import item, write_lines


def _ids(items):
    return [found.id for found in items]


def _parts(path, limit=10_000):
    return [_ids(read_part(path, ItemForm(), part, limit)) for part in (Part.PROBE, Part.CONFIRM)]


@pytest.fixture
def many(tmp_path):
    return write_lines(tmp_path / "many.jsonl", *[item(n) for n in range(2000)])


def test_the_parts_are_disjoint_whole_and_about_equal(many):
    probe, confirm = _parts(many)
    assert set(probe).isdisjoint(confirm)
    assert len(set(probe)) + len(set(confirm)) == len(probe) + len(confirm) == 2000
    assert 900 <= len(probe) <= 1100  # five standard deviations around a half


@pytest.mark.parametrize(
    ("item_id", "part", "rank"),
    [
        ("a", Part.PROBE, 328871503458331765865662902301174021),
        ("i0", Part.CONFIRM, 551840045540573438627383306202900831),
        ("ü", Part.PROBE, 205780639302118795432172268942129481),
    ],
)
def test_the_split_never_changes(item_id, part, rank):
    assert place(item_id) == (part, rank)


@given(st.text(min_size=1))
def test_every_id_has_one_place(item_id):
    assert place(item_id) == place(item_id)


def test_the_order_of_the_file_does_not_matter(many, tmp_path):
    lines = many.read_text().splitlines()
    random.Random(1).shuffle(lines)
    turned = write_lines(tmp_path / "turned.jsonl", *lines)
    assert _parts(turned, 50) == _parts(many, 50)


@pytest.mark.parametrize("part", Part)
def test_a_smaller_sample_is_the_beginning_of_a_larger_one(many, part):
    large = _ids(read_part(many, ItemForm(), part, 10_000))
    assert [place(name)[1] for name in large] == sorted(place(name)[1] for name in large)
    for limit in (1, 20, 500):
        assert _ids(read_part(many, ItemForm(), part, limit)) == large[:limit]


def test_long_items_are_bounded_by_their_text(many, monkeypatch):
    whole = read_part(many, ItemForm(), Part.PROBE, 10_000)
    monkeypatch.setattr(split, "TEXT_LIMIT", 1000)
    some = read_part(many, ItemForm(), Part.PROBE, 10_000)
    assert 0 < len(some) < 60
    assert some == whole[: len(some)]


def _of(part, count, start=0):
    return [n for n in range(start, start + 1000) if place(f"i{n}")[0] is part][:count]


def test_a_question_under_ids_of_both_parts_belongs_to_the_probe(tmp_path):
    (probe,), (confirm, other) = _of(Part.PROBE, 1), _of(Part.CONFIRM, 2)
    same = {"prompt": "the same", "expected": "yes"}
    path = write_lines(tmp_path / "f", item(confirm, **same), item(other), item(probe, **same))
    assert _parts(path) == [[f"i{probe}"], [f"i{other}"]]


def test_a_question_twice_in_one_part_counts_once(tmp_path):
    first, second = _of(Part.PROBE, 2)
    same = {"prompt": "the same", "expected": "yes"}
    path = write_lines(tmp_path / "f", item(first, **same), item(second, **same))
    assert _parts(path) == [[f"i{first}"], []]
    write_lines(path, item(first, **same), item(second, **(same | {"expected": "no"})))
    with pytest.raises(DataError, match="lines 1 and 2 ask the same and expect different answers"):
        _parts(path)


def test_an_id_twice_is_malformed(tmp_path):
    path = write_lines(tmp_path / "f", item(7), item(8), item(7, prompt="another"))
    with pytest.raises(DataError, match="lines 1 and 3 have the same id, 'i7'"):
        _parts(path)


@pytest.mark.parametrize("part", Part)
def test_a_malformed_line_of_either_part_is_found(tmp_path, part):
    path = write_lines(tmp_path / "f", *[item(n) for n in range(50)], "not JSON")
    with pytest.raises(DataError, match="line 51: not JSON"):
        read_part(path, ItemForm(), part, 1)


def test_ids_of_another_field_and_slices(tmp_path):
    lines = [{"key": n, "prompt": f"{n}", "expected": "x", "slice": "hard" if n % 2 else 5} for n in range(40)]
    found = read_part(write_lines(tmp_path / "f", *lines), ItemForm("key"), Part.PROBE, 100)
    assert {one.slice for one in found} == {"hard", ""}
