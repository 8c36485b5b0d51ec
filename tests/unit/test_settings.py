"""The admin's file: what it may say, and errors that name file and field."""

import pytest
import yaml

from quantroll.api.spec import Backend, ScorerName
from quantroll.errors import ConfigurationError
from quantroll.settings import load

GOOD = {
    "images": {"client": "c:1", "quantize": "q:1"},
    "engines": {"vllm": {"image": "v:1", "args": ["--enforce-eager"], "shutdownTimeoutSeconds": 5}},
}

L4, DATED = {"usdPerHour": 0.805, "memoryGiB": 22.5}, {"asOf": "2026-05-31", "source": "list"}

COUNT = 'sum(increase(f_total{ns = $namespace, model=$name, r=$revision, host=~"a.*$"}[$window]))'


def counting(expression):
    return {**GOOD, "prometheus": {"queries": {"up": {"passed": COUNT, "total": expression}}}}


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "config.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def test_defaults(written):
    ours = load(written(GOOD))
    assert (ours.workers, ours.resync_seconds, ours.namespaces) == (8, 300, [])
    assert ours.images.pull_policy == "IfNotPresent"
    assert (ours.prometheus.url, ours.prometheus.timeout_seconds) == ("", 10)
    assert ours.engines["vllm"].device == "gpu"
    assert ours.engines["vllm"].shutdown_timeout_seconds == 5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "images: Field required"),
        ("- a\n- b\n", "(top level)"),
        ("a: [", "not YAML"),
        ({**GOOD, "worker": 3}, "worker: Extra inputs are not permitted"),
        ({**GOOD, "workers": 0}, "workers: Input should be greater than or equal to 1"),
        ({**GOOD, "resyncSeconds": 1}, "resyncSeconds"),
        ({**GOOD, "engines": {}}, "engines"),
        ({**GOOD, "engines": {"vllm": {"device": "gpu"}}}, "engines.vllm.image: Field required"),
        ({**GOOD, "engines": {"vllm": {"image": "v", "device": "tpu"}}}, "engines.vllm.device"),
        ({**GOOD, "engines": {"vllm": {"image": "v", "runAsUser": 0}}}, "engines.vllm.runAsUser"),
        ({**GOOD, "images": {"client": "", "quantize": "q"}}, "images.client"),
        ({**GOOD, "images": {"client": "c", "quantize": "q", "pullPolicy": "Sometimes"}}, "images.pullPolicy"),
        ({**GOOD, "prometheus": {"url": "prometheus:9090"}}, "prometheus.url"),
        ({**GOOD, "prometheus": {"url": "http://me:secret@prometheus:9090"}}, "prometheus.url"),
        ({**GOOD, "prometheus": {"url": "http://prometheus:9090/?tenant=a"}}, "prometheus.url"),
        ({**GOOD, "prometheus": {"timeoutSeconds": 0}}, "prometheus.timeoutSeconds"),
        ({**GOOD, "prometheus": {"adress": "http://prometheus:9090"}}, "prometheus.adress: Extra inputs"),
        ({**GOOD, "prometheus": {"queries": {"Up": {}}}}, "prometheus.queries.Up"),
        ({**GOOD, "prometheus": {"queries": {"up": {"passed": COUNT}}}}, "prometheus.queries.up.total: Field required"),
        (counting(COUNT.replace("r=$revision", "")), "$revision has to be in it: counts are of one revision"),
        (counting(COUNT.replace("[$window]", "[7d]")), "$window has to be in it"),
        (counting(COUNT.replace("$name,", "$model,")), "$model is no place: there are $namespace, $name, $revision"),
        (counting(COUNT.replace("$revision", '"$revision"')), "a whole value after =, without quotes of its own"),
        (counting(COUNT.replace("r=$", "r!=$")), "a whole value after ="),
        (counting(COUNT.replace("r=$", "r=~$")), "a whole value after ="),
        (counting(COUNT + " + $revision"), "a whole value after ="),
        (counting(COUNT + " " * 1000), "at most 1024 characters"),
        ({**GOOD, "prices": {"gpus": {"NVIDIA-L4": L4}}}, "prices: Value error, a price table needs asOf and source"),
        (
            {**GOOD, "prices": {**DATED, "gpus": {"NVIDIA-L4": {"usdPerHour": 1}}}},
            "NVIDIA-L4.memoryGiB: Field required",
        ),
        ({**GOOD, "prices": {**DATED, "gpus": {"NVIDIA-L4": L4 | {"usdPerHour": 0}}}}, "NVIDIA-L4.usdPerHour"),
        ({**GOOD, "prices": {**DATED, "asOf": "May 2026"}}, "prices.asOf"),
        ({**GOOD, "huggingFace": {"endpoint": "hub.example.com"}}, "huggingFace.endpoint: String should match"),
        ({**GOOD, "huggingFace": {"endpoint": "https://me:secret@hub.example.com"}}, "huggingFace.endpoint"),
    ],
)
def test_what_is_wrong_is_named(written, content, says):
    path = written(content)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)


def test_a_price_table_with_a_date_as_yaml_reads_it(written):
    text = (
        yaml.safe_dump(GOOD)
        + "prices: {asOf: 2026-05-31, source: list, gpus: {NVIDIA-L4: {usdPerHour: 1, memoryGiB: 22}}}"
    )
    prices = load(written(text)).prices
    assert (prices.as_of, prices.gpus["NVIDIA-L4"].memory_gib) == ("2026-05-31", 22)


@pytest.mark.parametrize("url", ["http://prometheus.monitoring.svc:9090", "https://thanos.test/prefix/"])
def test_addresses_of_a_prometheus(written, url):
    assert load(written({**GOOD, "prometheus": {"url": url}})).prometheus.url == url


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_a_backend_is_offered_when_it_has_an_image(written):
    ours = load(written(GOOD)).images
    assert ours.backends == {Backend.LLM_COMPRESSOR}
    ours = load(written({**GOOD, "images": {**GOOD["images"], "quantizeAutoAWQ": "a:1"}})).images
    assert ours.backends == set(Backend)
    assert [ours.of(backend) for backend in Backend] == ["q:1", "a:1"]


def test_lm_eval_is_offered_when_it_has_an_image(written):
    ours = load(written(GOOD)).images
    assert ours.scorers == set(ScorerName) - {ScorerName.LM_EVAL}
    ours = load(written({**GOOD, "images": {**GOOD["images"], "lmEval": "l:1"}})).images
    assert ours.scorers == set(ScorerName)
    assert (ours.judging(ScorerName.LM_EVAL), ours.judging(ScorerName.F1)) == ("l:1", ours.client)
