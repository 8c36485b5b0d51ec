"""The termination message: what a Job says to the operator."""

import os
import sys
from pathlib import Path

from quantroll.api.jobs import EXIT_BAD_INPUT, EXIT_TRY_AGAIN, MESSAGE_LIMIT, REPORT_LIMIT, PrepareResult, Report
from quantroll_jobs.errors import JobError

TERMINATION_LOG_VARIABLE = "QUANTROLL_TERMINATION_LOG"
DEFAULT_TERMINATION_LOG = "/dev/termination-log"
WARNING_LIMIT = 240  # characters of one warning


def cut(text: str, limit: int) -> str:
    """The text, shortened to `limit` characters, with a mark where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def failure_of(error: JobError, kind: str, key: str) -> tuple[Report, int]:
    """The report of a failure, and the exit code that tells Kubernetes whether to try again."""
    report = Report.model_validate(
        {"kind": kind, "key": key, "reason": error.reason, "message": cut(error.message, MESSAGE_LIMIT)}
    )
    return report, EXIT_BAD_INPUT if error.permanent else EXIT_TRY_AGAIN


def encode(report: Report) -> bytes:
    """JSON of at most `REPORT_LIMIT` bytes: texts are shortened, the JSON stays whole."""
    limit = MESSAGE_LIMIT
    while True:
        data = _shortened(report, limit).model_dump_json(by_alias=True, exclude_none=True).encode()
        if len(data) <= REPORT_LIMIT or limit < 2:
            return data
        limit //= 2


def _shortened(report: Report, limit: int) -> Report:
    changes: dict[str, str | PrepareResult] = {"message": cut(report.message, limit)}
    if report.prepare is not None:
        warnings = [cut(warning, min(limit, WARNING_LIMIT)) for warning in report.prepare.warnings]
        changes["prepare"] = report.prepare.model_copy(update={"warnings": warnings})
    return report.model_copy(update=changes)


def publish(data: bytes) -> None:
    """Write the termination message and say it on stdout, too."""
    print(data.decode(), flush=True)
    path = Path(os.environ.get(TERMINATION_LOG_VARIABLE, DEFAULT_TERMINATION_LOG))
    try:
        path.write_bytes(data)
    except OSError as error:
        print(f"cannot write the termination message: {error}", file=sys.stderr)
