"""The one table: which columns have anything, what is missing and why."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from quantroll.report.arms import Arm
from quantroll.report.columns import COLUMNS, Cell, Column, Units

NOT_DROPPED = ("variant", "verdict")


@dataclass(frozen=True)
class Shown:
    """A cell as it is shown: its text or a dash, and the number of its footnote, from 1."""

    text: str
    note: int | None = None


@dataclass(frozen=True)
class Table:
    """What people are shown, and what programs get."""

    columns: list[Column]
    """Those that have a value in any row."""
    titles: list[str]
    rows: list[list[Shown]]
    notes: list[str]
    """Reasons of what is missing in these columns, in the order of their numbers."""
    left_out: list[str]
    """The columns without any value, with the reasons, a sentence each."""
    units: Units
    records: list[dict[str, Any]]
    """A record for each row: all columns, and under `missing` why one has no value."""


def table_of(arms: list[Arm], floor: float) -> Table:
    """The table of these arms."""
    units = Units.of(arms, floor)
    cells = {column.key: [column.make(arm, units) for arm in arms] for column in COLUMNS}
    kept = [c for c in COLUMNS if c.key in NOT_DROPPED or any(cell.text for cell in cells[c.key])]
    numbers: dict[str, int] = {}

    def shown(cell: Cell) -> Shown:
        if cell.text or not cell.missing:
            return Shown(cell.text)
        return Shown("-", numbers.setdefault(cell.missing, len(numbers) + 1))

    rows = [[shown(cells[column.key][at]) for column in kept] for at in range(len(arms))]
    dropped = [column for column in COLUMNS if column not in kept]
    return Table(
        columns=kept,
        titles=[column.title(units) for column in kept],
        rows=rows,
        notes=list(numbers),
        left_out=_left_out(dropped, cells, units),
        units=units,
        records=[_record(arms[at], {key: column[at] for key, column in cells.items()}) for at in range(len(arms))],
    )


def _left_out(dropped: list[Column], cells: dict[str, list[Cell]], units: Units) -> list[str]:
    """Neighbours that are empty for the same reasons share a sentence."""

    def reasons(column: Column) -> str:
        return "; ".join(dict.fromkeys(cell.missing for cell in cells[column.key] if cell.missing))

    together = [(why, ", ".join(column.title(units) for column in some)) for why, some in groupby(dropped, key=reasons)]
    return [f"{titles}: {why}" if why else titles for why, titles in together]


def _record(arm: Arm, cells: dict[str, Cell]) -> dict[str, Any]:
    values = {key: cell.value for key, cell in cells.items()}
    missing = {key: cell.missing for key, cell in cells.items() if cell.missing}
    currency = {"currency": arm.cost.currency} if arm.cost else {}
    return {**values, **currency, "revision": arm.revision, "message": arm.message, "missing": missing}
