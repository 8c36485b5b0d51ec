"""`quantroll estimate` from files alone: figures, what is not known, and what is wrong with the files."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from quantroll.cli.main import app
from unit.domain.test_footprint import LLAMA_8B, LLAMA_70B

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "llama-3.1-8b.yaml"
PRICES = {
    "asOf": "2026-05-31",
    "source": "list",
    "gpus": {
        "NVIDIA-L4": {"usdPerHour": 0.805, "memoryGiB": 22.5},
        "NVIDIA-A100-SXM4-80GB": {"usdPerHour": 2.5, "memoryGiB": 80},
        "Tesla-T4": {"usdPerHour": 0.526, "memoryGiB": 15},
    },
}


@pytest.fixture
def files(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


@pytest.fixture
def run(files):
    """Run on the example, with changes of its files; returns the finished command."""

    def go(*more, manifest=EXAMPLE, config=LLAMA_8B, prices=PRICES):
        arguments = ["estimate", "-f", str(manifest), "--config", files("config.json", config)]
        if prices:
            arguments += ["--prices", files("prices.yaml", prices)]
        return CliRunner().invoke(app, [*arguments, *more])

    return go


@pytest.fixture
def edited(files):
    def edit(**changes):
        document = yaml.safe_load(EXAMPLE.read_text())
        document["spec"] |= changes
        return files("edited.yaml", document)

    return edit


def found(result):
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    return {arm["name"]: arm for arm in document.pop("variants")}, document


def test_table_for_people(run):
    result = run()
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "VARIANT", "BITS", "WEIGHTS", "GB", "WITH", "20", "%", "GPUS", "FIT", "KV", "TOKENS", "AT", "ONCE", "SPEED*",
        "A", "MONTH", "SAVING",
    ]  # fmt: skip
    assert lines[1].split()[:4] == ["baseline", "16", "16.1", "19.3"]
    assert lines[4].split() == [
        "gptq4", "4", "5.70", "6.84", "1", "x", "NVIDIA-L4", "yes", "114,203", "13", "3.23",
        "1,175", "USD", "67.8%",
    ]  # fmt: skip
    assert "Tesla-T4                    no (needs 2)  yes" in result.stdout
    assert "1 prepare, 3 quantize, 4 evaluate, 4 benchmark; at most 1 GPUs each" in result.stdout
    assert "3 x NVIDIA-A100-SXM4-80GB, 2 x NVIDIA-L4" in result.stdout


def test_json_for_programs(run):
    arms, rest = found(run("-o", "json"))
    base, four = arms["baseline"], arms["gptq4"]
    assert (base["bits"], base["weightBytes"], base["fit"]) == (16, 16_060_522_496, "yes")
    assert base["memory"]["vramBytes"] == round(1.2 * 16_060_522_496)
    assert four["memory"]["kvTokenBytes"] == 131_072
    assert four["speedup"] == 3.23
    assert "predictedSpeedup" not in four["cost"], "it would not be on the same kind of GPU"
    assert four["cost"]["monthlySaving"] == 2474.7
    assert base["gpus"]["Tesla-T4"] == {"alone": "no", "needed": 2}
    assert rest == {
        "jobs": {"prepare": 1, "quantize": 3, "evaluate": 4, "benchmark": 4},
        "gpusOfOneJob": 1,
        "peakGpus": {"NVIDIA-A100-SXM4-80GB": 3, "NVIDIA-L4": 2},
    }


def test_70b_of_8_bits_is_tight_on_80_gib_and_of_4_bits_fits(run, edited):
    gpu = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    serving = {"resources": {"limits": {"nvidia.com/gpu": 1}}, "nodeSelector": gpu}
    arms, _ = found(run("-o", "json", manifest=edited(serving=serving), config=LLAMA_70B))
    assert [arms[name]["fit"] for name in ("baseline", "int8", "gptq4")] == ["no", "tight", "yes"]
    needed = [arms[name]["gpus"]["NVIDIA-A100-SXM4-80GB"]["needed"] for name in ("baseline", "int8", "gptq4")]
    assert needed == [4, 2, 1]
    text = run(manifest=edited(serving=serving), config=LLAMA_70B).stdout
    assert "Tesla-T4                    no (8 are too few)  no (8)" in text.replace(" (needs 8)", " (8)")


def test_without_prices_sizes_are_told_and_costs_are_not(run):
    arms, _ = found(run("-o", "json", prices=None))
    assert arms["int8"]["memory"]["formulaBytes"] == arms["int8"]["weightBytes"]
    assert not {"hourly", "monthly", "saving", "worthwhile"} & arms["int8"]["cost"].keys()
    assert "no price of NVIDIA-L4" in arms["int8"]["cost"]["message"]
    assert (arms["int8"]["fit"], arms["int8"]["gpus"]) == (None, {})
    text = run(prices=None).stdout
    assert "GPU (prices" not in text
    assert "int8: the memory of NVIDIA-L4 is not known" in text


def test_the_charts_values_serve_as_a_price_table(run):
    arms, _ = found(run("-o", "json", prices={"images": {}, "prices": PRICES}))
    assert arms["int8"]["cost"]["monthly"] == 1175.3


def test_an_architecture_without_a_formula_needs_its_number_of_parameters(run):
    config = LLAMA_8B | {"model_type": "mixtral"}
    arms, _ = found(run("-o", "json", config=config))
    assert arms["gptq4"]["weightBytes"] is None
    assert "architecture" in arms["gptq4"]["memory"]["message"]
    assert "gptq4     4     -" in run(config=config).stdout
    arms, _ = found(run("-o", "json", "--parameters", "8030261248", config=config))
    assert arms["gptq4"]["weightBytes"] == pytest.approx(5.70e9, rel=0.01)


def test_an_8_bit_kv_cache_holds_twice_as_much(run):
    plain, _ = found(run("-o", "json"))
    half, _ = found(run("-o", "json", "--kv-cache-dtype", "fp8"))
    assert half["int8"]["memory"]["kvTokens"] == pytest.approx(2 * plain["int8"]["memory"]["kvTokens"], abs=1)


@pytest.mark.parametrize(
    ("benchmark", "said"),
    [
        ({"concurrency": [1, 8]}, "how many replicas the demand needs is known after the benchmark"),
        (None, "replicas are not known before a benchmark: set spec.benchmark"),
    ],
)
def test_a_demand_needs_a_measured_rate(run, edited, benchmark, said):
    arms, _ = found(run("-o", "json", manifest=edited(benchmark=benchmark, economics={"requestsPerMonth": 5_000_000})))
    assert [arm["cost"].get("monthly") for arm in arms.values()] == [None] * len(arms)
    assert all(said in arm["cost"]["message"] for arm in arms.values())


def test_what_serves_beside_the_jobs_counts(run, edited):
    serving = {"replicas": 3, "resources": {"limits": {"nvidia.com/gpu": 2}}, "tensorParallelSize": 2}
    _, rest = found(run("-o", "json", manifest=edited(serving=serving, jobs={})))
    assert rest["gpusOfOneJob"] == 2
    assert rest["peakGpus"] == {"": 6, "NVIDIA-A100-SXM4-80GB": 8}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config", {**LLAMA_8B, "hidden_size": None}, "config.json has no hidden_size"),
        ("config", {**LLAMA_8B, "kv_lora_rank": 512}, "kv_lora_rank"),
        ("config", "[1]", "must hold one object"),
        ("config", "{", "not YAML"),
        ("prices", {"gpus": PRICES["gpus"]}, "asOf and source"),
        ("prices", {**PRICES, "gpu": {}}, "prices.gpu: Extra inputs"),
        ("prices", {**PRICES, "gpus": {"NVIDIA-L4": {"usdPerHour": -1, "memoryGiB": 1}}}, "NVIDIA-L4.usdPerHour"),
    ],
)
def test_a_wrong_file_is_named(run, file, content, said):
    result = run(**{file: content})
    assert result.exit_code == 64
    assert result.stdout == ""
    assert said in result.stderr
    assert f"{file}." in result.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("kind: Deployment", "must hold one QuantizedModel, and holds 0"),
        ("kind: QuantizedModel\n---\nkind: QuantizedModel", "holds 2"),
        ("kind: QuantizedModel", "spec: Input should be"),
        ("kind: QuantizedModel\nspec: {model: {source: pvc://a/b, dtype: int3}}", "spec.model.dtype"),
    ],
)
def test_a_wrong_manifest_is_named(run, files, content, said):
    result = run(manifest=files("manifest.yaml", content))
    assert result.exit_code == 64
    assert said in result.stderr
    assert "manifest.yaml" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["-f", "x"], ["--bogus"], ["-f", "x", "--config", "y", "-o", "xml"], ["-f", "no.yaml", "--config", "no.json"]],
)
def test_wrong_use_is_64(arguments):
    assert CliRunner().invoke(app, ["estimate", *arguments]).exit_code == 64


def test_a_manifest_without_variants_has_those_of_its_workload(run, files):
    document = yaml.safe_load(EXAMPLE.read_text())
    del document["spec"]["variants"]
    document["spec"]["workload"] = "Reasoning"
    arms, _ = found(run("-o", "json", manifest=files("edited.yaml", document)))
    assert list(arms) == ["baseline", "fp8", "int8"]
