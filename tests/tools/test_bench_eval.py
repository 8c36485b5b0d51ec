"""The evaluate Job beside lm-eval: what is compared, and when the comparison is refused."""

import hashlib
import json
import sys
from types import SimpleNamespace

import pytest

from bench import clients, evaluation
from bench.clients import Run
from bench.jobs import Engine


def run(client, wall=10.0, right=9, items=10, **more):
    return Run(
        client, **({"wall": wall, "processor": wall / 2, "answering": wall - 2, "items": items} | more), right=right
    )


class Player:
    """A client whose runs are given; notes when it ran."""

    def __init__(self, name, runs, order):
        self.name, self._runs, self._order = name, iter(runs), order

    def run(self, attempt, *, by_item=False):
        self._order.append((self.name, attempt, by_item))
        return next(self._runs)


def play(ours, theirs, count):
    order = []
    players = Player("quantroll", ours, order), Player("lm-eval", theirs, order)
    return evaluation.rounds(*players, count), order


def test_who_is_first_alternates_and_the_first_runs_are_not_timed():
    ours = [run("quantroll", wall) for wall in (99, 1, 2, 3)]
    theirs = [run("lm-eval", wall) for wall in (88, 4, 5, 6)]
    found, order = play(ours, theirs, 3)
    assert [(a.wall, b.wall) for a, b in found] == [(1, 4), (2, 5), (3, 6)]
    assert [name for name, _, _ in order] == [
        *("quantroll", "lm-eval"), *("lm-eval", "quantroll"), *("quantroll", "lm-eval"), *("lm-eval", "quantroll"),
    ]  # fmt: skip
    assert [by_item for _, _, by_item in order] == [True] * 2 + [False] * 6
    assert len({(name, attempt) for name, attempt, _ in order}) == len(order), "no result of another run is found again"


@pytest.mark.parametrize("other", [{"right": 8}, {"items": 9}])
def test_other_counts_are_no_comparison(other):
    with pytest.raises(evaluation.DisagreementError, match="ours found 9 of 10 items right, lm-eval"):
        play([run("quantroll")] * 2, [run("lm-eval"), run("lm-eval", **other)], 1)


def test_as_many_right_but_others_are_no_comparison():
    ours = run("quantroll", right=1, items=3, by_item={"a": True, "b": False, "c": False})
    theirs = run("lm-eval", right=1, items=3, by_item={"a": False, "b": True, "c": False})
    with pytest.raises(evaluation.DisagreementError, match="differ about 2 items: a, b"):
        play([ours], [theirs], 1)
    evaluation.agree(ours, run("lm-eval", right=1, items=3, by_item=dict(ours.by_item)))
    with pytest.raises(evaluation.DisagreementError, match="differ about 2 items: c, z"):
        evaluation.agree(ours, run("lm-eval", right=1, items=3, by_item={"a": True, "b": False, "z": False}))


def test_ratios_are_of_medians():
    pairs = [(run("quantroll", a), run("lm-eval", b)) for a, b in ((8, 10), (9, 12), (100, 11))]
    wall, answering, processor = evaluation.figures(pairs)
    assert wall.value == pytest.approx(9 / 11)
    assert answering.value == pytest.approx(7 / 9)
    assert processor.value == pytest.approx(9 / 11)
    assert (wall.met, answering.met) == (True, None)
    (slow, *_) = evaluation.figures([(run("quantroll", 11), run("lm-eval", 10))])
    assert slow.met is False


def test_the_table_has_every_round():
    lines = evaluation.details([(run("quantroll", 8), run("lm-eval", 10)), (run("quantroll", 12), run("lm-eval", 8))])
    head, first, second = lines.splitlines()
    assert head.split()[:4] == ["round", "wall", "ours", "wall"]
    assert first.split()[:6] == ["1", "8.0", "s", "10.0", "s", "0.80"]
    assert second.split()[5] == "1.50"
    assert second.split()[-1] == "9"


@pytest.mark.parametrize(("wall", "status"), [(9, 0), (11, 1)])
def test_the_whole_tells_machine_versions_and_settings(tmp_path, capsys, monkeypatch, wall, status):
    pairs = [(run("quantroll", wall), run("lm-eval", 10))]
    monkeypatch.setattr(evaluation, "measured", lambda _: ({"lm-eval": "1.2.3"}, pairs))
    assert evaluation.main(["--folder", str(tmp_path), "--items", "10", "--concurrency", "4"]) == status
    said = capsys.readouterr().out
    for part in ("10 items, 4 at once", "'cores':", "'lm-eval': '1.2.3'", "MISSED" if status else "met"):
        assert part in said
    found = json.loads((tmp_path / "bench-eval.json").read_text())
    assert (found["items"], found["concurrency"]) == (10, 4)
    assert found["versions"] == {"lm-eval": "1.2.3"}
    assert found["figures"][0]["value"] == wall / 10
    assert [each["client"] for each in found["rounds"][0]] == ["quantroll", "lm-eval"]


def test_a_disagreement_fails_and_leaves_no_figures(tmp_path, capsys, monkeypatch):
    def measured(args):
        evaluation.agree(run("quantroll"), run("lm-eval", right=8))

    monkeypatch.setattr(evaluation, "measured", measured)
    assert evaluation.main(["--folder", str(tmp_path)]) == 1
    assert "lm-eval 8 of 10" in capsys.readouterr().err
    assert not (tmp_path / "bench-eval.json").exists()


@pytest.mark.parametrize("wrong", [["--items", "1"], ["--rounds", "0"], ["--concurrency", "1"]])
def test_what_cannot_be_measured_is_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        evaluation.arguments(wrong)
    assert "or more" in capsys.readouterr().err


LOG = (
    '1795308654.500000 127.0.0.1:5 - "POST /v1/completions HTTP/1.1" 200\n'
    '1795308655.000000 127.0.0.1:5 - "GET /health HTTP/1.1" 200\n'
    '1795308656.000000 127.0.0.1:5 - "POST /v1/completions HTTP/1.1" 500\n'
    "1795308656.100000 Avg prompt throughput: 1.0 tokens/s\n"
    '1795308657.250000 127.0.0.1:6 - "POST /v1/completions HTTP/1.1" 200\n'
)


def test_completions_in_the_engines_log():
    assert clients.answer_times(LOG) == [1795308654.5, 1795308657.25]


def test_only_answers_to_this_client_count(tmp_path):
    log = tmp_path / "engine.log"
    log.write_text(LOG)
    engine = Engine("http://engine", process=None, log=log)
    setting = clients.Setting(tmp_path, tmp_path / "items.jsonl", 2, 16, engine)

    def work(times):
        with log.open("a") as file:
            file.write(LOG * times)
        return "done"

    result, times = clients._measured(setting, lambda: work(1))
    assert (result, times["answering"]) == ("done", 2.75)
    with pytest.raises(RuntimeError, match="answered 0 requests for 2 items"):
        clients._measured(setting, lambda: work(0))


def test_lm_eval_is_asked_for_what_our_job_asks(tmp_path):
    engine = Engine("http://127.0.0.1:1", process=None, log=tmp_path / "engine.log")
    setting = clients.Setting(tmp_path, tmp_path / "items.jsonl", 2, 7, engine)
    given = dict(pair.split("=") for pair in clients.model_args(setting).split(","))
    assert given["base_url"] == "http://127.0.0.1:1/v1/completions"
    assert (given["num_concurrent"], given["tokenizer_backend"], given["tokenized_requests"]) == ("7", "None", "False")
    task = clients.task(setting.items)
    assert task["generation_kwargs"] == {"until": [], "max_gen_toks": clients.MAX_TOKENS, "temperature": 0}
    assert task["dataset_kwargs"]["data_files"]["test"] == str(setting.items)


def test_what_lm_eval_found_right():
    told = {"n-samples": {clients.TASK: {"effective": 3}}, "results": {clients.TASK: {"exact_match,none": 2 / 3}}}
    assert clients.counts(told) == (3, 2)
    samples = [json.dumps({"doc": {"id": name}, "exact_match": right}) for name, right in (("a", 1.0), ("b", 0.0))]
    assert clients.right_items(samples) == {"a": True, "b": False}


LM_EVAL = """#!{python}
import json, pathlib, sys
given = dict(part[2:].split("=", 1) for part in sys.argv[1:] if "=" in part)
if {fails}: sys.exit("no such model")
with open({log!r}, "a") as log: log.write({lines!r})
to = pathlib.Path(given["output_path"]) / "tiny"
to.mkdir(parents=True)
results = {{{task!r}: {{"exact_match,none": 0.5}}}}
told = {{"lm_eval_version": "9", "n-samples": {{{task!r}: {{"effective": 2}}}}, "results": results}}
(to / "results_1.json").write_text(json.dumps(told))
if "--log_samples" in sys.argv:
    lines = [json.dumps({{"doc": {{"id": n}}, "exact_match": float(n == "a")}}) for n in "ab"]
    (to / "samples_1.jsonl").write_text("\\n".join(lines))
"""


@pytest.mark.parametrize("fails", [False, True])
def test_lm_evals_own_process(tmp_path, fails):
    log, program = tmp_path / "engine.log", tmp_path / "lm-eval"
    log.touch()
    program.write_text(LM_EVAL.format(python=sys.executable, fails=fails, log=str(log), lines=LOG, task=clients.TASK))
    program.chmod(0o755)
    engine = Engine("http://engine", process=None, log=log)
    client = clients.LmEval(clients.Setting(tmp_path, tmp_path / "items.jsonl", 2, 16, engine), program)
    if fails:
        with pytest.raises(RuntimeError, match=r"lm-eval ended with 1:\s+no such model"):
            client.run("0")
        return
    first, second = client.run("0", by_item=True), client.run("1")
    assert (first.items, first.right, first.by_item) == (2, 1, {"a": True, "b": False})
    assert (second.right, second.by_item, client.version) == (1, None, "9")
    assert first.wall > 0
    assert first.processor > 0
    assert first.answering == 2.75


def test_our_job_is_asked_anew_each_time(tmp_path, monkeypatch):
    log, items = tmp_path / "engine.log", tmp_path / "items.jsonl"
    log.touch()
    items.write_text('{"id": "a", "prompt": "p", "expected": "e"}\n')
    asked = []

    def evaluated(job, name):
        asked.append(job)
        log.write_text(log.read_text() + LOG)
        folder = tmp_path / "evaluations" / job.key
        folder.mkdir(parents=True)
        answers = [{"id": n, "request": "r", "outcome": o} for n, o in (("a", "right"), ("b", "error"))]
        (folder / "items.jsonl").write_text("\n".join(map(json.dumps, answers)))
        return SimpleNamespace(items=2, correct=1, engine_version="0.1")

    monkeypatch.setattr(clients, "_evaluated", evaluated)
    engine = Engine("http://engine", process=None, log=log)
    client = clients.Ours(clients.Setting(tmp_path, items, 2, 16, engine), "1")
    first, second = client.run("0", by_item=True), client.run("1")
    assert (first.by_item, second.by_item) == ({"a": True, "b": False}, None)
    assert (first.items, first.right, client.engine_version) == (2, 1, "0.1")
    assert len({job.key for job in asked}) == 2
    assert asked[0].eval_set.sha256 == hashlib.sha256(items.read_bytes()).hexdigest()
    assert (asked[0].concurrency, asked[0].max_tokens, asked[0].temperature) == (16, clients.MAX_TOKENS, 0)
