"""The gate by hand, on published tables and on files of answers; exit status and JSON are what pipelines build on."""

import json
import random

import pytest
from typer.testing import CliRunner

from quantroll.cli.main import app

# Published int4 comparisons, ab-ch90/quantization-flips-small-llms, with the verdict at 0.94 and 95 %.
GOLDEN = [
    ("685,68,18,229", 1, "FAIL", 0.9336, 0.9131),
    ("509,86,43,337", 1, "FAIL", 0.9277, 0.8971),
    ("572,66,32,305", 2, "INCONCLUSIVE", 0.9467, 0.9213),
    ("719,45,37,185", 0, "PASS", 0.9895, 0.9699),
    ("776,52,26,146", 0, "PASS", 0.9686, 0.9507),
    ("517,63,51,344", 0, "PASS", 0.9793, 0.9493),
    ("510,46,46,373", 0, "PASS", 1.0000, 0.9717),
]


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(("cells", "code", "verdict", "recovery", "lower_bound"), GOLDEN)
def test_published_tables(cells, code, verdict, recovery, lower_bound):
    result = run("gate", "--cells", cells, "-o", "json")
    found = json.loads(result.stdout)
    assert result.exit_code == code
    assert (found["verdict"], found["recovery"], found["lowerBound"]) == (verdict, recovery, lower_bound)
    both, harm, gain, neither = map(int, cells.split(","))
    assert (found["n"], found["harm"], found["gain"]) == (both + harm + gain + neither, harm, gain)
    assert (found["requiredN"] is not None) == (verdict == "INCONCLUSIVE")
    assert list(found) == [
        "verdict", "reason", "recovery", "lowerBound", "upperBound", "n", "harm", "gain", "mcnemarP", "requiredN",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--cells", "10,0,0,990"], 3, "ERROR (BaselineTooWeak)"),
        (["--cells", "500,0,0,499", "--min-baseline", "0.4"], 0, "PASS (Proven)"),
        (["--cells", "450,5,5,39"], 2, "INCONCLUSIVE (InsufficientData)"),
        (["--cells", "450,5,5,39", "--min-samples", "499"], 0, "PASS (Proven)"),
        (["--cells", "685,68,18,229", "--floor", "0.9"], 0, "floor 0.9"),
        (["--cells", "776,52,26,146", "--confidence", "0.9999"], 2, "INCONCLUSIVE (NotProven)"),
        (["--cells", "685,68,18,229", "--max-drop", "0.07"], 0, "Difference -0.0500, bounds -0.06"),
        (["--cells", "685,68,18,229", "--max-drop", "0.04"], 1, "FAIL (BelowFloor)"),
        (["--cells", "0, 0, 0, 0"], 2, "No recovery"),
    ],
)
def test_options_and_text(options, code, said):
    result = run("gate", *options)
    assert result.exit_code == code
    assert said in result.stdout


