"""`python -m quantroll_jobs.probe`: asks as the environment variable QUANTROLL_PROBE says, until SIGTERM."""

import asyncio
import os
import sys

from pydantic import ValidationError

from quantroll.api.jobs import EXIT_BAD_INPUT, PROBE_VARIABLE, ProbeInput
from quantroll.constants import PROBE_PORT
from quantroll_jobs.errors import JobError
from quantroll_jobs.probe.exporter import Exporter
from quantroll_jobs.probe.prober import Prober
from quantroll_jobs.process import end_on_sigterm

PORT_VARIABLE = "QUANTROLL_PROBE_PORT"


def main() -> int:
    """Ask for ever; returns an exit code if the input is none."""
    end_on_sigterm()
    try:
        job = ProbeInput.model_validate_json(os.environ.get(PROBE_VARIABLE, ""))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        print(f"{PROBE_VARIABLE} does not fit the contract: {place}: {first['msg']}", file=sys.stderr)
        return EXIT_BAD_INPUT
    exporter = Exporter(job)
    try:
        prober = Prober(job, exporter)
    except JobError as error:
        print(error.message, file=sys.stderr)
        return EXIT_BAD_INPUT
    port = int(os.environ.get(PORT_VARIABLE, str(PROBE_PORT)))
    with exporter.serving(port, prober.is_alive) as served:
        revisions = " and ".join(target.revision for target in job.targets)
        print(f"asking {revisions} {job.items_per_hour} times an hour; metrics on port {served}", flush=True)
        asyncio.run(prober.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
