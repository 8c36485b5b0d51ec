"""The CustomResourceDefinition, made from the pydantic models.

Pydantic's JSON Schema is not a structural schema as the API server wants it: it has references, unions with null,
titles, and `additionalProperties: false` beside `properties`. What is left after the conversion means the same.
"""

import re
from collections.abc import Iterator
from typing import Any

from quantroll.api.base import VALIDATIONS, ApiModel
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import QuantizedModelStatus
from quantroll.constants import GROUP, KIND, PLURAL, VERSION

Schema = dict[str, Any]
_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")  # of the source, within a paragraph

DESCRIPTION = (
    "A large language model that is rolled out in the cheapest compressed form which is proven good enough against its"
    " full-precision form."
)
ROOT_RULES: Schema = {
    VALIDATIONS: [
        {
            "rule": "self.metadata.name.size() <= 40",
            "message": "at most 40 characters: it names the stable Service and begins the name of every child",
            "fieldPath": ".metadata.name",
        },
        {
            "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "message": "must be letters, digits and '-', a letter first (DNS-1035 label): it names the stable Service",
            "fieldPath": ".metadata.name",
        },
    ]
}
# The selector takes in a candidate's pods: a metric of all pods that serve, by their number, is that of the traffic.
SCALE: Schema = {
    "specReplicasPath": ".spec.serving.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}
COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether this generation is settled."),
    ("Phase", "string", ".status.phase", "Where the rollout stands."),
    ("Stable", "string", ".status.stable.variant", "Variant that users get."),
    ("Candidate", "string", ".status.candidate.variant", "Variant that is being tried."),
    ("Weight", "integer", ".status.rollout.weight", "Per cent of requests that the candidate gets."),
    ("Recovery", "string", ".status.stable.recovery", "Score of the stable variant divided by the baseline's."),
    ("Saving", "string", ".status.stable.saving", "What the stable variant costs less than the baseline."),
    ("Drift", "string", ".status.drift.verdict", "What the last drift check said."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
)


def structural(model: type[ApiModel], *, written_by_user: bool = True) -> Schema:
    """The structural schema of a model.

    What the operator writes itself, a status, gets neither defaults nor rules: its bounds are enough.
    """
    document = model.model_json_schema(by_alias=True)
    return convert(document, document.get("$defs", {}), written_by_user=written_by_user)


def convert(node: Schema, definitions: dict[str, Schema], *, written_by_user: bool = True) -> Schema:
    """One node of pydantic's JSON Schema as a structural schema; `definitions` are what it refers to."""
    return _Converter(definitions, keep_behaviour=written_by_user).convert(node)


class _Converter:
    """One walk over a JSON Schema; every method returns a new node."""

    # What the API server acts on rather than checks.
    BEHAVIOUR = ("default", VALIDATIONS)
    DROPPED = ("$defs", "title")

    def __init__(self, definitions: dict[str, Schema], *, keep_behaviour: bool) -> None:
        self._definitions = definitions
        self._keep_behaviour = keep_behaviour

    def convert(self, node: Schema) -> Schema:
        """The node without references and unions, children first."""
        node = self._resolve(node)
        out: Schema = {key: node[key] for key in ("description", "type") if key in node}
        for key, value in node.items():
            match key:
                case "properties":
                    out[key] = {name: self.convert(child) for name, child in value.items()}
                case "items":
                    out[key] = self.convert(value)
                case "additionalProperties":
                    if value:
                        out[key] = self.convert(value)
                case "const":
                    out["enum"] = [value]
                case "exclusiveMinimum" | "exclusiveMaximum":
                    out.update({key.removeprefix("exclusive").lower(): value, key: True})  # OpenAPI 3.0 has a flag
                case _:
                    out.setdefault(key, value)
        if "description" in out:
            out["description"] = _LINE_BREAK.sub(" ", out["description"])
        if "default" in out:
            self._shorten_default(out)
        return out

    def _resolve(self, node: Schema) -> Schema:
        """Follow references and drop null from unions; what stands beside a reference goes before its target."""
        node = {k: v for k, v in node.items() if k not in self.DROPPED}
        if not self._keep_behaviour:
            node = {k: v for k, v in node.items() if k not in self.BEHAVIOUR}
        if "$ref" in node:
            target = self._definitions[node.pop("$ref").removeprefix("#/$defs/")]
        elif "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
            (target,) = (option for option in node.pop("anyOf") if option != {"type": "null"})
        else:
            return node
        target = self._resolve(target)
        together = {**target, **node}
        if found := [*target.get(VALIDATIONS, []), *node.get(VALIDATIONS, [])]:
            together[VALIDATIONS] = found
        return together

    @staticmethod
    def _shorten_default(node: Schema) -> None:
        """Leave out of an object's default what the defaults of its own fields give: the API server fills them in."""
        node["default"] = _without_nulls(node["default"])
        if node["default"] is None:
            del node["default"]
        elif "properties" in node:
            fields = node["properties"]
            node["default"] = {
                name: value
                for name, value in node["default"].items()
                if value is not None and ("default" in fields[name] or name in node.get("required", ()))
                if value != fields[name].get("default")
            }


def _without_nulls(value: Any) -> Any:
    """The value without nulls, which the API server takes for a value of its own in a default."""
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return value


def nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every node below and including `schema`, with a path such as `spec.variants[].name` or `spec.labels{}`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def schema() -> Schema:
    """The schema of a whole QuantizedModel."""
    return {
        "description": DESCRIPTION,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": structural(QuantizedModelSpec),
            "status": structural(QuantizedModelStatus, written_by_user=False),
        },
        **ROOT_RULES,
    }


def custom_resource_definition() -> Schema:
    """The manifest of the CRD.

    It is in no category: in `all` it would fall to `kubectl delete all --all`.
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["qm"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}, "scale": SCALE},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "description": text}
                        for name, kind, path, text in COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }
