"""JSONSchema: whether an answer is JSON that keeps a schema.

A code fence around the whole answer is taken off first. The `pattern` of a schema is an expression of RE2, so that no
answer can hold an evaluation up; `patternProperties` would need Python's own engine and is refused. So are references
to other documents: nothing is fetched.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import jsonschema_specifications
from jsonschema import validators
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from quantroll.api.spec import JSONSchema
from quantroll_jobs.datafiles import Item
from quantroll_jobs.scorers.errors import ScoringError
from quantroll_jobs.scorers.pattern import compiled

_FIELD = "jsonSchema.schema"
_FENCES = ("```", "```json")


def scorer(settings: JSONSchema | None) -> Callable[[str, Item], float]:
    """1 if the answer is JSON that keeps the schema; the expected text is not looked at."""
    if settings is None:
        raise ScoringError(f"qualityGate.scoring.{_FIELD}: scorer JSONSchema needs a schema")
    validator = _validator(settings.schema_text)

    def score(answer: str, _: Item) -> float:
        try:
            return float(validator.is_valid(_parsed(answer)))
        except (ValueError, ArithmeticError, RecursionError):
            return 0.0

    return score


def _parsed(answer: str) -> Any:
    text = answer.strip()
    head, _, rest = text.partition("\n")
    if head.rstrip().lower() in _FENCES and rest.endswith("```"):
        text = rest.removesuffix("```")
    return json.loads(text, parse_constant=_refuse)


def _refuse(name: str) -> None:
    """Python reads NaN and Infinity, which are no JSON."""
    raise ValueError(f"{name} is no JSON")


def _validator(text: str) -> Any:
    try:
        schema = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ScoringError(f"qualityGate.scoring.{_FIELD}: not JSON: {error}") from None
    draft = validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        draft.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ScoringError(f"qualityGate.scoring.{_FIELD}: {error.json_path}: {error.message[:300]}") from None
    patterns = {}
    for keyword, value in _keywords(schema):
        if keyword == "patternProperties":
            raise ScoringError(f"qualityGate.scoring.{_FIELD}: patternProperties is not supported")
        if keyword == "pattern" and isinstance(value, str):
            patterns[value] = compiled(value, _FIELD)
        if keyword in ("$ref", "$dynamicRef") and isinstance(value, str):
            _check_reference(schema, value)

    def keeps_pattern(_: Any, expression: str, instance: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
        if isinstance(instance, str) and not patterns[expression].search(instance):
            yield jsonschema.ValidationError("no match")

    bounded = validators.extend(draft, {"pattern": keeps_pattern})
    return bounded(schema, registry=jsonschema_specifications.REGISTRY)


def _check_reference(schema: Any, reference: str) -> None:
    resolver = jsonschema_specifications.REGISTRY.resolver_with_root(DRAFT202012.create_resource(schema))
    try:
        if not reference.startswith("#"):
            raise ScoringError(f"qualityGate.scoring.{_FIELD}: {reference} is outside of the schema")
        resolver.lookup(reference)
    except Unresolvable:
        raise ScoringError(f"qualityGate.scoring.{_FIELD}: nothing is at {reference}") from None


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """All names in a schema with what they stand for."""
    if isinstance(schema, dict):
        yield from schema.items()
    for child in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _keywords(child)
