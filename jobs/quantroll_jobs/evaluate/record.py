"""The verification record: what was verified, with what, and what came of it, in one file with a digest."""

import platform
from datetime import UTC, datetime
from pathlib import Path

from quantroll import __version__
from quantroll.api.jobs import EvaluateInput, EvaluateResult
from quantroll_jobs import store
from quantroll_jobs.digests import sha256_file

RECORD = "record.json"


def write(folder: Path, job: EvaluateInput, result: EvaluateResult) -> str:
    """Write the record beside the answers; its sha256.

    The verdict is no part of it: it is computed from these counts, anew whenever a threshold changes.
    """
    given = job.to_wire()
    subject = given.pop("subject", None)
    path = folder / RECORD
    store.write_json(
        path,
        {
            "version": 1,
            "subject": subject,
            "questions": given,
            "counts": result.to_wire(),
            "answers": {"file": store.ITEMS, "sha256": sha256_file(folder / store.ITEMS)},
            "client": {"version": __version__, "python": platform.python_version(), "machine": platform.machine()},
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return sha256_file(path)
