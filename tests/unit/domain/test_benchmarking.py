"""Benchmarks in the loop: when they run, that they block nothing, and what they decide."""

import pytest

from quantroll.api.figures import CostFigures
from quantroll.api.spec import Slo
from quantroll.api.status import VariantStatus
from quantroll.constants import Reason
from quantroll.domain import selection
from quantroll.domain.sweep import judged
from unit.domain.test_figures import A100, L4, PRICES, T4, priced
from unit.domain.world import BAD, World, spec_with

SWEEP = {"concurrency": [1, 8, 32], "promptTokens": 256, "outputTokens": 64}


def benchmarked(**changes):
    return World(spec_with(benchmark=SWEEP | changes))


def row(name, **changes):
    facts = {"scheme": "W8A8", "bits": 8, "verdict": "PASS", "weight_bytes": 100} | changes
    return VariantStatus(name=name, **facts)


def cost(price, gpus=1):
    return CostFigures(per_million_output_tokens=price, gpus=gpus)


# -- selection ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([], None),
        ([row("a", weight_bytes=3), row("b", weight_bytes=2)], "b"),
        ([row("a", weight_bytes=2), row("b", weight_bytes=2)], "a"),
        ([row("a", cost=cost(2.0)), row("b", cost=cost(1.0), weight_bytes=900)], "b"),
        ([row("a", cost=cost(1.0, 2)), row("b", cost=cost(1.0, 1))], "b"),
        ([row("a", cost=cost(1.0)), row("b", cost=cost(1.0), bits=4, scheme="W4A16")], "b"),
        ([row("a", cost=cost(1.0)), row("b", cost=cost(1.0), weight_bytes=99)], "b"),
        ([row("a", cost=cost(9.0)), row("b", weight_bytes=1)], "a"),  # what b costs is not known
        ([row("a", cost=CostFigures()), row("b", weight_bytes=1)], "b"),
    ],
)
def test_the_cheapest_of_the_proven(rows, chosen):
    best = selection.best(rows, None)
    assert (best.name if best else None) == chosen


def test_what_breaks_the_slo_is_not_chosen():
    slo = Slo(at_concurrency=8, ttft_p99="500ms")
    fast, slow = ([8, 1, ttft, 1, 1, 100, 1, 0, 100] for ttft in (400, 600))
    rows = [
        row("slow", cost=cost(0.5), benchmark=judged("k", [slow], slo)),
        row("fast", cost=cost(2.0), benchmark=judged("k", [fast], slo)),
        row("failed", weight_bytes=1),
    ]
    assert selection.best(rows, slo).name == "fast"
    assert selection.best(rows[:1], slo) is None
    assert selection.best([rows[0], rows[2]], slo) is None, "what was not measured is not known to hold it"
    assert selection.best(rows[:2], None).name == "slow"


# -- in the loop -------------------------------------------------------------------------------------------------------


def test_without_a_benchmark_nothing_is_measured():
    world = World()
    world.settle()
    assert "benchmark" not in world.kinds()
    assert world.status.baseline.benchmark is None


def test_the_baseline_and_what_is_proven_are_measured_once_the_ladder_is_done():
    world = benchmarked()
    world.settle()
    assert world.kinds() == ["prepare", "evaluate", *["quantize", "evaluate"] * 3, *["benchmark"] * 3]
    base, int8, gptq4, rtn4 = world.status.baseline, *world.status.variants
    assert (base.benchmark.concurrency, base.benchmark.seconds) == (32, 600)
    assert gptq4.benchmark.output_tokens_per_second == pytest.approx(3 * base.benchmark.output_tokens_per_second)
    assert int8.cost.measured_speedup == 2
    assert rtn4.benchmark is None, "it is not proven"
    assert world.status.stable.variant == "gptq4"
    before = list(world.made)
    world.settle()
    assert world.made == before


