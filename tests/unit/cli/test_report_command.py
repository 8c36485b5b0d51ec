"""`quantroll report`: where it reads from, what it writes, and how it ends."""

import json
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from quantroll.adapters import onlooker
from quantroll.cli.main import app
from quantroll.errors import ConfigurationError, NotFound, QuantrollError, Refused, Unreachable
from unit.report import documents

CHECKOUT = Path(__file__).resolve().parents[3]


def run(*arguments, **more):
    return CliRunner().invoke(app, ["report", *map(str, arguments)], **more)


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_a_file(tmp_path, write):
    file = tmp_path / "qm"
    file.write_text(write(documents.proven()))
    done = run("-f", file)
    assert done.exit_code == 0
    assert "gptq4 serves: the smallest of the proven" in done.stdout
    assert "\x1b" not in done.stdout


def test_stdin_and_letters_beyond_the_first_plane():
    document = documents.proven()
    document["status"]["message"] = "done 🙂"
    done = run("-f", "-", input=json.dumps(document))  # as JSON: a surrogate pair
    assert done.exit_code == 0
    assert "The operator says: done 🙂" in done.stdout


@pytest.mark.parametrize(
    ("output", "begins"),
    [("table", "tiny-llama (namespace demo): Steady"), ("md", "## tiny-llama"), ("json", "{\n"), ("html", "<!doctype")],
)
def test_what_it_is_written_as(tmp_path, output, begins):
    file = tmp_path / "qm.json"
    file.write_text(json.dumps(documents.proven()))
    done = run("-f", file, "-o", output)
    assert done.exit_code == 0
    assert done.stdout.startswith(begins)
    assert done.stdout.endswith("\n") or output == "html"


def test_a_manifest_that_was_never_applied_has_a_report_too():
    done = run("-f", CHECKOUT / "examples" / "tiny-llama.yaml")
    assert done.exit_code == 0
    assert "tiny-llama: not seen by the operator yet" in done.stdout
    assert "Nothing serves yet." in done.stdout


class FakeCluster:
    """A cluster with one model; notes how it was reached and the Job that it ran."""

    def __init__(self, model, log="", *, well=True, image="client:1"):
        self.found, self.log, self.well, self.image = model, log, well, image
        self.namespace, self.reached, self.jobs, self.asked = "support", None, [], []

    def __call__(self, **how):
        self.reached = how
        return self

    def model(self, name):
        self.asked.append(name)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def client_image(self, _):
        if isinstance(self.image, Exception):
            raise self.image
        return self.image

    def run(self, job, container, *, limit):
        self.jobs.append((job, container))
        return self.well, self.log


@pytest.fixture
def cluster(monkeypatch):
    def use(*arguments, **more):
        fake = FakeCluster(*arguments, **more)
        monkeypatch.setattr(onlooker, "Onlooker", fake)
        return fake

    return use


def test_by_name_with_kubectls_flags(cluster):
    fake = cluster(documents.costed())
    done = run("ticket-triage", "-n", "support", "--context", "prod", "--kubeconfig", "/k")
    assert done.exit_code == 0
    assert fake.asked == ["ticket-triage"]
    assert fake.reached == {"namespace": "support", "context": "prod", "kubeconfig": Path("/k")}


@pytest.mark.parametrize(
    ("error", "status"),
    [(NotFound, 66), (Unreachable, 69), (Refused, 77), (ConfigurationError, 78), (QuantrollError, 70)],
)
def test_each_way_to_fail_has_its_status_and_one_line(cluster, error, status):
    cluster(error("this\nand \x1b[2J that"))
    done = run("x")
    assert done.exit_code == status
    assert done.stderr == "error: this and �[2J that\n"
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x", "-f", "y"],
        ["-f", "y", "-n", "z"],
        ["-f", "y", "--context", "z"],
        ["-f", "y", "--items", "z"],
        ["x", "--image", "z"],
    ],
)
def test_wrong_use(arguments):
    assert run(*arguments).exit_code == 64


