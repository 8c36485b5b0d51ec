import json

import pytest

from quantroll.api.jobs import (
    EXIT_BAD_INPUT,
    EXIT_TRY_AGAIN,
    MESSAGE_LIMIT,
    REPORT_LIMIT,
    DataFacts,
    ModelFacts,
    PrepareResult,
    Report,
)
from quantroll.constants import Reason
from quantroll_jobs.errors import JobError
from quantroll_jobs.report import encode, failure_of, publish
from unit.jobs.handmade import KEY


def test_failures():
    report, code = failure_of(JobError(Reason.EVAL_SET_MISSING, "gone"), "prepare", KEY)
    assert code == EXIT_BAD_INPUT
    assert (report.reason, report.message, report.ok) == (Reason.EVAL_SET_MISSING, "gone", False)
    assert failure_of(JobError(Reason.ENGINE_FAILED, "gone", permanent=False), "evaluate", KEY)[1] == EXIT_TRY_AGAIN


@pytest.mark.parametrize("letter", ["a", "\n", "é", "漢", "😀", "\x01"])
def test_a_long_message_is_cut_and_the_json_is_not(letter):
    report, _ = failure_of(JobError(Reason.JOB_FAILED, letter * 10_000), "prepare", KEY)
    data = encode(report)
    assert len(data) <= REPORT_LIMIT
    read = Report.model_validate_json(data)
    assert read.message.endswith("…")
    assert len(read.message) <= MESSAGE_LIMIT
    assert len(read.message) > 300


def test_many_warnings():
    facts = ModelFacts(digest="d" * 64, weight_bytes=1, architecture="X" * 100, dtype="bfloat16")
    result = PrepareResult(model=facts, eval_set=DataFacts(sha256="s" * 64, items=1), warnings=["漢" * 512] * 8)
    data = encode(Report(kind="prepare", key=KEY, prepare=result))
    assert len(data) <= REPORT_LIMIT
    assert len(Report.model_validate_json(data).prepare.warnings) == 8


def test_published(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QUANTROLL_TERMINATION_LOG", str(tmp_path / "log"))
    publish(b'{"a":1}')
    assert json.loads((tmp_path / "log").read_text()) == {"a": 1}
    assert capsys.readouterr().out == '{"a":1}\n'


def test_no_termination_log_is_no_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QUANTROLL_TERMINATION_LOG", str(tmp_path / "no" / "log"))
    publish(b"{}")
    assert "cannot write" in capsys.readouterr().err