def test_verdicts_do_not_wait_for_benchmarks():
    world = benchmarked()
    for _ in range(60):
        world.tick()
        if world.job("benchmark"):
            break
        world.works()
    assert world.verdicts() == {"int8": "PASS", "gptq4": "PASS", "rtn4": "FAIL"}
    assert world.condition("Verified")[0] == "True"
    assert (world.status.phase, world.status.message) == ("Evaluating", "measuring the speed of baseline")
    world.edit(qualityGate__minAcceptable=0.99)
    world.tick()
    assert world.verdicts()["gptq4"] == "FAIL"


def test_a_changed_slo_is_held_against_the_stored_sweep():
    world = benchmarked()
    world.settle()
    before = list(world.made)
    world.edit(benchmark=SWEEP | {"slo": {"atConcurrency": 8, "itlP99": "45ms"}})
    world.settle()
    assert world.made == before, "no Job"
    assert [r.benchmark and r.benchmark.concurrency for r in world.status.variants] == [8, 8, None]
    assert world.status.baseline.benchmark.concurrency == 1
    assert "ITL p99 is 80 ms at 8 at once" in world.status.baseline.benchmark.message


def test_a_verdict_that_comes_and_goes_costs_no_second_benchmark():
    world = benchmarked()
    world.settle()
    before = list(world.made)
    world.edit(qualityGate__minAcceptable=0.99)
    world.settle()
    assert world.verdicts()["gptq4"] == "FAIL"
    assert world.status.variants[1].benchmark
    world.edit(qualityGate__minAcceptable=0.94)
    world.settle()
    assert world.made == before
    assert world.status.variants[2].cost.message.startswith("no cost"), "it asks for no GPU"


def test_what_was_measured_of_another_revision_is_dropped():
    world = benchmarked()
    world.settle()
    world.edit(serving__maxNumSeqs=8)
    world.tick()
    assert world.status.baseline.benchmark is None
    old = world.status.variants[0].revision
    while world.status.variants[0].revision == old:
        world.works()
        world.tick()
    assert world.status.variants[0].benchmark is None
    world.settle()
    assert world.kinds().count("benchmark") == 6


def test_what_is_not_proven_is_not_benchmarked_and_says_so():
    world = priced(benchmark=SWEEP)
    world.cells = {"int8": BAD, "gptq4": BAD}
    world.settle()
    assert world.kinds().count("benchmark") == 1, "the baseline's"
    assert world.status.variants[0].cost.message == "only what is proven is benchmarked"


def test_another_sweep_is_measured_anew_and_none_is_forgotten():
    world = benchmarked()
    world.settle()
    world.edit(benchmark=SWEEP | {"outputTokens": 32})
    world.settle()
    assert world.kinds().count("benchmark") == 6
    assert world.status.stable.variant == "gptq4"
    world.edit(benchmark=None)
    world.spec.pop("benchmark")
    world.settle()
    assert world.status.baseline.benchmark is None
    assert world.status.variants[0].benchmark is None


def test_with_an_slo_what_was_not_measured_is_not_served():
    world = benchmarked(slo={"atConcurrency": 8, "itlP99": "45ms"})
    for _ in range(60):
        world.tick()
        for job in world.running():
            if job.kind == "benchmark" and job.variant != "baseline":
                world.fail(job, Reason.ENGINE_NOT_READY, "no completion within 1800 s")
            else:
                world.finish(job)
        for revision in world.replicas:
            world.ready(revision)
        world.accept()
    assert world.status.phase == "Rejected"
    assert "is known to hold the SLO" in world.status.message
    assert (world.status.stable.variant, world.status.rollout) == ("baseline", None)
    world.commands = {"retry": "jobs/1"}
    world.settle()
    assert world.status.stable.variant == "gptq4"


