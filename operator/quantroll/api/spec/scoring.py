"""How answers are judged."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from quantroll.api.base import ApiModel, Rule


class ScorerName(StrEnum):
    """The scorers."""

    EXACT_MATCH = "ExactMatch"
    NUMERIC_TOLERANCE = "NumericTolerance"
    REGEX = "Regex"
    JSON_SCHEMA = "JSONSchema"
    F1 = "F1"
    MULTIPLE_CHOICE = "MultipleChoice"


class NumericTolerance(ApiModel):
    """How far the last number of an answer may be from the expected one: as far as the wider of the two says."""

    absolute: Annotated[float, Field(ge=0)] = 0
    """Largest difference."""
    relative: Annotated[float, Field(ge=0, le=1)] = 0
    """Largest difference, as a share of the expected number."""


class Regex(ApiModel):
    """What is taken out of an answer."""

    pattern: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1024),
        # a broken expression ends the rule with an error, which refuses the object, too
        Rule("''.matches(self) ? true : true", "must be a regular expression in RE2's syntax"),
    ]
    """Regular expression in RE2's syntax. Its first match is compared with the expected text; where it has groups, the
    first one in that match that is not empty."""


class JSONSchema(ApiModel):
    """What a JSON answer has to keep."""

    schema_text: Annotated[str, StringConstraints(min_length=2, max_length=8192), Field(alias="schema")]
    """The JSON Schema, as JSON text."""


class Scoring(ApiModel):
    """Settings of the scorers that are used."""

    numeric_tolerance: NumericTolerance | None = None
    """How near a number has to be, for NumericTolerance. Default: the same number."""
    regex: Regex | None = None
    """What is compared with the expected text, for Regex."""
    json_schema: JSONSchema | None = None
    """What answers have to keep, for JSONSchema."""
