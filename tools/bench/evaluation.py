"""The evaluate Job beside lm-eval, on one server and the same items: python -m bench.evaluation

Both run as processes, in turn, and who is first alternates. A first run of each is not timed: it warms up the engine
and the caches, and must find the same items right. Every later one must find as many right as the other, for a client
that measures something else is not faster. Ends with 1 when ours takes longer than GOAL times what lm-eval takes, or
when the two disagree.
"""

import argparse
import json
import platform
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median

from bench.clients import MAX_TOKENS, Client, LmEval, Ours, Run, Setting, logging_flag
from bench.jobs import serving
from bench.report import Figure, columns, machine, table
from bootstrap import cache, environments
from demo import data

FOLDER = cache.CHECKOUT / ".run" / "bench-eval"
GOAL = 1.0
NOTE = (
    "Wall time is that of the whole process, as a user waits for it: lm-eval reads the files of all its own tasks when"
    " it starts.\nAnswering is from the engine's first answer to the last, by the engine's log: what is left without"
    " start and end."
)
Pair = tuple[Run, Run]  # ours first, whoever ran first


class DisagreementError(Exception):
    """The two clients did not measure the same."""


def arguments(argv: list[str]) -> argparse.Namespace:
    ap = argparse.ArgumentParser(
        prog="bench.evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--items", type=int, default=2000, help="of the tiny model's eval set (default: %(default)s)")
    ap.add_argument("--rounds", type=int, default=3, help="timed runs of each (default: %(default)s)")
    ap.add_argument("--concurrency", type=int, default=16, help="requests at once (default: %(default)s)")
    ap.add_argument("--folder", type=Path, default=FOLDER, help="made anew; logs and figures (default: %(default)s)")
    args = ap.parse_args(argv)
    if min(args.items, args.concurrency) < 2 or args.rounds < 1:
        ap.error("--items and --concurrency must be 2 or more, --rounds 1 or more")
    return args


def agree(ours: Run, theirs: Run) -> None:
    """Raises DisagreementError that says where the two differ, item by item as far as both tell."""
    if (ours.items, ours.right) != (theirs.items, theirs.right):
        raise DisagreementError(
            f"ours found {ours.right} of {ours.items} items right, lm-eval {theirs.right} of {theirs.items}"
        )
    if ours.by_item is None or theirs.by_item is None:
        return
    keys = ours.by_item.keys() | theirs.by_item.keys()
    if differ := sorted(key for key in keys if ours.by_item.get(key) != theirs.by_item.get(key)):
        raise DisagreementError(f"the two differ about {len(differ)} items: {', '.join(differ[:10])}")


def rounds(ours: Client, theirs: Client, count: int) -> list[Pair]:
    """Timed runs, after one that is not. Raises DisagreementError."""
    found = []
    for number in range(count + 1):
        order = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        name = f"round {number} of {count}" if number else "warm-up"
        with cache.step(f"{name}: {order[0].name}, then {order[1].name}"):
            runs = {client.name: client.run(f"{number}", by_item=not number) for client in order}
        pair = (runs[ours.name], runs[theirs.name])
        agree(*pair)
        if number:
            found.append(pair)
    return found


def figures(pairs: Sequence[Pair]) -> list[Figure]:
    """Ours over lm-eval's, of the medians of all rounds."""

    def ratio(of: str) -> float:
        ours, theirs = (median([getattr(run, of) for run in runs]) for runs in zip(*pairs, strict=True))
        return float(ours / theirs)

    return [
        Figure("wall time, ours / lm-eval", ratio("wall"), "", GOAL),
        Figure("answering alone, ours / lm-eval", ratio("answering"), ""),
        Figure("the client's processor time, ours / lm-eval", ratio("processor"), ""),
    ]


def details(pairs: Iterable[Pair]) -> str:
    """Every round, in seconds."""
    measures = ("wall", "answering", "processor")
    head = ["round", *(f"{of} {who}" for of in measures for who in ("ours", "lm-eval", "ratio")), "right"]
    body = [[number, *_cells(pair, measures), pair[0].right] for number, pair in enumerate(pairs, 1)]
    return columns(head, body)


def _cells(pair: Pair, measures: Iterable[str]) -> list[str]:
    values = [(getattr(pair[0], of), getattr(pair[1], of)) for of in measures]
    return [cell for a, b in values for cell in (f"{a:.1f} s", f"{b:.1f} s", f"{a / b:.2f}")]


def document(args: argparse.Namespace, versions: dict[str, str], pairs: Sequence[Pair]) -> dict[str, object]:
    """For programs."""
    told = ("client", "wall", "answering", "processor", "items", "right")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions,
        "items": args.items,
        "concurrency": args.concurrency,
        "asking": {"temperature": 0, "max_tokens": MAX_TOKENS, "stop": []},
        "rounds": [[{name: getattr(run, name) for name in told} for run in pair] for pair in pairs],
        "figures": [{"name": f.name, "value": round(f.value, 4), "goal": f.goal, "met": f.met} for f in figures(pairs)],
    }


def measured(args: argparse.Namespace) -> tuple[dict[str, str], list[Pair]]:
    """The versions of what ran, and all timed rounds."""
    tiny, lm_eval, serve = data.folder(), environments.make("lm-eval"), environments.make("serve")
    items = args.folder / "items.jsonl"
    with (tiny / "eval.jsonl").open() as source:
        lines = list(islice(source, args.items))
    if len(lines) < args.items:
        raise SystemExit(f"--items: the eval set has {len(lines)}")
    items.write_text("".join(lines))
    with serving(str(serve), tiny / "model", args.folder / "engine.log", logging_flag(args.folder)) as engine:
        setting = Setting(args.folder, items, args.items, args.concurrency, engine)
        ours, theirs = Ours(setting, version("quantroll")), LmEval(setting, lm_eval)
        pairs = rounds(ours, theirs, args.rounds)
    clients = {client.name: client.version for client in (ours, theirs)}
    versions = {"python": platform.python_version(), **clients, "aiohttp": version("aiohttp")}
    return {**versions, "vllm": ours.engine_version}, pairs


def main(argv: list[str]) -> int:
    args = arguments(argv)
    args.folder = args.folder.resolve()  # it is written into lm-eval's task
    shutil.rmtree(args.folder, ignore_errors=True)
    args.folder.mkdir(parents=True)
    try:
        versions, pairs = measured(args)
    except DisagreementError as error:
        print(f"nothing was measured: {error}; see {args.folder}", file=sys.stderr)
        return 1
    found, path = document(args, versions, pairs), args.folder / "bench-eval.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n{args.items} items, {args.concurrency} at once; {found['machine']}\n{versions}\n")
    print(f"{details(pairs)}\n\n{table(figures(pairs), NOTE)}\n\n{path}")
    return 0 if figures(pairs)[0].met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
