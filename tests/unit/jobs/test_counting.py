"""From answers to counts, slices and sums."""

import json
import random

import pytest

from quantroll.api.counts import MAX_SLICES, Counts, ScorerCounts, SliceCounts
from quantroll.api.jobs import REPORT_LIMIT, EvaluateResult, Report
from quantroll_jobs.datafiles import SLICE_BYTES, Item
from quantroll_jobs.evaluate.answers import Answer, Outcome
from quantroll_jobs.evaluate.counting import Counting, summary
from quantroll_jobs.report import encode
from unit.jobs.handmade import KEY


def items(*parts, clusters=()):
    """An item for each slice that is named, with its cluster."""
    clusters = clusters or [""] * len(parts)
    pairs = enumerate(zip(parts, clusters, strict=True))
    return [Item(f"i{n}", f"q{n}", (), "x", n, part, cluster) for n, (part, cluster) in pairs]


def answers(*scores, repeats=1, **more):
    """One answer for each score, `repeats` in a row to one item; None is an error."""
    found = [
        Answer(
            id=f"i{n // repeats}",
            repeat=n % repeats,
            request="r",
            outcome=Outcome.ERROR if s is None else Outcome.RIGHT if s >= 0.5 else Outcome.WRONG,
            score=s if s not in (None, 0, 1) else None,
            answer="" if s is None else "ab",
            **more,
        )
        for n, s in enumerate(scores)
    ]
    return {answer.key: answer for answer in found}


def counted(asked, variant, baseline=None, **settings):
    given = {"repeats": 1, "graded": False, "by_slice": False, "by_cluster": False, "informing": {}} | settings
    return Counts(**summary(Counting(**given), asked, variant, baseline))


def test_right_and_wrong_need_no_sums():
    found = counted(items("", "", "", ""), answers(1, 0, 1, None), answers(1, 1, 0, 0))
    assert (found.both, found.harm, found.gain, found.neither) == (1, 1, 1, 1)
    assert (found.correct, found.errors, found.baseline_errors) == (2, 1, 0)
    assert (found.score, found.moments, found.slices, found.informing) == (None, None, [], [])


def test_a_graded_score():
    found = counted(items("", "", ""), answers(0.5, 0.25, 1), answers(1, 0.5, 0.2), graded=True)
    assert (found.score, found.correct) == (pytest.approx(1.75 / 3, abs=1e-8), 2)
    assert (found.both, found.harm, found.gain, found.neither) == (1, 1, 1, 0)
    groups, x, y, xx, xy, yy, xn, yn, nn = found.moments
    assert (groups, nn, x, y) == (3, 3, pytest.approx(1.7), pytest.approx(1.75))
    assert (xx, xy, yy) == (pytest.approx(1.29), pytest.approx(0.825), pytest.approx(1.3125))
    assert (xn, yn) == (x, y)


def test_repeats_are_averaged_and_an_error_among_them_is_a_zero():
    found = counted(items("", ""), answers(1, 1, 0, None, repeats=2), answers(1, 0, 0, 0, repeats=2), repeats=2,
                    graded=True)  # fmt: skip
    assert (found.items, found.score, found.errors) == (2, 0.5, 1)
    assert found.moments[:6] == [2, 0.5, 1, 0.25, 0.5, 1]


def test_items_of_a_cluster_are_summed_first():
    asked = items("", "", "", "", clusters=["a", "a", "", "i3"])
    found = counted(asked, answers(1, 1, 0, 1), answers(1, 0, 1, 1), by_cluster=True)
    # clusters (x, y, n): a (1, 2, 2), two single items (1, 0, 1) and (1, 1, 1); a cluster called as an item is not it
    assert found.moments == [3, 3, 3, 3, 3, 5, 4, 5, 6]
    assert found.score is None


def test_slices_have_their_own_counts_and_the_rest_is_in_none():
    asked = items("b", "a", "", "b")
    found = counted(asked, answers(1, 0, 1, 0), answers(1, 1, 1, 1), by_slice=True)
    assert [(part.name, part.cells, part.moments) for part in found.slices] == [
        ("a", [0, 1, 0, 0], None),
        ("b", [1, 1, 0, 0], None),
    ]
    graded = counted(asked, answers(1, 0, 1, 0), answers(1, 1, 1, 1), by_slice=True, graded=True)
    assert [part.moments[:3] for part in graded.slices] == [[1, 1, 0], [2, 2, 1]]


