"""The runbooks as data: `kubectl quantroll why` says what they say, and a new reason is known to it at once."""

import json
import re
from pathlib import Path

RUNBOOKS = Path(__file__).resolve().parents[3] / "docs" / "runbooks.md"

_SECTION = re.compile(r"^### (\w+)\n(.*?)(?=^##|\Z)", flags=re.MULTILINE | re.DOTALL)
_POINTS = {"do": "Do", "itself": "By itself"}
_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")


def render(page: str | None = None) -> str:
    """For each reason what it means; where something is wrong also what to do, and whether it goes away by itself."""
    found = {name: _parts(text) for name, text in _SECTION.findall(page or RUNBOOKS.read_text(encoding="utf-8"))}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _parts(section: str) -> dict[str, str]:
    meaning, _, rest = section.strip().partition("\n\n")
    points = {
        key: found[1]
        for key, title in _POINTS.items()
        if (found := re.search(rf"^- \*\*{title}:\*\* (.*?)(?=^- \*\*|\Z)", rest, flags=re.MULTILINE | re.DOTALL))
    }
    return {key: _plain(text) for key, text in {"means": meaning, **points}.items()}


def _plain(markdown: str) -> str:
    return " ".join(_LINK.sub(r"\1", markdown).split())
