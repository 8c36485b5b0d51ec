import pytest

from quantroll_jobs import datafiles
from quantroll_jobs.datafiles import DataError, EvalSet, ItemForm, calibration_text, read_calibration
from unit.jobs.handmade import item, write_lines


def _items(path, id_field="id"):
    return list(EvalSet(path, ItemForm(id_field)))


def test_items_in_order(tmp_path):
    chat = {"id": 7, "messages": [{"role": "user", "content": "Hi?", "name": "x"}], "expected": "yes", "slice": "s"}
    items = _items(write_lines(tmp_path / "e", item(1), "", chat))
    assert [i.id for i in items] == ["i1", "7"]
    assert items[0].prompt == "Question 1?"
    assert items[1].messages == ({"role": "user", "content": "Hi?"},)
    assert items[1].question == "Hi?"
    assert [i.line for i in items] == [1, 3]


def test_another_id_field(tmp_path):
    assert _items(write_lines(tmp_path / "e", {"n": 1, "prompt": "q", "expected": "a"}), "n")[0].id == "1"


USER = {"role": "user", "content": "q"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not JSON"),
        (item(2, id=None), "id must be"),
        (item(2, id=True), "id must be"),
        (item(2, id=1.5), "id must be"),
        (item(2, id=""), "id must be"),
        (item(2, prompt=3), "prompt must be"),
        (item(2, prompt=" "), "prompt must be"),
        (item(2, expected=None), "expected must be"),
        (item(2, expected=42), "expected must be"),
        (item(2, expected="\n"), "expected must be"),
        (item(2, messages=[USER]), "either prompt or messages"),
        ({"id": "2", "expected": "a"}, "either prompt or messages"),
        ({"id": "2", "expected": "a", "messages": []}, "messages must be"),
        ({"id": "2", "expected": "a", "messages": [{"role": "user"}]}, "every message"),
        ({"id": "2", "expected": "a", "messages": ["hello"]}, "every message"),
        ('{"id": "2", "prompt": "\\ud800", "expected": "a"}', "surrogate"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, reason):
    with pytest.raises(DataError, match=rf"^line 2: .*{reason}"):
        _items(write_lines(tmp_path / "e", item(1), line))


def test_a_duplicate_id_names_both_lines(tmp_path):
    with pytest.raises(DataError, match=r"lines 1 and 3 have the same id, 'i1'"):
        _items(write_lines(tmp_path / "e", item(1), item(2), item(3, id="i1")))


def test_a_duplicate_item_counts_once(tmp_path):
    again = item(1, id="again")
    items = EvalSet(write_lines(tmp_path / "e", item(1), item(2), again, item(1, id="more")), ItemForm())
    assert [i.id for i in items] == ["i1", "i2"]
    assert items.duplicates == 2
    assert items.first_duplicate == (3, 1)


def test_the_same_question_with_two_answers(tmp_path):
    with pytest.raises(DataError, match="lines 1 and 2 ask the same and expect different answers"):
        _items(write_lines(tmp_path / "e", item(1), item(1, id="b", expected="other")))


def test_one_question_with_other_choices_is_another_item(tmp_path):
    asked = [item(1, id=name, expected="A", choices=choices) for name, choices in
             (("a", ["A", "B"]), ("b", ["A", "C"]), ("again", ["A", "B"]))]  # fmt: skip
    items = EvalSet(write_lines(tmp_path / "e", *asked), ItemForm())
    assert [i.id for i in items] == ["a", "b"]
    assert items.duplicates == 1


def test_byte_order_mark(tmp_path):
    path = write_lines(tmp_path / "e", item(1))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with pytest.raises(DataError, match="line 1: starts with a byte order mark"):
        _items(path)


def test_not_utf8(tmp_path):
    path = tmp_path / "e"
    path.write_bytes(b'{"id": "1", "prompt": "\xff", "expected": "a"}\n')
    with pytest.raises(DataError, match="line 1: not UTF-8"):
        _items(path)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_empty(tmp_path, content):
    path = tmp_path / "e"
    path.write_text(content)
    with pytest.raises(DataError, match="no items"):
        _items(path)
    with pytest.raises(DataError, match="no samples"):
        list(read_calibration(path))


def test_a_line_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(datafiles, "LINE_LIMIT", 64)
    with pytest.raises(DataError, match="line 2: longer than"):
        _items(write_lines(tmp_path / "e", item(1), "x" * 100))


def test_windows_line_ends_and_no_last_one(tmp_path):
    path = tmp_path / "e"
    path.write_bytes(b'{"id": "1", "prompt": "q", "expected": "a"}\r\n{"id": "2", "prompt": "r", "expected": "a"}')
    assert len(_items(path)) == 2


def test_calibration_kinds(tmp_path):
    path = write_lines(tmp_path / "c", {"text": "one"}, {"prompt": "two"}, {"messages": [USER]})
    assert [calibration_text(sample) for sample in read_calibration(path)] == ["one", "two", "q"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [({"id": 1}, "needs text"), ({"text": ""}, "text must be"), ({"messages": [1]}, "every message"), ("5", "object")],
)
def test_malformed_calibration(tmp_path, line, reason):
    with pytest.raises(DataError, match=rf"^line 1: .*{reason}"):
        list(read_calibration(write_lines(tmp_path / "c", line)))