def test_the_baseline_alone_has_neither_cells_nor_sums():
    found = counted(items("a", "b"), answers(1, 0.3), by_slice=True, graded=True)
    assert (found.both, found.moments, found.slices, found.score) == (None, None, [], 0.65)


def test_what_answers_look_like():
    variant = answers(1, 1, 0, None)
    variant["i1", 0] = variant["i1", 0].model_copy(update={"answer": "", "finish_reason": "length"})
    variant["i2", 0] = variant["i2", 0].model_copy(update={"answer": " \n\t", "finish_reason": "length"})
    found = counted(items("", "", "", ""), variant, answers(1, 1, 1, 1))
    assert (found.empty, found.truncated) == (2, 2)
    assert (found.mean_length, found.baseline_mean_length) == (pytest.approx(5 / 3), 2)
    assert counted(items(""), answers(None)).mean_length is None


def test_scorers_that_inform_judge_the_stored_answers():
    informing = {"F1": lambda answer, item: 0.25 if item.id == "i0" else 1.0}
    found = counted(items("", ""), answers(0, None), answers(1, 1), informing=informing)
    assert [(each.scorer, each.score, each.baseline_score) for each in found.informing] == [("F1", 0.125, 0.625)]
    alone = counted(items("", ""), answers(0, 1), informing=informing)
    assert [(each.score, each.baseline_score) for each in alone.informing] == [(0.625, None)]


def test_prompts_are_compared_where_the_engine_told_them():
    def match(one, other):
        found = counted(items(""), answers(1, **one), answers(1, **other))
        return found.prompts_match

    assert match({"prompt": "p"}, {"prompt": "p"})
    assert not match({"prompt": "p"}, {"prompt": "q"})
    assert match({"prompt": "p"}, {})  # an error has none
    other = answers(1)
    other["i0", 0] = other["i0", 0].model_copy(update={"request": "another"})
    assert not counted(items(""), answers(1), other).prompts_match


def test_the_sums_are_exact_to_nine_digits():
    rng = random.Random(1)
    scores = [[rng.random() for _ in range(500)] for _ in range(2)]
    found = counted(items(*[""] * 500), answers(*scores[0]), answers(*scores[1]), graded=True)
    assert found.moments[2] == pytest.approx(sum(scores[0]), rel=1e-8)
    assert all(len(f"{number:.15g}".replace(".", "").strip("0")) <= 9 for number in found.moments)


@pytest.mark.parametrize("letter", ["a", '"', "é", "漢", "\U0001f600"])
def test_the_worst_case_fits_into_a_termination_message(letter):
    name = (letter * SLICE_BYTES).encode()[: SLICE_BYTES - 1].decode(errors="ignore")
    large, sums = 9_999_999, [-1.23456789e-123] * 9
    parts = [
        SliceCounts(name=f"{name}{n}", cells=[large] * 4, moments=[float(large), *sums[1:]]) for n in range(MAX_SLICES)
    ]
    informing = [
        ScorerCounts(scorer="NumericTolerance", score=0.123456789, baseline_score=0.123456789),
        ScorerCounts(scorer="MultipleChoice", score=0.123456789, baseline_score=0.123456789),
    ]
    result = EvaluateResult(
        items=large, correct=large, score=0.123456789, errors=large, truncated=large, empty=large,
        mean_length=123456.789, both=large, harm=large, gain=large, neither=large, moments=sums, slices=parts,
        informing=informing, baseline_errors=large, baseline_mean_length=123456.789, prompts_match=False,
        engine_version=letter * 128, prompts_digest="f" * 64, seconds=123456.7,
    )  # fmt: skip
    data = encode(Report(kind="evaluate", key=KEY, evaluate=result))
    assert len(data) <= REPORT_LIMIT
    read = Report.model_validate_json(data).evaluate
    assert (read.slices, read.moments) == (parts, sums)
    assert json.loads(data)["evaluate"]["items"] == large
