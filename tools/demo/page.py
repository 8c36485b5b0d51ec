"""The last page of the demo: what was tried, what was proven, what serves."""

from typing import Any

Object = dict[str, Any]

COLUMNS = (
    ("VARIANT", "name"), ("BITS", "bits"), ("WEIGHTS", "weightBytes"), ("SIZE", "sizeRatio"), ("SCORE", "score"),
    ("RECOVERY", "recovery"), ("LOWER BOUND", "lowerBound"), ("FLIPS", "flips"), ("VERDICT", "verdict"),
)  # fmt: skip


def table(rows: list[list[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def variants(status: Object) -> str:
    """The table of variants, with the baseline on top."""
    base = status.get("baseline", {})
    first = {"name": "baseline", "bits": 16, "weightBytes": base.get("weightBytes"), "sizeRatio": 1.0,
             "score": base.get("score"), "verdict": "(reference)"}  # fmt: skip
    rows = [[title for title, _ in COLUMNS]]
    rows += [[_text(row.get(key)) for _, key in COLUMNS] for row in (first, *status.get("variants", []))]
    return table(rows)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def reasons(status: Object) -> str:
    """Each verdict with its numbers, in words."""
    return "\n".join(f"{row['name']}: {row.get('message', '')}" for row in status.get("variants", []))


def choice(status: Object) -> str:
    """What serves, and why that."""
    stable = status.get("stable", {})
    proven = [row for row in status.get("variants", []) if row.get("verdict") == "PASS"]
    sizes = ", ".join(f"{row['name']} {row['weightBytes']:,} bytes" for row in proven)
    return f"serves: {stable.get('variant')} (revision {stable.get('revision')}), the smallest of the proven: {sizes}"


def drift(status: Object) -> str:
    """What the drift check found, and what came of it."""
    found, serves = status.get("drift", {}), status.get("stable", {})
    rejected = [f"{entry['variant']} (revision {entry['revision']}): {entry['reason']}" for entry in status["rejected"]]
    return (
        f"drift check: {found.get('verdict')}, {found.get('value')} of {found.get('samples')} items right, floor"
        f" {found.get('floor')}\nserves: {serves.get('variant')} (revision {serves.get('revision')})\n"
        f"not tried again by itself: {', '.join(rejected)}"
    )
