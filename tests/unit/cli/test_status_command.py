"""`quantroll status`, `why`, `history`: where they read from, what they write, how they end; and the watch."""

import json
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from quantroll.adapters import onlooker
from quantroll.cli import terminal, watching
from quantroll.cli.access import Place
from quantroll.cli.main import app
from quantroll.errors import NotFound, Refused, Unreachable
from unit.domain.world import World, steady
from unit.standing import scenes


def run(*arguments, **more):
    return CliRunner().invoke(app, [str(word) for word in arguments], **more)


class FakeCluster:
    """Gives the documents in turn, the last for ever; errors among them are raised."""

    def __init__(self, *documents, servers=None):
        self.documents, self.pods, self.namespace, self.reached = list(documents), servers, "ml", None

    def __call__(self, **how):
        self.reached = how
        return self

    def model(self, _):
        found = self.documents.pop(0) if len(self.documents) > 1 else self.documents[0]
        if isinstance(found, BaseException):
            raise found
        return found

    def servers(self, _):
        if isinstance(self.pods, Exception):
            raise self.pods
        return self.pods or {}


@pytest.fixture
def cluster(monkeypatch):
    def use(*documents, **more):
        fake = FakeCluster(*documents, **more)
        monkeypatch.setattr(onlooker, "Onlooker", fake)
        return fake

    return use


@pytest.fixture
def waiting():
    return scenes.document(scenes.until("AwaitingApproval", rollout__steps=scenes.STEPS))


def test_status_by_name_with_pods_and_kubectls_flags(cluster, waiting):
    revision = waiting["status"]["stable"]["revision"]
    fake = cluster(waiting, servers={revision: (1, 2)})
    done = run("status", "tiny", "-n", "ml", "--context", "prod")
    assert done.exit_code == 0
    assert fake.reached == {"namespace": "ml", "context": "prod", "kubeconfig": None}
    assert f"stable     baseline  {revision}  1/2 pods ready" in done.stdout
    assert "kubectl quantroll approve tiny -n ml --context prod" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("error", [Refused("no"), NotFound("no")])
def test_status_without_the_right_to_list_deployments(cluster, waiting, error):
    cluster(waiting, servers=error)
    done = run("status", "tiny")
    assert done.exit_code == 0
    assert "pods ready" not in done.stdout


@pytest.mark.parametrize("verb", ["status", "why", "history"])
def test_from_a_file_and_for_programs(verb, waiting):
    told = run(verb, "-f", "-", input=json.dumps(waiting))
    assert "AwaitingApproval" in told.stdout or "to approve gptq4" in told.stdout
    found = json.loads(run(verb, "-f", "-", "-o", "json", input=json.dumps(waiting)).stdout)
    if verb == "history":
        assert found[-1]["what"] == "AwaitingApproval"
    else:
        assert found["needsPerson"] is True
        assert found["waits"][0]["reason"] == "AwaitingApproval"
        assert found["waits"][0]["unblock"][0].endswith("kubectl quantroll approve tiny -n ml")
    if verb == "status":
        assert found["status"] == waiting["status"]
        assert [step["state"] for step in found["steps"]] == ["held", "planned", "planned"]
        assert found["pods"] is None


def test_pods_for_programs(cluster, waiting):
    cluster(waiting, servers={"r": (1, 2)})
    assert json.loads(run("status", "tiny", "-o", "json").stdout)["pods"] == {"r": {"ready": 1, "wanted": 2}}


def test_why_ends_by_whether_a_person_is_needed(waiting):
    assert run("why", "-f", "-", input=json.dumps(waiting)).exit_code == 1
    settled = scenes.document(steady())
    done = run("why", "-f", "-", input=json.dumps(settled))
    assert done.exit_code == 0
    assert done.stdout == "waits for nothing: gptq4 serves, recovery 0.956\n"
    assert run("why", "-f", "-", "-o", "json", input=json.dumps(settled)).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["why", "x", "-f", "y"],
        ["history", "-f", "y", "-n", "z"],
        ["status", "x", "--timeout", "5s"],
        ["status", "x", "--watch", "--timeout", "5"],
        ["status", "x", "--watch", "--timeout", ""],
        ["status", "-f", "x", "--watch"],
        ["status", "--watch"],
        ["status", "x", "--watch", "-o", "json"],
    ],
)
def test_wrong_use(cluster, waiting, arguments):
    cluster(waiting)
    assert run(*arguments).exit_code == 64


