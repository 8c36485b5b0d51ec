"""Memory and cost in the status: from what they follow, when they change, and why one is absent."""

import pytest

from quantroll.api.engine import EngineProfile
from quantroll.api.figures import BenchmarkFigures
from quantroll.api.jobs import ModelFacts
from quantroll.api.prices import PriceTable
from quantroll.api.shape import shape_of
from quantroll.api.spec import Dtype, Economics, Placement, Resources, Scheme, Serving, Variant
from quantroll.domain import pricing
from quantroll.domain.arms import Arm, Model, compared, cost_of, formula, memory_of
from quantroll.domain.figures import kv_width
from quantroll.domain.pricing import Hardware, UnknownPriceError
from unit.domain.test_footprint import LLAMA_8B
from unit.domain.world import World, spec_with

A100, T4, L4 = "NVIDIA-A100-SXM4-40GB", "Tesla-T4", "NVIDIA-L4"
PRICES = PriceTable.model_validate(
    {
        "asOf": "2026-05-31",
        "source": "list",
        "gpus": {
            A100: {"usdPerHour": 3.20, "memoryGiB": 40},
            T4: {"usdPerHour": 0.526, "memoryGiB": 15},
            L4: {"usdPerHour": 0.805, "memoryGiB": 22.5},
        },
    }
)


def serving(gpu=A100, count=1, **more):
    resources = Resources(limits={"nvidia.com/gpu": count}) if count else None
    selector = {"nvidia.com/gpu.product": gpu} if gpu else None
    return Serving(resources=resources, node_selector=selector, **more)


def model(config=LLAMA_8B, prices=PRICES, **economics):
    shape = shape_of(config) if config else None
    return Model(shape, 8_030_261_248, Dtype.BFLOAT16, 2, Economics(**economics), prices)


def benchmark(tokens=1000.0, requests=12.0, **more):
    measured = {"concurrency": 8, "output_tokens_per_second": tokens, "requests_per_second": requests, "seconds": 600}
    return BenchmarkFigures(key="k", **(measured | more))


def arm(gpu=A100, count=1, measured=None, jobs=(), weights=None, **more):
    return Arm(serving(gpu, count, **more), 16_060_522_496 if weights is None else weights, None, measured, jobs)


def test_what_a_pod_asks_for():
    asked = {"cpu": "500m", "memory": "1536Mi"}
    assert pricing.hardware_of(serving(L4, 4)) == Hardware(L4, 4)
    assert pricing.hardware_of(Placement(resources=Resources(limits={"nvidia.com/gpu": "2"}))) == Hardware("", 2)
    assert pricing.hardware_of(Placement(resources=Resources(limits={"cpu": 4}))) == Hardware("", 0, cpus=4)
    requests = Resources(requests=asked, limits={"cpu": 2, "memory": "3Gi"})
    assert pricing.hardware_of(Placement(resources=requests)) == Hardware("", 0, cpus=0.5, memory_gib=1.5)
    assert pricing.hardware_of(Placement()) == Hardware("", 0)


@pytest.mark.parametrize(
    ("gpus", "economics", "said"),
    [
        (Hardware("", 0), {}, "asks for no GPU: set .* or economics.cpuHourlyCost"),
        (Hardware("", 0, memory_gib=4), {"cpu_hourly_cost": 0.04}, "asks for neither GPU nor CPU: set"),
        (Hardware("", 1), {}, "which GPU it gets is open"),
        (Hardware("H300", 1), {}, "no price of H300"),
        (Hardware(T4, 1), {"currency": "EUR"}, "is in USD and economics.currency is EUR"),
    ],
)
def test_a_price_that_is_unknown_is_no_price(gpus, economics, said):
    with pytest.raises(UnknownPriceError, match=said):
        pricing.hourly(gpus, Economics(**economics), PRICES)


@pytest.mark.parametrize("device", ["amd.com/gpu", "nvidia.com/mig-1g.10gb"])
def test_another_device_is_not_priced_as_if_it_were_a_cpu(device):
    pod = pricing.hardware_of(Placement(resources=Resources(limits={device: 1, "cpu": 4})))
    with pytest.raises(UnknownPriceError, match=f"what {device} costs is not known"):
        pricing.hourly(pod, Economics(cpu_hourly_cost=0.04), PRICES)


