"""`python -m quantroll_jobs.items VARIANT BASELINE`: the items on which two finished evaluations differ, as JSON lines.

Both are folders of the artifact volume. A line has the item's id, its cell and both answers; the last line says how
many there are, so that a reader of the log sees when some of it was lost. Ends with 66 where a folder has no items.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantroll_jobs.store import ITEMS

NO_INPUT = 66  # sysexits' EX_NOINPUT
_RIGHT = "right"
_TOLD = ("outcome", "score", "answer", "finish_reason", "error")

Line = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Print the items; returns the exit code."""
    variant, baseline = (Path(folder) / ITEMS for folder in arguments)
    try:
        before = {_key(line): line for line in _lines(baseline)}
        count = 0
        for item in differing(before, _lines(variant)):
            count += 1
            print(json.dumps(item))
    except FileNotFoundError as error:
        print(json.dumps({"error": f"{error.filename} is not there: the evaluation was removed from the volume"}))
        return NO_INPUT
    except (OSError, ValueError, KeyError) as error:
        print(json.dumps({"error": f"cannot be read: {type(error).__name__}: {error}"}))
        return NO_INPUT
    print(json.dumps({"items": count}), flush=True)
    return 0


def differing(baseline: dict[tuple[str, int], Line], variant: Iterator[Line]) -> Iterator[Line]:
    """Items that one arm answered correctly and the other did not, and those that only one arm has."""
    left = set(baseline)
    for after in variant:
        key = _key(after)
        left.discard(key)
        before = baseline.get(key)
        if before is None:
            yield _told(key, "unpaired", None, after)
        elif (before["outcome"] == _RIGHT) != (after["outcome"] == _RIGHT):
            yield _told(key, "harm" if before["outcome"] == _RIGHT else "gain", before, after)
    for key in sorted(left):
        yield _told(key, "unpaired", baseline[key], None)


def _told(key: tuple[str, int], cell: str, before: Line | None, after: Line | None) -> Line:
    arms = {"baseline": before, "variant": after}
    shown = {name: line and {field: line[field] for field in _TOLD if line.get(field)} for name, line in arms.items()}
    return {"id": key[0], **({"repeat": key[1]} if key[1] else {}), "cell": cell, **shown}


def _key(line: Line) -> tuple[str, int]:
    """An item, and for the how-manieth time it was asked."""
    return line["id"], line.get("repeat", 0)


def _lines(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