@pytest.mark.parametrize(("error", "status"), [(NotFound, 66), (Unreachable, 69), (Refused, 77)])
@pytest.mark.parametrize("arguments", [["status", "x"], ["status", "x", "-w"], ["why", "x"], ["history", "x"]])
def test_each_way_to_fail_has_its_status(cluster, error, status, arguments):
    cluster(error("be\x1b[2Jcause"))
    done = run(*arguments)
    assert done.exit_code == status
    assert done.stderr == "error: be�[2Jcause\n"


def test_no_colour_where_it_is_not_wanted(monkeypatch):
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True, encoding="utf-8"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal.style().coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.style().coloured
    assert terminal.is_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal.is_terminal()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: False, encoding="ascii"))
    assert terminal.style() == terminal.Style(width=None, coloured=False, ascii=True)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by waiting alone; whatever stands in `at` happens when it has waited so often."""
    passed = SimpleNamespace(seconds=0.0, waits=0, at={})

    def sleep(seconds):
        passed.seconds, passed.waits = passed.seconds + seconds, passed.waits + 1
        if error := passed.at.get(passed.waits):
            raise error

    fake = SimpleNamespace(sleep=sleep, monotonic=lambda: passed.seconds)
    monkeypatch.setattr(watching, "time", fake)
    return passed


def watched(fake, timeout=10):
    watching.watch(Place(fake, "tiny", ()), timedelta(seconds=timeout))


def test_a_watch_appends_what_is_new_and_ends_in_time(clock, capsys, waiting):
    fake = FakeCluster(waiting, waiting, scenes.document(scenes.aborted()))
    watched(fake)
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  \S", line) for line in lines)
    told = [line.split("  ", 1)[1] for line in lines]
    assert told[0].startswith("AwaitingApproval: gptq4 has passed 10 %")
    assert told[1] == "waits for a person to approve gptq4, which has passed 10 % (step 1 of 2)"
    assert "RolledBack: gptq4 was taken back: aborted by the annotation quantroll.io/abort" in told
    assert len(told) == len(set(told))
    assert clock.seconds == 10


def test_a_watch_that_breaks_is_taken_up_again(clock, capsys, waiting):
    away = Unreachable("connection \x1b refused")
    fake = FakeCluster(waiting, away, away, scenes.document(scenes.aborted()))
    watched(fake)
    out = capsys.readouterr().out
    assert out.count("trying again: connection � refused") == 1
    assert "RolledBack: " in out


def test_ctrl_c_ends_a_watch_well(clock, cluster, waiting):
    clock.at[3] = KeyboardInterrupt()
    cluster(waiting)
    done = run("status", "tiny", "--watch")
    assert done.exit_code == 0
    assert "Aborted" not in done.output


def test_a_watched_model_that_is_deleted_ends_the_watch(clock, cluster, waiting):
    cluster(waiting, NotFound("no QuantizedModel tiny"))
    done = run("status", "tiny", "--watch")
    assert done.exit_code == 66
    assert "no QuantizedModel tiny" in done.stderr


def test_a_terminal_is_redrawn_and_left_as_it_was(clock, capsys, monkeypatch, waiting):
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda: SimpleNamespace(columns=100, lines=10))
    watched(FakeCluster(waiting, Unreachable("it is away"), waiting), timeout=6)
    out = capsys.readouterr().out
    assert out.startswith("\x1b[?1049h")
    pictures = out.split("\x1b[H")[1:]
    assert len(pictures) == 4
    assert "as it was last seen; trying again: it is away" in pictures[1]
    assert all(picture.count("\n") == 9 for picture in pictures[:3])
    assert "more lines" in pictures[0]
    after = out.split("\x1b[?25h\x1b[?1049l")[1]
    assert "└─ " in after
    assert "\x1b[H" not in after


def test_the_screen_comes_back_when_something_breaks(capsys):
    with pytest.raises(RuntimeError), terminal.screen():
        raise RuntimeError
    assert capsys.readouterr().out.endswith("\x1b[?25h\x1b[?1049l")


def test_why_of_a_held_rollout_names_the_spec_and_no_window():
    world = World()
    world.until("Analyzing")
    world.edit(serving__engine="unheard-of")
    for _ in range(20):
        decided = world.tick()
        world.works()
        world.now = max(world.now, decided.wake_at or world.now)
    assert world.status.rollout.held_since
    told = run("why", "-f", "-", input=json.dumps(scenes.document(world))).stdout
    assert "no engine profile 'unheard-of' is installed" in told
    assert "window" not in told