def test_numbers_stay_on_their_side_of_the_floor_and_a_bound_without_end_is_null():
    found = json.loads(run("gate", "--cells", "28200,1801,0,0", "-o", "json").stdout)
    assert found["recovery"] < 0.94
    nothing = json.loads(run("gate", "--cells", "0,600,0,400", "-o", "json", "--min-baseline", "0").stdout)
    assert (nothing["recovery"], nothing["lowerBound"]) == (0, 0)
    nothing = json.loads(run("gate", "--cells", "0,0,9,9", "-o", "json").stdout)
    assert nothing["recovery"] is nothing["lowerBound"] is nothing["upperBound"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["--nonsense"],
        ["gate"],
        ["gate", "--cells", "1,2,3"],
        ["gate", "--cells", "1,2,3,x"],
        ["gate", "--cells", "1,2,3,-4"],
        ["gate", "--cells", "1,2,3,10000001"],
        ["gate", "--cells", "1,2,3,4", "--floor", "1.5"],
        ["gate", "--cells", "1,2,3,4", "--baseline", "a", "--variant", "b"],
        ["gate", "--baseline", "a"],
        ["gate", "--cells", "1,2,3,4", "-o", "yaml"],
        ["gate", "--baseline", "/nowhere/a", "--variant", "/nowhere/b"],
        ["samples", "--baseline", "0.75"],
        ["samples", "--baseline", "0.75", "--churn", "0.01", "--recovery", "0.9"],
        ["samples", "--baseline", "0.75", "--churn", "0.06", "--recovery", "0.94"],
        ["samples", "--baseline", "0.99", "--churn", "0.5", "--recovery", "1"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_no_verdict(arguments):
    assert run(*arguments).exit_code == 64


class TestSamples:
    @pytest.mark.parametrize(
        ("baseline", "churn", "recovery", "least", "most"),
        # Where the reference's simulated power passes 0.8: between 250 and 500 items, 500 and 1000, 2000 and 5000.
        [("0.75", "0.06", "0.985", 250, 500), ("0.75", "0.06", "0.97", 500, 1000), ("0.60", "0.1", "0.97", 1000, 2000)],
    )
    def test_the_need(self, baseline, churn, recovery, least, most):
        result = run("samples", "--baseline", baseline, "--churn", churn, "--recovery", recovery, "-o", "json")
        found = json.loads(result.stdout)
        assert result.exit_code == 0
        assert least < found["requiredN"] < most
        assert (found["floor"], found["power"], found["confidence"]) == (0.94, 0.8, 0.95)

    def test_more_power_takes_more_and_text_says_what_was_assumed(self):
        given = ["samples", "--baseline", "0.75", "--churn", "0.06", "--recovery", "0.985", "--floor", "0.94"]
        assert run(*given, "--power", "0.8").stdout.startswith("371 items: they prove a recovery of 0.985")
        assert int(run(*given, "--power", "0.95").stdout.split()[0]) > 371

    def test_the_power_of_the_items_that_there_are(self):
        given = ["samples", "--baseline", "0.75", "--churn", "0.06", "--recovery", "0.985"]
        assert "371 items: they prove a recovery of 0.985 to reach 0.94 in 80" in run(*given, "--items", "371").stdout
        found = json.loads(run(*given, "--items", "2000", "-o", "json").stdout)
        assert (found["n"], found["power"] > 0.99, "requiredN" in found) == (2000, True, False)
        at_the_floor = json.loads(run(*given[:-1], "0.94", "--items", "2000", "-o", "json").stdout)
        assert at_the_floor["power"] == pytest.approx(0.05, abs=0.002), "the rate of false proofs"
        both = run(*given, "--items", "10", "--power", "0.9")
        assert (both.exit_code, "give --items or --power" in both.output) == (64, True)


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def row(name: str, outcome: str = "right", **more) -> dict:
    return {"id": name, "request": f"r-{name}", "outcome": outcome, "answer": "abc", "seconds": 1.5, **more}


class TestFiles:
    @pytest.fixture
    def files(self, tmp_path):
        def write(baseline: str, variant: str) -> list[str]:
            paths = []
            for name, text in (("baseline", baseline), ("variant", variant)):
                (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
                paths += [f"--{name}", str(tmp_path / name)]
            return paths

        return write

    def judged(self, arguments: list[str], *more: str) -> tuple[int, dict]:
        result = run("gate", *arguments, *more, "-o", "json")
        return result.exit_code, json.loads(result.stdout)

    def test_the_same_verdict_as_from_the_cells(self, files):
        cells = {("right", "right"): 572, ("right", "wrong"): 66, ("wrong", "right"): 32, ("wrong", "wrong"): 305}
        pairs = [pair for pair, count in cells.items() for _ in range(count)]
        random.Random(1).shuffle(pairs)
        before, after = ([row(str(i), pair[arm]) for i, pair in enumerate(pairs)] for arm in (0, 1))
        random.Random(2).shuffle(after)
        assert self.judged(files(lines(before), lines(after))) == self.judged(["--cells", "572,66,32,305"])

    def test_unequal_requests_and_items_cannot_be_paired(self, files):
        good = [row(str(i)) for i in range(600)]
        other = [*good[:-1], row("599", request="another")]
        assert self.judged(files(lines(good), lines(good)))[0] == 0
        for wrong in (other, good[:-1], [*good, row("600")], [*good[:-1], row("599", prompt="p")]):
            code, found = self.judged(files(lines([*good[:-1], row("599", prompt="q")]), lines(wrong)))
            assert (code, found["reason"]) == (3, "PromptsDiffer")

    def test_errors_count_as_wrong_and_apart(self, files):
        good = [row(str(i)) for i in range(600)]
        failed = [row(str(i), "error" if i < 7 else "right", score=1.0) for i in range(600)]
        code, found = self.judged(files(lines(good), lines(failed)))
        assert (code, found["reason"], found["harm"]) == (3, "TooManyErrors", 7)
        code, found = self.judged(files(lines(good), lines(failed)), "--max-error-rate", "0.02")
        assert (code, found["harm"]) == (0, 7)

    def test_graded_and_repeated_answers_are_judged_by_the_linear_test(self, files):
        before = [row(str(i), score=0.8 + i % 10 / 50) for i in range(600)]
        after = [row(str(i), score=0.8 + i % 7 / 50) for i in range(600)]
        result = run("gate", *files(lines(before), lines(after)))
        assert result.exit_code == 0
        assert "n 600 in 600 clusters" in result.stdout
        before = [row(str(i), repeat=r) for i in range(600) for r in range(2)]
        after = [row(str(i), "right" if i % 3 or r else "wrong", repeat=r) for i in range(600) for r in range(2)]
        code, found = self.judged(files(lines(before), lines(after)))
        assert (code, found["n"], found["recovery"]) == (1, 600, 0.8333)

    def test_items_of_a_cluster_are_not_counted_as_if_they_were_alone(self, files):
        """Ten questions about each of 60 documents, all of which a variant gets wrong for two documents."""

        def arm(*bad: int, told: bool) -> str:
            of = {f"{doc}-{i}": doc for doc in range(60) for i in range(10)}
            known = {name: {"cluster": f"doc {doc}"} if told else {} for name, doc in of.items()}
            return lines([row(n, "wrong" if doc in bad else "right", **known[n]) for n, doc in of.items()])

        code, alone = self.judged(files(arm(told=False), arm(1, 2, told=False)))
        assert (code, alone["verdict"]) == (0, "PASS")
        code, together = self.judged(files(arm(told=True), arm(1, 2, told=True)))
        assert (code, together["verdict"]) == (2, "INCONCLUSIVE")
        assert (together["n"], together["recovery"]) == (600, alone["recovery"])
        assert together["lowerBound"] < 0.94

    def test_clusters_are_those_of_either_file_and_have_to_agree(self, files):
        plain = [row(str(i), "wrong" if i < 20 else "right") for i in range(600)]
        told = [{**one, "cluster": f"doc {int(one['id']) // 10}"} for one in plain]
        good = [row(str(i)) for i in range(600)]
        code, found = self.judged(files(lines(good), lines(told)))
        assert (code, found["verdict"]) == (2, "INCONCLUSIVE"), "answers of an older version tell no clusters"
        torn = [{**one, "cluster": "another"} for one in good]
        result = run("gate", *files(lines(torn), lines(told)))
        assert (result.exit_code, "id '0' is of another cluster in the two files" in result.output) == (64, True)

    def test_an_answer_with_separators_of_lines_is_one_line(self, files):
        odd = "\n".join(json.dumps(row(str(i), answer="a\u2028b\x85c"), ensure_ascii=False) for i in range(600))
        code, found = self.judged(files(odd, odd.replace("\n", "\r\n")))
        assert (code, found["n"]) == (0, 600)

    def test_blank_lines_do_no_harm_and_lengths_are_compared(self, files):
        good, longer = (
            lines([row(str(i)) for i in range(600)]),
            lines([row(str(i), answer="x" * 6) for i in range(600)]),
        )
        result = run("gate", *files("\n" + good + "\n", longer))
        assert result.exit_code == 0
        assert "answers 2.00 times as long" in result.stdout

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "no results"),
            ("\n\n", "no results"),
            (lines([row("a")]) + "{", "line 2: not JSON"),
            ("[1]\n", "line 1: not a JSON object"),
            ("[" * 100_000, "line 1: not JSON that can be read"),
            ('{"id": ' + "7" * 5000 + "}", "line 1: not JSON that can be read"),
            (lines([row("a"), row("a")]), "line 2: id 'a' comes twice"),
            (lines([{"request": "r", "outcome": "right"}]), "line 1: id is missing"),
            (lines([row("a", request="")]), "request is '', and has to be a text"),
            (lines([{**row("a"), "id": 7}]), "id is 7, and has to be a text"),
            (lines([row("a", "maybe")]), "outcome is 'maybe', and can be right, wrong, error"),
            (lines([row("a", score=1.5)]), "score is 1.5"),
            (lines([row("a", score=True)]), "score is True"),
            (lines([row("a", repeat=-1)]), "repeat is -1"),
            (lines([row("a", answer=3)]), "answer is 3"),
            (b"\xff\xfe", "not UTF-8 at byte 0"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_named_by_line_and_cause(self, files, text, said):
        arguments = files(lines([row("a")]), text)
        result = run("gate", *arguments)
        assert result.exit_code == 64
        shown = " ".join(result.output.replace("│", " ").split())
        assert said.replace(" ", "") in shown.replace(" ", "")


def test_version():
    assert run("version").output.strip().count(".") == 2
