"""What all models of the API share: one configuration, and constraints that hold in Python and in the API server."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

VALIDATIONS = "x-kubernetes-validations"


class ApiModel(BaseModel):
    """An immutable part of a manifest: camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """The object as JSON values, without what is null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules of an object, as (expression, message), for `json_schema_extra`; only the API server enforces them."""
    return {VALIDATIONS: [{"rule": rule, "message": message} for rule, message in pairs]}


UNSET: dict[str, Any] = {"default": None}
"""`json_schema_extra` of a field whose default the API server does not fill in, because it depends on other fields."""


@dataclass(frozen=True)
class Rule:
    """A CEL rule of one field, as metadata in `Annotated`; only the API server enforces it.

    Unlike `json_schema_extra`, several of them add up.
    """

    rule: str
    message: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with this rule behind those that are there already."""
        schema = handler(core)
        return {**schema, VALIDATIONS: [*schema.get(VALIDATIONS, []), {"rule": self.rule, "message": self.message}]}


@dataclass(frozen=True)
class Matches:
    """A form that the whole string has, in the syntax that RE2 and Python share, with a message for people.

    Python checks it too. In the CRD it is a CEL rule, because the message of a schema's `pattern` is the pattern.
    """

    pattern: str
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate after the string's own constraints."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with the form as a CEL rule."""
        literal = self.pattern.replace("\\", "\\\\").replace("'", "\\'")
        return Rule(f"self.matches('^(?:{literal})$')", self.message).__get_pydantic_json_schema__(core, handler)

    def _check(self, value: str) -> str:
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(self.message)
        return value


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # the opening of a window has a zone of its own


Timestamp = Annotated[
    datetime,
    PlainSerializer(_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

# So many digits keep every sum far below what a timestamp can hold.
Duration = Annotated[
    str,
    StringConstraints(min_length=2, max_length=23),
    Matches(
        "([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?",
        "must be days, hours, minutes, seconds, such as 90s, 15m, 1h30m or 7d",
    ),
]

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> timedelta:
    """The length of a `Duration`; the API server has checked its form."""
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9]+)([dhms])", text)))


_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|[MGTPE]|[KMGTPE]i|e[0-9]{1,2})?$"
_PREFIXES = "kMGTPE"
_FACTORS: dict[str, Decimal] = {"": Decimal(1), "m": Decimal("0.001"), "Ki": Decimal(1024)}
_FACTORS |= {unit: Decimal(1000) ** power for power, unit in enumerate(_PREFIXES, start=1)}
_FACTORS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate(_PREFIXES, start=1)}
Quantity = Annotated[
    Annotated[str, StringConstraints(pattern=_QUANTITY, max_length=32)] | Annotated[int, Field(ge=0, strict=True)],
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "maxLength": 32,
            "pattern": _QUANTITY,
            "x-kubernetes-int-or-string": True,
        }
    ),
]


def parse_quantity(value: object) -> Decimal | None:
    """The number that a quantity stands for, such as 0.1 for 100m; None for what is no quantity."""
    return _number(str(value))


@lru_cache(maxsize=1024)  # the same few quantities are read in every pass over every resource
def _number(text: str) -> Decimal | None:
    found = re.match(_QUANTITY, text)
    if found is None:
        return None
    unit = found[2] or ""
    return Decimal(text) if unit.startswith("e") else Decimal(text.removesuffix(unit)) * _FACTORS[unit]
