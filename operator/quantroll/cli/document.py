"""A QuantizedModel from a file or from stdin."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from quantroll.errors import NotFound
from quantroll.report.subject import NotAQuantizedModel


def document(file: Path) -> Any:
    """The one document of a file; `-` is stdin. Raises NotFound and NotAQuantizedModel.

    JSON is read as JSON: as YAML its surrogate pairs would be broken.
    """
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}") from error
    try:
        return json.loads(content)
    except ValueError:
        pass
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError) as error:
        raise NotAQuantizedModel(f"{file} is neither YAML nor JSON: {error}") from error