def test_output_has_to_be_one_of_four():
    done = run("x", "-o", "pdf")
    assert done.exit_code == 64
    assert "pdf" in done.stderr


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (None, 66, "cannot be read: No such file"),
        (b"", 65, "not an object"),
        (b"a: [", 65, "neither YAML nor JSON"),
        (b"\xff\xfe\xfd", 65, "neither YAML nor JSON"),
        (b"a: 1\n---\nb: 2\n", 65, "neither YAML nor JSON"),
        (b"kind: Pod\napiVersion: v1\n", 65, "is needed"),
        (b"kind: List\napiVersion: v1\nitems: []\n", 65, "give one object"),
        (b"kind: QuantizedModel\napiVersion: quantroll.io/v1alpha1\nmetadata: {name: x}\nspec: {}\n", 65, "model"),
    ],
)
def test_a_file_that_is_no_quantized_model(tmp_path, content, status, said):
    file = tmp_path / "qm"
    if content is not None:
        file.write_bytes(content)
    done = run("-f", file)
    assert done.exit_code == status
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_kubectl_finds_it_as_a_plugin():
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-quantroll"] == scripts["quantroll"]


def measured():
    document = documents.costed()
    for number, arm in enumerate((document["status"]["baseline"], *document["status"]["variants"])):
        arm["evaluation"]["key"] = f"{number}" * 64
    return document


ITEM = {"id": "q-7", "cell": "harm", "baseline": {"answer": "1"}, "variant": {"answer": "\x1b[2J"}}


def test_items_that_differ_are_printed_as_json_lines(cluster):
    fake = cluster(measured(), json.dumps(ITEM) + "\n" + json.dumps({"items": 1}) + "\n")
    done = run("ticket-triage", "--items", "awq4")
    assert done.exit_code == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [ITEM]
    assert "\x1b" not in done.stdout
    assert done.stderr == "1 items differ\n"
    [(job, container)] = fake.jobs
    [made] = job["spec"]["template"]["spec"]["containers"]
    assert made["name"] == container
    assert made["image"] == "client:1"
    assert made["command"][3:] == [f"/artifacts/evaluations/{digit * 64}" for digit in "30"]
    assert job["metadata"]["namespace"] == "support"


def test_an_image_of_ones_own(cluster):
    fake = cluster(measured(), '{"items": 0}', image=NotFound("no Deployment"))
    assert run("x", "--items", "awq4").exit_code == 70
    assert run("x", "--items", "awq4", "--image", "mine:1").exit_code == 0
    assert fake.jobs[0][0]["spec"]["template"]["spec"]["containers"][0]["image"] == "mine:1"


@pytest.mark.parametrize(
    ("log", "well", "status", "said"),
    [
        ('{"error": "items.jsonl is not there"}\n', False, 66, "items.jsonl is not there"),
        ("Traceback\nbang", False, 66, "bang"),
        ("", True, 66, "it said nothing"),
        ('{"items": 3}\n', True, 69, "3 items were printed and 0 arrived"),
    ],
)
def test_a_job_that_could_not_read_and_a_log_that_was_cut(cluster, log, well, status, said):
    cluster(measured(), log, well=well)
    done = run("x", "--items", "awq4")
    assert done.exit_code == status
    assert said in done.stderr
    assert done.stdout == ""


def test_items_need_a_variant_that_was_evaluated(cluster):
    document = measured()
    fake = cluster(document)
    assert "known: fp8, int8, awq4, gptq4-g32" in run("x", "--items", "none").stderr
    document["status"]["variants"][2]["evaluation"]["key"] = "../../$(HOME)"
    assert run("x", "--items", "awq4").exit_code == 65
    del document["status"]["variants"][2]["evaluation"]
    assert "awq4 is not evaluated" in run("x", "--items", "awq4").stderr
    del document["status"]["baseline"]
    assert "the baseline is not evaluated" in run("x", "--items", "fp8").stderr
    assert fake.jobs == []