def test_the_users_price_goes_before_the_admins():
    assert pricing.hourly(Hardware(T4, 2), Economics(), PRICES) == pytest.approx(1.052)
    assert pricing.hourly(Hardware(T4, 2), Economics(gpu_hourly_cost={T4: 0.3}, currency="EUR"), PRICES) == 0.6


def test_without_gpus_cpus_and_memory_are_priced():
    pod = Hardware("", 0, cpus=2, memory_gib=4)
    assert pricing.hourly(pod, Economics(cpu_hourly_cost=0.04, memory_hourly_cost=0.005), PRICES) == pytest.approx(0.1)
    assert pricing.hourly(pod, Economics(cpu_hourly_cost=0.04, currency="EUR"), PRICES) == pytest.approx(0.08)
    with_gpu = Hardware(T4, 1, cpus=2, memory_gib=4)
    assert pricing.hourly(with_gpu, Economics(cpu_hourly_cost=0.04), PRICES) == pytest.approx(0.526), "a GPU is all"


def on_cpus(cpus, measured=None, jobs=()):
    resources = Resources(requests={"cpu": cpus, "memory": "4Gi"})
    return Arm(Serving(resources=resources), 16_060_522_496, None, measured, jobs)


def test_a_saving_without_gpus():
    priced = model(cpu_hourly_cost=0.04, memory_hourly_cost=0.005, requests_per_month=52_560_000)  # 20 a second
    jobs = ((Hardware("", 0, cpus=1), 3600.0),)
    base, variant = on_cpus(8, benchmark(100, 5)), on_cpus(8, benchmark(200, 10), jobs)
    cost = cost_of(priced, base)
    found = compared(priced, variant, base, cost)
    assert (cost.hourly, cost.replicas, found.replicas) == (0.34, 8, 4)
    assert (found.saving, found.worthwhile) == (0.5, True)
    assert found.payback_days == pytest.approx(0.04 / (0.34 * 4 * 730 / 30.4), abs=0.05)
    same = compared(priced, base, base, cost)
    assert (same.saving, same.worthwhile) == (0, False)
    assert "as many replicas with the same hardware" in same.message
    more = compared(priced, on_cpus(8, base.benchmark, ((Hardware("", 0), 3600.0),)), base, cost)
    assert more.payback_days is None
    assert "no payback" not in more.message, "a Job that requests no CPU costs nothing here"
    halves = Arm(Serving(resources=Resources(requests={"cpu": 8, "memory": "2Gi"})), 16_060_522_496, None)
    less_memory = compared(
        model(cpu_hourly_cost=0.04), halves, on_cpus(8), cost_of(model(cpu_hourly_cost=0.04), on_cpus(8))
    )
    assert less_memory.message == "it costs as much as the baseline", "where memory has no price"
    fewer = model(cpu_hourly_cost=0.04, min_monthly_saving=10)
    found = compared(fewer, on_cpus(4), on_cpus(8), cost_of(fewer, on_cpus(8)))
    assert (found.monthly, found.saving, found.worthwhile) == (116.8, 0.5, True)


def test_published_move_from_an_a100_to_a_t4():
    base = arm(A100)
    cost = cost_of(model(), base)
    found = compared(model(), arm(T4), base, cost)
    assert (cost.monthly, found.monthly, found.monthly_saving) == (2336, 383.98, 1952.02)
    assert (found.saving, found.worthwhile, found.message) == (0.8356, True, "")
    assert (cost.saving, cost.worthwhile) == (None, None)


def test_cost_at_a_measured_load():
    found = cost_of(model(utilization=0.5), arm(A100, 2, benchmark(1000, 12)))
    assert found.hourly == 6.4
    assert found.per_million_output_tokens == pytest.approx(6.4 * 1e6 / 3600 / 1000 / 0.5, abs=1e-4)
    assert found.per_million_requests == pytest.approx(6.4 * 1e6 / 3600 / 12 / 0.5, abs=1e-4)
    assert found.replicas == 1


def test_replicas_follow_the_declared_demand():
    busy = model(requests_per_month=315_360_000)  # 120 a second
    base, variant = arm(A100, 1, benchmark(1000, 12)), arm(A100, 1, benchmark(3750, 45))
    cost = cost_of(busy, base)
    found = compared(busy, variant, base, cost)
    assert (cost.replicas, found.replicas) == (20, 6)
    assert found.measured_speedup == 3.75
    assert found.saving == pytest.approx(0.7)
    quiet = model(requests_per_month=1_000_000)
    found = compared(quiet, variant, base, cost_of(quiet, base))
    assert (found.replicas, found.saving, found.worthwhile) == (1, 0, False)
    assert "as many replicas with the same hardware" in found.message


