"""The verification record: what was verified, with what, and what came of it, in one file with a digest."""

import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from quantroll import __version__
from quantroll.api.jobs import EvaluateInput, EvaluateResult
from quantroll_jobs import store
from quantroll_jobs.digests import sha256_file

RECORD = "record.json"
NVIDIA = Path("/proc/driver/nvidia")
"""What the driver tells every process of its node, without a GPU of its own."""

_DRIVER = re.compile(r"Kernel Module(?: for \S+)?\s+([0-9]+(?:\.[0-9]+)+)")
_MODEL = re.compile(r"^Model:\s*(\S.*?)\s*$", re.MULTILINE)


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
            "gpu": gpu(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return sha256_file(path)


def gpu(folder: Path = NVIDIA) -> dict[str, str | list[str] | None] | None:
    """Version of NVIDIA's driver, and the kinds of GPU that the node has; None where it has no such driver."""
    try:
        told = (folder / "version").read_text(errors="replace")
    except OSError:
        return None
    version = _DRIVER.search(told)
    texts = [path.read_text(errors="replace") for path in sorted(folder.glob("gpus/*/information"))]
    models = {model[1] for text in texts if (model := _MODEL.search(text))}
    return {"driver": version[1] if version else None, "models": sorted(models)}
