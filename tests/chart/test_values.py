"""The chart's values: a typo is refused, and the schema knows what the operator knows."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from quantroll.api.engine import EngineProfile
from quantroll.api.prices import GpuPrice, PriceTable
from quantroll.api.queries import CountQuery
from quantroll.settings import Images, Prometheus, Settings

CHART = Path(__file__).resolve().parents[2] / "charts" / "quantroll"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def aliases(model):
    return {field.alias for field in model.model_fields.values()}


def objects(schema, path=""):
    """Every object with declared properties, by its place."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield path, schema
        for key, value in schema.items():
            yield from objects(value, f"{path}/{key}")


def test_chart_is_linted(helm):
    result = helm("lint", "--strict", CHART)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("namespace=x", "namespace"),
        ("engines.vllm.imagee=x", "imagee"),
        ("engines.vllm.device=tpu", "device"),
        ("engines.Bad_Name.image=x", "Bad_Name"),
        ("images.operator.digest=sha256:abc", "digest"),
        ("images.pullPolicy=Sometimes", "pullPolicy"),
        ("images.quantizeAutoAWQ.repo=x", "repo"),
        ("images.lmEval.repo=x", "repo"),
        ("huggingFace.endpoint=hub.example.com", "endpoint"),
        ("workers=0", "workers"),
        ("workers=many", "workers"),
        ("resyncSeconds=1", "resyncSeconds"),
        ("crds.kept=true", "kept"),
        ("namespaces[0]=Team_A", "namespaces"),
        ("prometheus.url=prometheus:9090", "/prometheus/url"),
        ("prometheus.url=http://me:secret@prometheus:9090", "/prometheus/url"),
        ("prometheus.adress=http://prometheus:9090", "adress"),
        ("prometheus.timeoutSeconds=0", "timeoutSeconds"),
        ("prometheus.bearerTokenSecret.key=../token", "/prometheus/bearerTokenSecret/key"),
        ("prometheus.queries.Thumbs.passed=x", "Thumbs"),
        ("prometheus.queries.thumbs.passed=x", "total"),
        ("prometheus.queries.thumbs.ratio=x", "ratio"),
        ("prometheus.queries.thumbs.total=up", "/prometheus/queries/thumbs/total"),
        ("prices.gpus.NVIDIA-L4.usdPerHour=0.8", "memoryGiB"),
        ("prices.gpus.NVIDIA-L4.usdPerHour=0", "usdPerHour"),
        ("prices.gpus.NVIDIA-L4.memory=24", "memory"),
        ("prices.asOf=yesterday", "/prices/asOf"),
        ("prices.date=2026-05-31", "date"),
        ("serviceAccount.create=false", "serviceAccount.name"),
    ],
)
def test_wrong_value_is_refused_by_name(helm, setting, message):
    result = helm("template", "quantroll", CHART, "--set", setting)
    assert result.returncode != 0
    assert message in result.stderr


COUNT = "sum(increase(f_total{ns=$namespace, model=$name, r=$revision}[$window]))"


def test_a_query_of_ones_own_reaches_the_operator(helm):
    table = json.dumps({"thumbs": {"passed": COUNT, "total": COUNT}})
    result = helm("template", "quantroll", CHART, "--set-json", f"prometheus.queries={table}")
    assert result.returncode == 0, result.stderr
    maps = [found for found in yaml.safe_load_all(result.stdout) if found["kind"] == "ConfigMap"]
    content = next(yaml.safe_load(one["data"]["config.yaml"]) for one in maps if "config.yaml" in one["data"])
    assert Settings.model_validate(content).prometheus.queries["thumbs"] == CountQuery(passed=COUNT, total=COUNT)


@pytest.mark.parametrize("place", ["$namespace", "$name,", "$revision", "$window"])
def test_a_query_that_does_not_say_what_it_counts_is_refused(helm, place):
    wrong = COUNT.replace(place, "x")
    table = json.dumps({"thumbs": {"passed": COUNT, "total": wrong}})
    result = helm("template", "quantroll", CHART, "--set-json", f"prometheus.queries={table}")
    assert result.returncode != 0
    assert "/prometheus/queries/thumbs/total" in result.stderr
    with pytest.raises(ValidationError):
        CountQuery(passed=COUNT, total=wrong)


def test_prices_without_a_date_are_refused(helm):
    table = 'prices.gpus={"NVIDIA-L4": {"usdPerHour": 0.805, "memoryGiB": 22.5}}'
    undated = helm("template", "quantroll", CHART, "--set-json", table)
    assert undated.returncode != 0
    assert "/prices" in undated.stderr
    day = "prices.asOf=2026-05-31,prices.source=list"
    dated = helm("template", "quantroll", CHART, "--set-json", table, "--set", day)
    assert dated.returncode == 0, dated.stderr


def test_schema_refuses_unknown_names_everywhere():
    open_ended = [path for path, schema in objects(SCHEMA) if schema.get("additionalProperties") is not False]
    assert [path for path in open_ended if not path.endswith(("/if", "/then"))] == []


def test_every_value_has_a_default_and_a_schema():
    assert set(VALUES) == set(SCHEMA["properties"]) - {"global"}
    for name, value in VALUES.items():
        properties = SCHEMA["properties"][name].get("properties")
        if properties:
            assert set(value) <= set(properties)


def test_schema_knows_the_operators_settings():
    assert set(SCHEMA["definitions"]["engine"]["properties"]) == aliases(EngineProfile)
    assert aliases(Images) <= set(SCHEMA["properties"]["images"]["properties"])
    assert aliases(CountQuery) == set(SCHEMA["definitions"]["countQuery"]["properties"])
    assert aliases(Prometheus) - {"caFile", "bearerTokenFile"} <= set(SCHEMA["properties"]["prometheus"]["properties"])
    assert aliases(GpuPrice) == set(SCHEMA["definitions"]["gpu"]["properties"])
    assert aliases(PriceTable) == set(SCHEMA["properties"]["prices"]["properties"])
    assert aliases(Settings) <= set(SCHEMA["properties"])


def test_written_out_defaults_are_the_operators():
    engine = dict(VALUES["engines"]["vllm"])
    assert EngineProfile.model_validate(engine) == EngineProfile(image=engine["image"])
    defaults = Settings.model_validate({"images": {"client": "c", "quantize": "q"}, "engines": {"vllm": engine}})
    assert VALUES["prometheus"]["url"] == defaults.prometheus.url
    assert VALUES["prometheus"]["timeoutSeconds"] == defaults.prometheus.timeout_seconds
    assert VALUES["prometheus"]["queries"] == defaults.prometheus.queries
    assert (VALUES["workers"], VALUES["resyncSeconds"]) == (defaults.workers, defaults.resync_seconds)
    assert VALUES["prices"] == defaults.prices.to_wire()
    assert VALUES["huggingFace"] == defaults.hugging_face.to_wire()
