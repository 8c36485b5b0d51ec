"""What is asked about a candidate, and where the answers go."""

import asyncio

from quantroll.controller.canary import canary_counts
from quantroll.domain.questions import CanaryQuestions, Pairs, Window
from quantroll.domain.snapshot import CanaryCounts, PairCounts, RequestCounts, Unknown


class Metrics:
    """Answers with what it was asked."""

    async def requests(self, namespace, name, revision, seconds):
        return RequestCounts(seconds, len(revision))

    async def pairs(self, namespace, name, revision, reference, seconds, ago):
        return PairCounts(seconds, ago, len(revision), len(reference), distinct=1)

    async def latency(self, metric, namespace, name, revision, seconds):
        return Unknown(f"{metric} of {namespace}/{name} {revision} {seconds}")


def answers(asked):
    return asyncio.run(canary_counts(asked, "ml", "tiny", Metrics()))


def test_nothing_is_asked_without_a_question():
    assert answers(None) == CanaryCounts()


def test_every_answer_finds_its_place():
    asked = CanaryQuestions(
        candidate="bb",
        stable=Window("a", 60),
        pairs=Pairs("bb", "a", 600),
        planned=Pairs("bb", "a", 500, 100),
        latencies=("itl-p99", "ttft-p99"),
    )
    assert answers(asked) == CanaryCounts(
        stable=RequestCounts(60, 1),
        pairs=PairCounts(600, 0, 2, 1, distinct=1),
        planned=PairCounts(500, 100, 2, 1, distinct=1),
        latencies={
            metric: tuple(Unknown(f"{metric} of ml/tiny {revision} 60") for revision in ("bb", "a"))
            for metric in ("itl-p99", "ttft-p99")
        },
    )


def test_what_is_not_looked_at_is_not_asked():
    found = answers(CanaryQuestions(candidate="bb", stable=Window("a", 60)))
    assert (found.pairs, found.planned, found.latencies) == (None, None, {})
