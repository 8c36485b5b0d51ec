"""The items on which two evaluations differ, from the files that they left."""

import json

import pytest

from quantroll_jobs import items
from quantroll_jobs.evaluate.answers import Answer, Outcome, write_answers

RIGHT, WRONG, ERROR = Outcome.RIGHT, Outcome.WRONG, Outcome.ERROR


@pytest.fixture
def run(tmp_path, capsys):
    def run(**arms):
        for name, answers in arms.items():
            (tmp_path / name).mkdir()
            written = [answer if isinstance(answer, Answer) else Answer(request="r", **answer) for answer in answers]
            write_answers(tmp_path / name / "items.jsonl", written)
        code = items.main([str(tmp_path / "variant"), str(tmp_path / "baseline")])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def answer(name, outcome, text="x", **more):
    return {"id": name, "outcome": outcome, "answer": text, **more}


def test_harm_gain_and_nothing_else(run):
    code, lines = run(
        baseline=[answer("a", RIGHT, "1"), answer("b", WRONG), answer("c", RIGHT), answer("d", ERROR, "", error="503")],
        variant=[
            answer("a", WRONG, "2", finish_reason="length"),
            answer("b", WRONG),
            answer("c", RIGHT),
            answer("d", RIGHT),
        ],
    )
    assert code == 0
    assert lines == [
        {
            "id": "a", "cell": "harm", "baseline": {"outcome": "right", "answer": "1"},
            "variant": {"outcome": "wrong", "answer": "2", "finish_reason": "length"},
        },
        {
            "id": "d", "cell": "gain", "baseline": {"outcome": "error", "error": "503"},
            "variant": {"outcome": "right", "answer": "x"},
        },
        {"items": 2},
    ]  # fmt: skip


def test_items_that_one_arm_lacks(run):
    code, lines = run(baseline=[answer("a", RIGHT)], variant=[answer("b", RIGHT)])
    assert code == 0
    assert [(line.get("id"), line.get("cell")) for line in lines[:-1]] == [("b", "unpaired"), ("a", "unpaired")]
    assert lines[0]["baseline"] is None
    assert lines[1]["variant"] is None


def test_answers_of_repeats_are_compared_each_with_its_own(tmp_path, run, capsys):
    run(baseline=[], variant=[])
    line = {"id": "a", "outcome": "right", "repeat": 0}
    wrong = {**line, "outcome": "wrong", "repeat": 1}
    (tmp_path / "baseline" / "items.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps({**line, 'repeat': 1})}\n")
    (tmp_path / "variant" / "items.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(wrong)}\n")
    assert items.main([str(tmp_path / "variant"), str(tmp_path / "baseline")]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line.get("id"), line.get("repeat"), line.get("cell")) for line in found[:-1]] == [("a", 1, "harm")]


def test_output_is_ascii_whatever_a_model_answers(tmp_path, run, capsys):
    run(baseline=[answer("a", RIGHT, "\x1b[2J 数")], variant=[answer("a", WRONG, "\u202e")])
    items.main([str(tmp_path / "variant"), str(tmp_path / "baseline")])
    assert (out := capsys.readouterr().out).isascii()
    assert "\x1b" not in out


def test_a_result_that_is_not_there_or_not_readable(tmp_path, run):
    code, lines = run(baseline=[])
    assert code == items.NO_INPUT
    assert "variant/items.jsonl is not there" in lines[-1]["error"]
    (tmp_path / "variant").mkdir()
    (tmp_path / "variant" / "items.jsonl").write_text("{\n")
    code, lines = run()
    assert code == items.NO_INPUT
    assert lines[-1]["error"].startswith("cannot be read: JSONDecodeError")
