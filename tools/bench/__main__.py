"""Measure the operator with N resources beside its goals: python -m bench --n 1000

A real control plane without root; nodes, pods, volumes and gateways are played by KWOK. What the operator asks of the
API server is counted by the API server's audit log. Ends with 0 whatever the figures are, and otherwise when a
measurement could not be made.
"""

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable
from pathlib import Path

from bench import models
from bench.api import connected
from bench.measure import Bench
from bench.playground import Playground, playground
from bench.process import Operator
from bench.report import Figure, document, table
from bootstrap import cache

FOLDER = cache.CHECKOUT / ".run" / "bench"
PATIENCE = (3.0, 300.0)  # seconds: for each, of which two cores beside all the others do one in two; for few of them


def arguments(argv: list[str]) -> argparse.Namespace:
    ap = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--n", type=int, default=1000, help="resources (default: %(default)s)")
    ap.add_argument(
        "--idle", type=float, default=60, help="seconds of idleness that are measured (default: %(default)s)"
    )
    ap.add_argument("--edits", type=int, default=200, help="edits that are timed, at most one a resource")
    ap.add_argument(
        "--patience",
        type=float,
        help=f"seconds for all to get to Steady (default: {PATIENCE[0]} for each, at least {PATIENCE[1]})",
    )
    ap.add_argument("--folder", type=Path, default=FOLDER, help="made anew; logs and bench.json (default: %(default)s)")
    args = ap.parse_args(argv)
    if args.n < 1:
        ap.error("--n must be 1 or more")
    if args.patience is None:
        args.patience = max(PATIENCE[0] * args.n, PATIENCE[1])
    return args


async def measured(args: argparse.Namespace, place: Playground) -> list[Figure]:
    """All figures, in the order in which they are told."""
    async with connected(place.control.client) as api:
        await place.furnish(api, [*models.many(args.n), models.alone()])
        operator = Operator(args.folder, place.kubeconfig)
        bench = Bench(api, place, operator, args.patience)
        operator.start()
        tasks = [*bench.watches(), asyncio.create_task(_all(bench, args))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)  # a watch never ends well
            return [figure for task in done for figure in task.result() or ()]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            operator.stop()


async def _all(bench: Bench, args: argparse.Namespace) -> list[Figure]:
    """Told as they come, too: a measurement that cannot be made costs only those after it."""
    await bench.watching()
    found: list[Figure] = []

    async def note(what: str, measuring: Awaitable[list[Figure]]) -> None:
        with cache.step(what):
            figures = await measuring
        cache.say("; ".join(f"{figure.name.strip()}: {figure.told}" for figure in figures))
        found.extend(figures)

    await note("one rollout", bench.alone())
    await note(f"{args.n} at once", bench.many(args.n))
    await note(f"{args.n} to Steady", bench.settled())
    await note(f"idle for {args.idle:g} s", bench.idle(args.idle))
    await note("edits", bench.edits(min(args.edits, args.n)))
    await note("restart", bench.restart())
    return found


def main(argv: list[str]) -> int:
    args = arguments(argv)
    args.folder = args.folder.resolve()  # our processes have working directories of their own
    shutil.rmtree(args.folder, ignore_errors=True)
    with playground(args.folder) as place:
        figures = asyncio.run(measured(args, place))
    found = document(args.n, figures)
    (args.folder / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"\n{args.n} resources, {models.WHAT}; {found['machine']}\n\n{table(figures)}\n\n{args.folder / 'bench.json'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
