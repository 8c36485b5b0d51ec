"""Values in which every field of a schema is set, and every bounded list is full."""

import re
from collections.abc import Callable
from typing import Any

from contract.manifests import Object


def filled(node: Object, text: str = "word") -> Any:
    """A value that keeps the schema; `text` stands wherever any text may."""
    if "enum" in node:
        return node["enum"][0]
    if node.get("x-kubernetes-int-or-string"):
        return "1"
    makers: dict[str, Callable[[Object, str], Any]] = {
        "object": _object,
        "array": _list,
        "string": _string,
        "boolean": lambda *_: True,
        "integer": lambda node, _: node.get("maximum", 1),
        "number": lambda node, _: node.get("maximum", 0.5),
    }
    return makers[node["type"]](node, text)


def _object(node: Object, text: str) -> Object:
    fields = {name: filled(child, text) for name, child in node.get("properties", {}).items()}
    return fields or {f"k{i}": filled(node["additionalProperties"], text) for i in range(4)}


def _list(node: Object, text: str) -> list[Any]:
    items = [filled(node["items"], text) for _ in range(node.get("maxItems", 1))]
    for key in node.get("x-kubernetes-list-map-keys", []):
        for i, item in enumerate(items):
            item[key] = f"{item[key]}{i}"
    return items


def _string(node: Object, text: str) -> str:
    if node.get("format") == "date-time":
        return "2026-02-03T04:05:06Z"
    text = text[: node.get("maxLength")]
    return text if re.search(node.get("pattern", ""), text) else "word"
