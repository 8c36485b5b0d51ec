"""The report as text for terminals and as Markdown."""

import re
import unicodedata

from quantroll.report.findings import Finding
from quantroll.report.report import Report
from quantroll.report.table import Shown

_GAP = "  "
_INDENT = "    "
_BOLD, _END = "\033[1m", "\033[0m"
_COLOURS = {"PASS": "\033[32m", "FAIL": "\033[31m", "INCONCLUSIVE": "\033[33m", "ERROR": "\033[35m"}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~&])")
_LINKING = re.compile(r"(?i)(?<=https)://|(?<=http)://|(?<=ftp)://|(?<=www)\.|@")


def text(report: Report, *, width: int | None = None, styled: bool = False) -> str:
    """The report as plain text.

    A table that is wider than `width` columns is continued below, with the first column again; None: it may be as wide
    as it is. `styled`: with escape codes of a terminal.
    """
    table = report.table
    parts = [_bold(f"{report.title}: {report.phase}", styled=styled), report.basis]
    parts += [report.stale] if report.stale else []
    parts += ["\n".join(report.choice)] if report.choice else []
    parts.append(_text_table(report, width, styled=styled))
    notes = [f"[{number}] {note}" for number, note in enumerate(table.notes, 1)]
    notes += [f"left out, no value: {sentence}" for sentence in table.left_out]
    parts += ["\n".join(notes)] if notes else []
    parts += ["\n".join(_found(finding) for finding in report.findings)] if report.findings else []
    return "\n\n".join(parts) + "\n"


def _said(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def _found(finding: Finding) -> str:
    said = _said(finding.arm, finding.verdict, finding.message)
    return f"{said}\n{_INDENT}{finding.details}" if finding.details else said


def _text_table(report: Report, width: int | None, *, styled: bool) -> str:
    table = report.table
    grid = [[title.upper() for title in table.titles]]
    grid += [[_cell(cell) for cell in row] for row in table.rows]
    widths = [max(width_of(row[at]) for row in grid) for at in range(len(grid[0]))]

    def line(row: list[str], number: int, chosen: list[int]) -> str:
        cells = []
        for at in chosen:
            space = " " * (widths[at] - width_of(row[at]))
            shown = _painted(row[at], heading=number == 0) if styled else row[at]
            cells.append(space + shown if table.columns[at].numeric else shown + space)
        return _GAP.join(cells).rstrip()

    blocks = _blocks(widths, width)
    return "\n\n".join("\n".join(line(row, i, chosen) for i, row in enumerate(grid)) for chosen in blocks)


def _blocks(widths: list[int], limit: int | None) -> list[list[int]]:
    """Columns of each part of the table, at least one beside the first, which all of them have."""
    blocks, used = [[0]], widths[0]
    for at, width in enumerate(widths[1:], 1):
        if limit is not None and used + len(_GAP) + width > limit and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(at)
        used += len(_GAP) + width
    return blocks


def _cell(cell: Shown) -> str:
    return cell.text if cell.note is None else f"{cell.text}[{cell.note}]"


def width_of(string: str) -> int:
    """Columns of a terminal that it takes."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in string
    )


def _painted(string: str, *, heading: bool) -> str:
    if heading:
        return _bold(string, styled=True)
    return f"{_COLOURS[string]}{string}{_END}" if string in _COLOURS else string


def _bold(string: str, *, styled: bool) -> str:
    return f"{_BOLD}{string}{_END}" if styled else string


def markdown(report: Report) -> str:
    """The report as GitHub's Markdown; text of others is escaped, so that it is shown and does nothing."""
    table = report.table
    parts = [f"## {_escaped(report.title)}: {_escaped(report.phase)}", _escaped(report.basis)]
    parts += [f"**{_escaped(report.stale)}**"] if report.stale else []
    parts += ["\n".join(f"- {_escaped(sentence)}" for sentence in report.choice)] if report.choice else []
    rule = ["--:" if column.numeric else "---" for column in table.columns]
    body = [[_marked(cell) for cell in row] for row in table.rows]
    grid = [[_escaped(title) for title in table.titles], rule, *body]
    parts.append("\n".join(f"| {' | '.join(row)} |" for row in grid))
    notes = [f"{number}. {_escaped(note)}" for number, note in enumerate(table.notes, 1)]
    parts += ["\n".join(notes)] if notes else []
    parts += [f"Left out, no value: {_escaped('. '.join(table.left_out))}"] if table.left_out else []
    told = [(one.arm, _said(one.verdict, f"{one.message} {one.details}".strip())) for one in report.findings]
    found = [f"- **{_escaped(arm)}** {_escaped(said)}" for arm, said in told]
    parts += ["\n".join(found)] if found else []
    return "\n\n".join(parts) + "\n"


def _marked(cell: Shown) -> str:
    return _escaped(cell.text) if cell.note is None else f"{cell.text} <sup>{cell.note}</sup>"


def _escaped(string: str) -> str:
    """Nothing in it is markup; what GitHub turns into links and mentions by itself is told by entities."""
    shown = _MARKDOWN.sub(r"\\\1", string)
    return _LINKING.sub(lambda found: "".join(f"&#{ord(sign)};" for sign in found[0]), shown)
