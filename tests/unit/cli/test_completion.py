"""The tab key: for kubectl, which runs a program beside the plugin, and for `quantroll` in three shells."""

import shutil
import subprocess
import tomllib

import pytest
from typer.testing import CliRunner

from quantroll.adapters import onlooker
from quantroll.cli import completion
from quantroll.cli.main import app
from quantroll.errors import ConfigurationError, Unreachable
from unit.cli.test_report_command import CHECKOUT
from unit.domain.world import spec_with, steady
from unit.standing import scenes


class FakeCluster:
    """Knows three models; notes how it was reached."""

    def __init__(self, document, error=None):
        self.document, self.error, self.reached = document, error, None

    def __call__(self, **how):
        self.reached = how
        if self.error:
            raise self.error
        return self

    def models(self):
        return ["ticket-triage", "tiny", "chat"]

    def model(self, _):
        return self.document


@pytest.fixture
def cluster(monkeypatch):
    fake = FakeCluster(scenes.document(steady(spec_with(rollout__rollback={"keepWarm": "24h"}))))
    monkeypatch.setattr(onlooker, "Onlooker", fake)
    return fake


@pytest.fixture
def offered(monkeypatch, capsys):
    """What kubectl is told after these words."""

    def ask(*words):
        monkeypatch.setattr("sys.argv", ["kubectl_complete-quantroll", *words])
        for name in ("_QUANTROLL_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
            monkeypatch.setenv(name, "")
        completion.for_kubectl()
        *found, directive = capsys.readouterr().out.splitlines()
        assert directive == ":4"
        return found

    return ask


def test_commands(offered):
    assert {"status", "why", "approve", "rollback", "report"} <= set(offered(""))
    assert set(offered()) == set(offered(""))
    assert offered("sta") == ["status"]
    assert offered("nothing-like-it") == []


def test_flags(offered):
    assert "--no-wait" in offered("abort", "tiny", "--")
    assert offered("status", "-o", "") == ["text", "json"]


def test_names_of_the_namespace_that_was_given(offered, cluster):
    assert offered("status", "t") == ["ticket-triage", "tiny"]
    assert offered("why", "-n", "support", "--context", "prod", "ch") == ["chat"]
    assert cluster.reached == {"namespace": "support", "context": "prod", "kubeconfig": None}
    assert offered("report", "") == ["chat", "ticket-triage", "tiny"]


def test_where_to_go_back_and_what_to_retry(offered, cluster):
    before = cluster.document["status"]["lastGood"][0]["revision"]
    assert offered("rollback", "tiny", "--to", "") == sorted(["baseline", before])
    cluster.document = scenes.document(scenes.aborted())
    assert offered("retry", "tiny", "") == ["gptq4"]


@pytest.mark.parametrize("error", [Unreachable("away"), ConfigurationError("none")])
def test_whatever_goes_wrong_offers_nothing(offered, cluster, error):
    cluster.error = error
    assert offered("status", "t") == []


def test_a_document_that_cannot_be_read_offers_nothing(offered, cluster):
    cluster.document = {"kind": "Pod"}
    assert offered("rollback", "tiny", "--to", "") == []


def test_kubectl_finds_the_program_beside_the_plugin():
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl_complete-quantroll"] == "quantroll.cli.completion:for_kubectl"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell):
    done = CliRunner().invoke(app, ["completion", shell])
    assert done.exit_code == 0
    assert "_QUANTROLL_COMPLETE" in done.stdout
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=done.stdout, text=True, check=True)


def test_a_shell_that_there_is_no_script_for():
    assert CliRunner().invoke(app, ["completion", "tcsh"]).exit_code == 64
