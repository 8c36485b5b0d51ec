"""`python -m quantroll_jobs`: runs the Job that the environment variable QUANTROLL_JOB describes.

Ends with 0 and a result, or with 65 (another try would end the same way) or 75 (it may not) and a reason.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quantroll.api.jobs import (
    EXIT_BAD_INPUT,
    INPUT_VARIABLE,
    JOB_INPUT,
    AnyJobInput,
    BenchmarkInput,
    ConfirmInput,
    PrepareInput,
    QuantizeInput,
    Report,
)
from quantroll.constants import Reason
from quantroll_jobs import store
from quantroll_jobs.errors import JobError, storage_full
from quantroll_jobs.process import end_on_sigterm
from quantroll_jobs.report import cut, encode, failure_of, publish


def main() -> int:
    """Run the Job; returns its exit code."""
    end_on_sigterm()
    text = os.environ.get(INPUT_VARIABLE, "")
    try:
        job = JOB_INPUT.validate_json(text)
    except ValidationError as error:
        return _refuse(text, error)
    try:
        report, code = execute(job), 0
    except JobError as error:
        if error.__cause__ is not None:
            traceback.print_exception(error)
        report, code = failure_of(error, job.kind, job.key)
    except Exception as error:  # noqa: BLE001 - whatever happens is reported
        traceback.print_exception(error)
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        full = storage_full(error) if isinstance(error, OSError) else None
        report, code = failure_of(full or JobError(Reason.JOB_FAILED, cause, permanent=False), job.kind, job.key)
    publish(encode(report))
    return code


def execute(job: AnyJobInput) -> Report:
    """The finished report of an earlier run with this key, or a new one.

    Prepare always looks anew: its key names where the data lie, and what lies there may have changed. An evaluation in
    which requests failed is taken up again, and asks what got no answer.
    """
    store.check_mounted(Path(job.store))
    earlier = None if isinstance(job, PrepareInput) else store.finished(job)
    if earlier is not None and not store.is_disturbed(earlier):
        print("found the finished result of an earlier run", flush=True)
        return earlier
    # each kind runs in an image that has only what that kind needs
    if isinstance(job, PrepareInput):
        from quantroll_jobs import prepare  # noqa: PLC0415 - not in every image

        return prepare.run(job)
    if isinstance(job, QuantizeInput):
        from quantroll_jobs import quantize  # noqa: PLC0415 - not in every image

        return quantize.run(job)
    if isinstance(job, ConfirmInput):
        from quantroll_jobs import confirm  # noqa: PLC0415 - not in every image

        return confirm.run(job)
    if isinstance(job, BenchmarkInput):
        from quantroll_jobs import benchmark  # noqa: PLC0415 - not in every image

        return benchmark.run(job)
    from quantroll_jobs import evaluate  # noqa: PLC0415 - not in every image

    return evaluate.run(job)


def _refuse(text: str, error: ValidationError) -> int:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = cut(f"{INPUT_VARIABLE} does not fit the contract: {place}: {first['msg']}", 512)
    print(message, file=sys.stderr)
    try:
        given: dict[str, Any] = json.loads(text)
        failure = JobError(Reason.JOB_FAILED, message)
        publish(encode(failure_of(failure, given["kind"], given["key"])[0]))
    except (ValueError, KeyError, TypeError):
        publish(message.encode())
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