def test_without_an_slo_a_failed_benchmark_blocks_nothing_and_is_said():
    world = benchmarked()
    for _ in range(400):
        world.tick()
        for job in world.running():
            if job.kind == "benchmark":
                world.fail(job, Reason.ENGINE_NOT_READY, "no completion within 1800 s")
            else:
                world.finish(job)
        for revision in world.replicas:
            world.ready(revision)
        world.accept()
        if world.status.rollout:
            break
    assert world.status.candidate.variant == "gptq4", "the smallest: nobody knows what any of them costs"
    assert world.kinds().count("benchmark") == 3, "not tried again by itself"
    assert world.stalled() is None
    assert world.status.variants[1].failure.reason == "EngineNotReady"
    world.settle()
    world.edit(qualityGate__minAcceptable=0.93)
    world.settle()
    assert world.kinds().count("benchmark") == 3, "another threshold does not mend it"
    world.commands = {"retry": "jobs/1"}
    world.settle()
    assert world.status.variants[1].benchmark.concurrency == 32
    assert world.status.variants[1].failure is None


def test_a_crashing_engine_ends_the_benchmark():
    world = benchmarked()
    for _ in range(200):
        world.tick()
        for job in world.running():
            if job.kind == "benchmark":
                world.change_job(job, engine_restarts=2)
            else:
                world.finish(job)
        for revision in world.replicas:
            world.ready(revision)
        world.accept()
        if world.status.rollout:
            break
    assert world.status.rollout
    assert world.status.variants[0].failure.reason == "Infeasible"
    assert world.verdicts()["int8"] == "PASS", "it was evaluated with that very engine"


def test_no_proven_variant_holds_the_slo():
    world = benchmarked(slo={"atConcurrency": 8, "itlP99": "1ms"})
    world.settle()
    assert world.status.phase == "Rejected"
    assert world.status.message.startswith("no proven variant is known to hold the SLO (int8 PASS")
    assert world.status.stable.variant == "baseline"
    world.edit(benchmark=SWEEP | {"slo": {"atConcurrency": 8, "itlP99": "45ms"}})
    world.settle()
    assert world.status.stable.variant == "gptq4"


def test_the_cheaper_variant_is_chosen_and_not_the_smaller():
    world = priced(benchmark=SWEEP)
    world.speeds |= {"int8": 4.0, "gptq4": 2.0}
    world.settle()
    int8, gptq4 = world.status.variants
    assert gptq4.weight_bytes < int8.weight_bytes
    assert int8.cost.per_million_output_tokens < gptq4.cost.per_million_output_tokens
    assert world.status.stable.variant == "int8"


def test_costs_name_a_missing_benchmark():
    world = priced(benchmark=SWEEP, economics={"requestsPerMonth": 1_000_000})
    world.until("Quantizing")
    found = world.status.baseline.cost
    assert (found.monthly, found.message) == (None, "not benchmarked yet")
    for _ in range(100):
        world.tick()
        job = world.job("benchmark")
        if job:
            world.fail(job, Reason.OUT_OF_MEMORY, "too small")
            world.tick()
            break
        world.works()
    assert world.status.baseline.cost.message == "no benchmark: too small"


# -- not worthwhile ----------------------------------------------------------------------------------------------------


def test_worthwhile_is_a_condition():
    world = priced()
    world.until("Quantizing")
    assert world.condition("Worthwhile")[:2] == ("Unknown", "Waiting")
    world.settle()
    assert world.condition("Worthwhile") == ("True", "Saves", "int8 saves 83.6%, gptq4 saves 83.6%")


def test_compression_that_is_not_worthwhile_is_said_and_blocks_nothing():
    world = priced(economics={"gpuHourlyCost": {A100: 3.0, T4: 3.0, L4: 1.0}})
    world.settle()
    status, reason, message = world.condition("Worthwhile")
    assert (status, reason) == ("False", "CompressionNotWorthwhile")
    assert message == "int8: it costs as much as the baseline; gptq4: it costs as much as the baseline"
    assert world.status.stable.variant == "gptq4"
    assert world.condition("Ready")[0] == "True"


def test_whether_it_is_worthwhile_is_unknown_without_prices_or_proof():
    world = World()
    world.settle()
    assert world.condition("Worthwhile")[:2] == ("Unknown", "CostUnknown")
    world = priced()
    world.prices = PRICES
    world.cells = {"int8": BAD, "gptq4": BAD}
    world.settle()
    assert world.condition("Worthwhile")[:2] == ("Unknown", "NoVariantProven")
