"""Commands: what is written, whom they wait for, and how they end."""

import copy
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from quantroll.adapters import onlooker
from quantroll.cli import steering
from quantroll.cli.main import app
from quantroll.errors import NotFound, Refused, Unreachable
from unit.domain.world import spec_with, steady
from unit.standing import scenes


class Operated:
    """A cluster whose operator answers so many looks after a command; None: never."""

    def __init__(self, world, answers_after=1):
        self.world, self.answers_after, self.namespace = world, answers_after, "ml"
        self.patches, self.looks, self.errors = [], None, []

    def __call__(self, **_):
        return self

    def model(self, _):
        if self.errors and (error := self.errors.pop(0)):
            raise error
        if self.looks is not None:
            self.looks += 1
            if self.answers_after is not None and self.looks >= self.answers_after:
                self.world.tick()
        return scenes.document(self.world)

    def change(self, _, patch):
        self.patches.append(patch)
        if "spec" in patch:
            self.world.edit(**patch["spec"])
        for key, value in patch.get("metadata", {}).get("annotations", {}).items():
            self.world.commands[key.removeprefix("quantroll.io/")] = value
        self.looks = 0
        return {"metadata": {"generation": self.world.generation}}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    passed = SimpleNamespace(seconds=0.0)

    def sleep(seconds):
        passed.seconds += seconds

    monkeypatch.setattr(steering, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: passed.seconds))
    return passed


@pytest.fixture
def operated(monkeypatch):
    def use(world, **more):
        fake = Operated(world, **more)
        monkeypatch.setattr(onlooker, "Onlooker", fake)
        return fake

    return use


