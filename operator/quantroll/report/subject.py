"""A QuantizedModel as the report reads it, and what is done to text that somebody else wrote."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import QuantizedModelStatus
from quantroll.constants import ANNOTATION_COMMAND, GROUP, KIND
from quantroll.domain.presets import filled_in, preset_of
from quantroll.errors import QuantrollError

# What steers a terminal, turns the direction of text, breaks a line, or may not stand in XML.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class NotAQuantizedModel(QuantrollError):
    """What was given is no QuantizedModel that this version understands."""


@dataclass(frozen=True)
class Subject:
    """What a report is about."""

    name: str
    namespace: str
    """Empty where the document names none."""
    generation: int | None
    """Generation of the spec; absent in a manifest that was never applied."""
    spec: QuantizedModelSpec
    """With what its workload stands for where the user left something out."""
    status: QuantizedModelStatus
    commands: dict[str, str] = field(default_factory=dict)
    """Values of the annotations by which persons give commands, by verb."""


def read(document: object) -> Subject:
    """The QuantizedModel in a document of JSON values, its text made harmless.

    Fields that this version does not know are left out, so that a newer operator's status can be read. Raises
    NotAQuantizedModel with what is wrong.
    """
    if not isinstance(document, Mapping):
        raise NotAQuantizedModel(f"not an object, but {type(document).__name__}")
    kind, group = document.get("kind"), str(document.get("apiVersion", "")).partition("/")[0]
    if kind != KIND or group != GROUP:
        hint = "; give one object: kubectl get quantizedmodel NAME -o yaml" if str(kind).endswith("List") else ""
        raise NotAQuantizedModel(f"a {GROUP} {KIND} is needed, this is {clean(f'{group} {kind}')}{hint}")
    plain = _cleaned(document)
    meta = plain.get("metadata") or {}
    try:
        spec = QuantizedModelSpec.model_validate(plain.get("spec"), extra="ignore")
        status = QuantizedModelStatus.model_validate(plain.get("status") or {}, extra="ignore")
        name, namespace, generation = str(meta["name"]), str(meta.get("namespace", "")), meta.get("generation")
    except (AttributeError, KeyError, TypeError) as error:
        raise NotAQuantizedModel("metadata.name is missing") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "spec"
        raise NotAQuantizedModel(clean(f"{error.title}: {place}: {first['msg']}")) from error
    pinned = status.resolved.preset if status.resolved else None
    whole = filled_in(spec, pinned or preset_of(spec.workload))
    return Subject(
        name=name, namespace=namespace, generation=generation, spec=whole, status=status, commands=_commands(meta)
    )


def _commands(meta: Mapping[str, Any]) -> dict[str, str]:
    prefix = f"{ANNOTATION_COMMAND}/"
    notes = meta.get("annotations") or {}
    return {key.removeprefix(prefix): str(value) for key, value in notes.items() if key.startswith(prefix)}


def clean(text: str) -> str:
    """One line that steers nothing: whitespace as spaces, control and direction characters replaced."""
    return _STEERING.sub(_REPLACEMENT, re.sub(r"[\t\r\n]+", " ", text))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value
