import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import quantroll
import quantroll_jobs
from quantroll.api.jobs import (
    EXIT_BAD_INPUT,
    EXIT_TRY_AGAIN,
    DataFile,
    EvaluateInput,
    EvaluateResult,
    PrepareInput,
    Report,
)
from quantroll.constants import Reason
from quantroll_jobs import __main__ as entry
from quantroll_jobs import store
from quantroll_jobs.digests import sha256_file
from unit.jobs.fake_engine import FakeEngine
from unit.jobs.handmade import KEY, item, write_lines, write_model

ROOTS = [str(Path(module.__file__).parents[1]) for module in (quantroll, quantroll_jobs)]


@pytest.fixture
def start(tmp_path):
    """Start the Job as the pod does."""

    def start(text):
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(ROOTS),
            "QUANTROLL_JOB": text,
            "QUANTROLL_TERMINATION_LOG": str(tmp_path / "log"),
        }
        command = [sys.executable, "-m", "quantroll_jobs"]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )

    return start


@pytest.fixture
def job(tmp_path):
    (tmp_path / "store").mkdir()
    write_model(tmp_path / "model")
    write_lines(tmp_path / "eval.jsonl", item(1))
    return PrepareInput(
        key=KEY,
        store=str(tmp_path / "store"),
        model_path=str(tmp_path / "model"),
        dtype="bfloat16",
        eval_set=DataFile(path=str(tmp_path / "eval.jsonl")),
    )


def _report(tmp_path):
    return Report.model_validate_json((tmp_path / "log").read_bytes())


def test_prepare_looks_anew_at_data_that_changed_under_the_same_name(start, job, tmp_path):
    process = start(job.model_dump_json(by_alias=True))
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.splitlines()[-1] == (tmp_path / "log").read_text()
    first = _report(tmp_path)
    with (tmp_path / "eval.jsonl").open("a") as file:
        file.write('{"id": "one-more", "prompt": "one more question?", "expected": "yes"}\n')
    again = start(job.model_dump_json(by_alias=True))
    again.communicate(timeout=30)
    assert again.returncode == 0
    second = _report(tmp_path)
    assert second.prepare.eval_set.items == first.prepare.eval_set.items + 1
    assert second.prepare.eval_set.sha256 != first.prepare.eval_set.sha256
    assert store.finished(job) == second


@pytest.mark.parametrize(
    ("number", "reason", "code"),
    [
        (errno.ENOSPC, Reason.STORAGE_FULL, EXIT_BAD_INPUT),
        (errno.EDQUOT, Reason.STORAGE_FULL, EXIT_BAD_INPUT),
        (errno.EIO, Reason.JOB_FAILED, EXIT_TRY_AGAIN),
    ],
)
def test_a_volume_that_is_full_is_told_from_one_that_is_broken(job, tmp_path, monkeypatch, number, reason, code):
    def fails(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(entry, "end_on_sigterm", lambda: None)
    monkeypatch.setattr(entry, "execute", fails)
    monkeypatch.setenv("QUANTROLL_JOB", job.model_dump_json(by_alias=True))
    monkeypatch.setenv("QUANTROLL_TERMINATION_LOG", str(tmp_path / "log"))
    assert entry.main() == code
    assert _report(tmp_path).reason is reason


def test_a_finished_evaluation_is_reported_again_without_an_engine(start, job, tmp_path):
    evaluate = EvaluateInput(
        key="e" * 64,
        store=job.store,
        eval_set=job.eval_set,
        scorer="ExactMatch",
        temperature=0,
        max_tokens=1,
        endpoint="http://127.0.0.1:1",
        served_model="none",
        concurrency=1,
        ready_timeout_seconds=1,
    )
    result = EvaluateResult(items=2, correct=1, errors=0, truncated=0, prompts_digest="p")
    report = Report(kind="evaluate", key=evaluate.key, evaluate=result)
    store.commit(store.resumable(evaluate), evaluate, report)
    process = start(evaluate.model_dump_json(by_alias=True))
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "found the finished result" in out
    assert _report(tmp_path) == report


def test_bad_input_of_the_user(start, job, tmp_path):
    (tmp_path / "eval.jsonl").unlink()
    process = start(job.model_dump_json(by_alias=True))
    _, error = process.communicate(timeout=30)
    assert process.returncode == EXIT_BAD_INPUT
    assert _report(tmp_path).reason is Reason.EVAL_SET_MISSING
    assert error == ""


def test_something_unforeseen(job, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QUANTROLL_JOB", job.model_dump_json(by_alias=True))
    monkeypatch.setenv("QUANTROLL_TERMINATION_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(entry, "end_on_sigterm", lambda: None)

    def fail(_):
        raise OSError(5, "Input/output\nerror")

    monkeypatch.setattr(entry, "execute", fail)
    assert entry.main() == EXIT_TRY_AGAIN
    report = _report(tmp_path)
    assert report.reason is Reason.JOB_FAILED
    assert report.message == "OSError: [Errno 5] Input/output error"
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "dance"}', '{"kind": "prepare", "key": "short"}'])
def test_not_a_job(start, tmp_path, text):
    process = start(text)
    _, error = process.communicate(timeout=30)
    assert process.returncode == EXIT_BAD_INPUT
    assert "QUANTROLL_JOB does not fit the contract" in error
    assert "QUANTROLL_JOB does not fit the contract" in (tmp_path / "log").read_text()


def test_a_newer_contract_is_refused_with_a_report(start, job, tmp_path):
    process = start(json.dumps(job.to_wire() | {"contract": 2}))
    process.communicate(timeout=30)
    assert process.returncode == EXIT_BAD_INPUT
    report = _report(tmp_path)
    assert (report.key, report.reason) == (KEY, Reason.JOB_FAILED)
    assert "prepare.contract" in report.message


def test_sigterm_ends_it_at_once(start, job, tmp_path):
    with FakeEngine().serving() as engine:
        engine.health = 503
        waiting = {
            "kind": "evaluate",
            "key": KEY,
            "store": job.store,
            "evalSet": {"path": job.eval_set.path, "sha256": sha256_file(Path(job.eval_set.path))},
            "scorer": "ExactMatch",
            "temperature": 0,
            "maxTokens": 8,
            "endpoint": engine.url,
            "servedModel": "m",
            "concurrency": 1,
            "readyTimeoutSeconds": 300,
        }
        process = start(json.dumps(waiting))
        deadline = time.monotonic() + 30
        while not list(Path(job.store).glob("evaluations/*.tmp-answers/items.jsonl.partial")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=5)
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(Path(job.store).glob(f"evaluations/{KEY}"))