def run(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def written(fake):
    [patch] = fake.patches
    [(key, value)] = patch["metadata"]["annotations"].items()
    return key, value


def test_an_approval_is_written_and_its_answer_is_told(operated, clock):
    fake = operated(scenes.until("AwaitingApproval", rollout__steps=scenes.STEPS), answers_after=4)
    done = run("approve", "tiny")
    assert (done.exit_code, done.stdout) == (0, "step 0 is approved\n")
    key, value = written(fake)
    assert key == "quantroll.io/approve"
    name, token = value.split("/")
    assert name == f"{fake.world.status.rollout.id}:0"
    assert len(token) == 8
    assert clock.seconds == 1.5


def test_two_approvals_have_two_tokens(operated):
    world = scenes.until("AwaitingApproval", rollout__steps=scenes.STEPS)
    values = set()
    for _ in range(2):
        fake = operated(copy.deepcopy(world))
        run("approve", "tiny")
        values.add(written(fake)[1])
    assert len(values) == 2


def test_what_the_operator_refuses_is_refused_in_its_words(operated):
    fake = operated(scenes.going_back())
    fake.world.status = fake.world.status.model_copy(update={"commands": []})
    done = run("abort", "tiny")
    assert done.exit_code == 1
    assert done.stderr == "refused: it is being taken back already\n"
    assert done.stdout == ""


def test_where_there_is_nothing_to_name_nothing_is_written(operated):
    fake = operated(steady())
    done = run("approve", "tiny")
    assert done.exit_code == 1
    assert done.stderr.startswith("not sent: nothing to approve: no step of a rollout is under way (phase Steady")
    assert fake.patches == []
    found = json.loads(run("abort", "tiny", "-o", "json").stdout)
    assert (found["verb"], found["answer"]) == ("abort", "not sent")


def test_an_operator_that_does_not_answer(operated, clock):
    fake = operated(scenes.until("Analyzing"), answers_after=None)
    done = run("abort", "tiny", "--timeout", "1m")
    assert done.exit_code == 2
    assert done.stderr.startswith("no answer: written, and no answer after 60 s; waited for: gptq4 has 10 %")
    assert len(fake.patches) == 1
    assert clock.seconds == 60


def test_a_server_that_is_away_for_a_moment_is_asked_again(operated):
    fake = operated(scenes.until("Analyzing"))
    fake.errors = [None, Unreachable("away"), Unreachable("away")]
    assert run("abort", "tiny").exit_code == 0


def test_a_server_that_stays_away(operated):
    fake = operated(scenes.until("Analyzing"))
    fake.errors = [None, *[Unreachable("away")] * 100]
    assert run("abort", "tiny", "--timeout", "5s").exit_code == 69


def test_without_waiting(operated, clock):
    fake = operated(scenes.until("Analyzing"), answers_after=None)
    done = run("abort", "tiny", "--no-wait")
    assert (done.exit_code, clock.seconds) == (0, 0)
    assert done.stdout == "written; the operator's answer is not waited for\n"
    assert len(fake.patches) == 1


@pytest.mark.parametrize("arguments", [["approve"], ["abort", "tiny", "--timeout", "soon"], ["retry", "a", "b", "c"]])
def test_wrong_use(operated, arguments):
    fake = operated(scenes.until("Analyzing"))
    assert run(*arguments).exit_code == 64
    assert fake.patches == []


@pytest.mark.parametrize(("error", "status"), [(NotFound("x"), 66), (Refused("x"), 77)])
@pytest.mark.parametrize("verb", ["abort", "suspend"])
def test_each_way_to_fail_has_its_status(operated, monkeypatch, verb, error, status):
    fake = operated(scenes.until("Analyzing"))

    def refuse(*_):
        raise error

    monkeypatch.setattr(fake, "change", refuse)
    assert run(verb, "tiny").exit_code == status


def test_a_retry_and_its_answer_for_programs(operated):
    fake = operated(scenes.aborted())
    name = fake.world.status.rejected[0].rollout
    done = run("retry", "tiny", "-o", "json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["verb"], found["answer"], found["message"]) == ("retry", "accepted", "the rejection is forgotten")
    assert found["value"] == written(fake)[1]
    assert found["value"].startswith(f"{name}/")


def test_a_retry_of_jobs_and_of_a_variant_by_name(operated):
    fake = operated(scenes.aborted(), answers_after=None)
    assert "status.rejected has no int8" in run("retry", "tiny", "int8").stderr
    assert "no Job has failed" in run("retry", "tiny", "--jobs").stderr
    run("retry", "tiny", "gptq4", "--no-wait")
    assert written(fake)[0] == "quantroll.io/retry"


def test_a_promotion_and_a_rollback_are_written(operated):
    fake = operated(scenes.until("Analyzing"))
    run("promote", "tiny", "--no-wait")
    assert written(fake)[0] == "quantroll.io/promote"
    fake = operated(steady(spec_with(rollout__rollback={"keepWarm": "24h"})))
    before = fake.world.status.last_good[0].revision
    run("rollback", "tiny", "--to", "baseline", "--no-wait")
    key, value = written(fake)
    assert key == "quantroll.io/rollback"
    assert value.startswith(f"{fake.world.status.stable.rollout}:{before}/")


def test_suspend_and_resume(operated):
    fake = operated(scenes.until("Analyzing"), answers_after=3)
    done = run("suspend", "tiny")
    assert (done.exit_code, done.stdout) == (0, "everything is held where it is\n")
    assert fake.patches == [{"spec": {"suspend": True}}]
    assert fake.world.status.suspended_at
    assert run("suspend", "tiny").exit_code == 0, "what is held already is held"
    done = run("resume", "tiny", "-o", "json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["answer"], found["value"]) == ("accepted", False)
    assert not fake.world.status.suspended_at


def test_a_suspension_that_is_not_seen(operated):
    operated(scenes.until("Analyzing"), answers_after=None)
    done = run("suspend", "tiny")
    assert done.exit_code == 2
    assert "waited for: the operator to see generation 2" in done.stderr
    operated(scenes.until("Analyzing"), answers_after=None)
    assert run("suspend", "tiny", "--no-wait").exit_code == 0
