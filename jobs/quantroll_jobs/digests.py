"""SHA-256 of files, trees and JSON values; files are read as streams."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_tree(folder: Path, names: Iterable[str], known: Mapping[str, str] | None = None) -> str:
    """Hex digest over the sorted (relative name, sha256) of files, in the form that `sha256sum` prints.

    Files whose digest is `known` are not read again.
    """
    known = known or {}
    lines = "".join(f"{known.get(name) or sha256_file(folder / name)}  {name}\n" for name in sorted(names))
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256_json(value: Any) -> str:
    """Hex digest of a JSON value in canonical form: sorted keys, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