def test_demand_without_a_benchmark_leaves_the_replicas_open():
    asked = model(requests_per_month=1_000_000)
    found = cost_of(asked, arm())
    assert (found.replicas, found.monthly) == (None, None)
    assert "before a benchmark" in found.message
    outside = cost_of(asked, arm(measured=BenchmarkFigures(key="k")))
    assert (outside.replicas, outside.per_million_output_tokens) == (None, None)
    assert "no load inside the SLO" in outside.message


def test_without_a_price_every_amount_is_absent():
    found = compared(model(), arm("H300", 1, benchmark()), arm(), cost_of(model(), arm()))
    assert (found.hourly, found.monthly, found.per_million_output_tokens, found.saving, found.worthwhile) == (None,) * 5
    assert "no price of H300" in found.message
    against_unknown = compared(model(), arm(T4), arm("H300"), cost_of(model(), arm("H300")))
    assert (against_unknown.monthly, against_unknown.saving) == (383.98, None)
    assert against_unknown.message.startswith("baseline: no cost: no price of H300")


def test_payback_counts_the_jobs_gpu_hours():
    jobs = ((Hardware(A100, 1), 3600.0), (Hardware("", 0), 10**6))  # a Job without a GPU costs nothing here
    base = arm(A100, jobs=((Hardware(A100, 2), 1800.0),))
    found = compared(model(), arm(T4, jobs=jobs), base, cost_of(model(), base))
    assert found.payback_days == pytest.approx(6.4 / (1952.02 / 30.4), abs=0.05)
    assert found.worthwhile
    slow = compared(model(), arm(T4, jobs=((Hardware(A100, 8), 3600.0 * 250),)), base, cost_of(model(), base))
    assert (slow.payback_days, slow.worthwhile) == (99.7, False)
    assert "paid for after 100 days" in slow.message


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ((Hardware(A100, 1), None), "how long a Job took"),
        ((Hardware("", 1), 60.0), "no payback: which GPU it gets is open"),
    ],
)
def test_a_payback_that_is_not_known(job, said):
    found = compared(model(), arm(T4, jobs=(job,)), arm(), cost_of(model(), arm()))
    assert (found.payback_days, found.worthwhile) == (None, True)
    assert said in found.message


def test_memory_of_an_arm():
    found = memory_of(model(), arm(A100, max_model_len=8192))
    assert found.formula_bytes == 16_060_522_496
    assert found.vram_bytes == round(16_060_522_496 * 1.2)
    assert found.kv_token_bytes == 131072
    assert found.kv_tokens == (int(0.9 * 40 * 2**30) - 16_060_522_496 - 2**30) // 131072
    assert found.concurrency == found.kv_tokens // 8192
    assert found.message == ""


def test_the_cheapest_gpus_that_hold_it_come_first():
    """19.3 GB: two T4 at 1.05, an A100 at 3.20, two L4 at 1.61; one L4 lends 20.25 GiB, which is 21.7 GB: 0.81."""
    assert memory_of(model(), arm()).fits_on == [L4, f"{T4}x2", A100]


def test_measured_bytes_go_before_the_formula():
    measured = Arm(serving(), 1, 10**10)
    assert memory_of(model(), measured).vram_bytes == 12 * 10**9


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (memory_of(model(), arm("H300")), "the memory of H300 is not known"),
        (memory_of(model(), arm("", 1)), "the memory of its GPU is not known"),
        (memory_of(model(), arm("", 0)), "no GPU is asked for"),
        (memory_of(model(config=None), arm()), "the KV cache of this architecture"),
    ],
)
def test_kv_tokens_that_are_not_known(found, said):
    assert (found.kv_tokens, found.concurrency) == (None, None)
    assert said in found.message


def test_what_does_not_fit_says_zero_tokens():
    assert memory_of(model(), arm(T4)).kv_tokens == 0


