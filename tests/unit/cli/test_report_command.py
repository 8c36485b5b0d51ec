"""`quantroll report`: where it reads from, what it writes, and how it ends."""

import json
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from quantroll.adapters import onlooker
from quantroll.cli.main import app
from quantroll.errors import ConfigurationError, NotFound, Refused, Unreachable
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


def test_by_name_with_kubectls_flags(monkeypatch):
    asked = []

    def answer(name, **more):
        asked.append((name, more))
        return documents.costed()

    monkeypatch.setattr(onlooker, "read", answer)
    done = run("ticket-triage", "-n", "support", "--context", "prod", "--kubeconfig", "/k")
    assert done.exit_code == 0
    assert asked == [("ticket-triage", {"namespace": "support", "context": "prod", "kubeconfig": Path("/k")})]


@pytest.mark.parametrize(
    ("error", "status"),
    [(NotFound, 66), (Unreachable, 69), (Refused, 77), (ConfigurationError, 78)],
)
def test_each_way_to_fail_has_its_status_and_one_line(monkeypatch, error, status):
    def fail(*_, **__):
        raise error("this\nand \x1b[2J that")

    monkeypatch.setattr(onlooker, "read", fail)
    done = run("x")
    assert done.exit_code == status
    assert done.stderr == "error: this and �[2J that\n"
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["x", "-f", "y"], ["-f", "y", "-n", "z"], ["-f", "y", "--context", "z"]])
def test_wrong_use(arguments):
    assert run(*arguments).exit_code == 64


def test_output_has_to_be_one_of_four():
    done = run("x", "-o", "pdf")
    assert done.exit_code != 0
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