def test_prediction_is_for_the_same_kind_of_gpu():
    four = 5_700_000_000
    found = compared(model(), arm(weights=four), arm(), cost_of(model(), arm()))
    assert found.predicted_speedup == pytest.approx(15.009 / 4.649, abs=0.01)
    assert compared(model(), arm(T4, weights=four), arm(), cost_of(model(), arm())).predicted_speedup is None
    other = model(LLAMA_8B | {"model_type": "mixtral"})
    assert compared(other, arm(weights=four), arm(), cost_of(other, arm())).predicted_speedup is None, "experts"
    huge = model(LLAMA_8B | {"vocab_size": 10**8})
    assert compared(huge, arm(weights=four), arm(), cost_of(huge, arm())).predicted_speedup is None, "a wrong config"
    halves = arm(A100, 2, tensor_parallel_size=2)
    assert compared(model(), arm(weights=four), halves, cost_of(model(), halves)).predicted_speedup == pytest.approx(
        found.predicted_speedup / 2, abs=0.01
    )


def test_formula_of_an_architecture_that_is_only_counted():
    other = model(LLAMA_8B | {"model_type": "mixtral"})
    assert formula(other, None) == (16_060_522_496, "")
    four, said = formula(other, Variant(name="four", scheme=Scheme.W4A16))
    assert said == ""
    assert four == pytest.approx(formula(model(), Variant(name="four", scheme=Scheme.W4A16))[0], rel=0.001)
    kept = Variant(name="four", scheme=Scheme.W4A16, ignore=["re:.*gate"])
    assert formula(other, kept)[0] is None
    assert formula(model(config=None), None)[0] is None


@pytest.mark.parametrize(
    ("arguments", "width"),
    [([], 2), (["--kv-cache-dtype=fp8"], 1), (["--kv-cache-dtype", "fp8_e5m2"], 1), (["--kv-cache-dtype=auto"], 2)],
)
def test_width_of_the_kv_cache(arguments, width):
    assert kv_width(arguments, Dtype.BFLOAT16) == width


# -- in the status -----------------------------------------------------------------------------------------------------


def priced(**changes):
    """A world with GPUs, whose variants get by with a smaller one."""
    gpu = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    small = gpu | {"nodeSelector": {"nvidia.com/gpu.product": T4}}
    variants = [
        {"name": "int8", "scheme": "W8A8", "serving": small},
        {"name": "gptq4", "scheme": "W4A16", "serving": small},
    ]
    world = World(
        spec_with(
            variants=variants,
            serving={"replicas": 2} | gpu | {"nodeSelector": {"nvidia.com/gpu.product": A100}},
            **changes,
        )
    )
    world.engines = {"vllm": EngineProfile(image="example.com/vllm:1")}
    world.prices = PRICES
    facts = world.prepared.model.model_dump() | {"shape": shape_of(LLAMA_8B), "weight_bytes": 16_060_522_496}
    world.prepared = world.prepared.model_copy(update={"model": ModelFacts(**facts)})
    return world


def test_figures_stand_in_the_status_before_anything_is_made():
    world = priced()
    world.until("Quantizing")
    base, rows = world.status.baseline, world.status.variants
    assert base.memory.formula_bytes == 16_060_522_496
    assert base.cost.monthly == 2 * 2336
    assert [row.artifact for row in rows] == [None, None]
    assert rows[1].memory.formula_bytes < rows[0].memory.formula_bytes < base.memory.formula_bytes
    assert rows[0].memory.fits_on[0] == T4
    assert rows[0].cost.saving == 0.8356


def test_the_saving_of_what_serves_is_a_column():
    world = priced()
    world.settle()
    assert world.status.stable.variant != "baseline"
    assert world.status.stable.saving == "83.6%"


def test_an_edited_price_is_counted_at_once_and_starts_nothing():
    world = priced()
    world.settle()
    before = list(world.made)
    world.edit(economics={"gpuHourlyCost": {A100: 1.052}})
    world.tick()
    assert world.status.stable.saving == "50.0%"
    world.prices = PriceTable()
    world.tick()
    assert world.status.stable.saving == ""
    assert "no price of Tesla-T4" in world.status.variants[0].cost.message
    world.settle()
    assert world.made == before


def test_a_report_of_prepare_without_a_shape_still_parses():
    facts = {"digest": "a" * 64, "weightBytes": 1, "architecture": "LlamaForCausalLM", "dtype": "bfloat16"}
    assert ModelFacts.model_validate(facts).shape is None
    world = World()
    world.settle()
    memory = world.status.baseline.memory
    assert memory.formula_bytes is None
    assert "config.json lacks" in memory.message
