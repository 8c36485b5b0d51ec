"""How KWOK plays pods and routes: every Job ends well with a report, every server is ready, every route accepted. Pure.

The stages of nodes are KWOK's own.
"""

import json
from typing import Any

from quantroll.api.jobs import (
    INPUT_VARIABLE,
    DataFacts,
    EvaluateResult,
    ModelFacts,
    PrepareResult,
    QuantizeResult,
    Report,
)
from quantroll.builders.jobs import CONTAINER
from quantroll.constants import LABEL_MANAGED_BY, MANAGER

Object = dict[str, Any]

DTYPE = "bfloat16"  # what the models must ask for
_KEY = "0" * 64  # stands for the Job's own key
_ITEMS = 2000
_CELLS = {"both": 1985, "harm": 5, "gain": 2, "neither": 8}


def reports() -> dict[str, str]:
    """What each kind of Job says, as JSON, with `_KEY` for its key: two thousand questions, 1,987 answered well."""
    facts = PrepareResult(
        model=ModelFacts(digest="a" * 64, weight_bytes=1_000_000, architecture="LlamaForCausalLM", dtype=DTYPE),
        eval_set=DataFacts(sha256="b" * 64, items=_ITEMS),
        calibration=DataFacts(sha256="c" * 64, items=256),
    )
    made = QuantizeResult(
        path=f"models/{_KEY}",
        digest="e" * 64,
        weight_bytes=400_000,
        size_ratio=0.4,
        quantized_layers=21,
        skipped_layers=1,
        seconds=1,
    )
    alone = EvaluateResult(items=_ITEMS, correct=1990, errors=0, truncated=0, prompts_digest="d" * 64)
    joined = {**_CELLS, "correct": 1987, "baseline_errors": 0, "prompts_match": True}
    told = {
        "prepare": Report(kind="prepare", key=_KEY, prepare=facts),
        "quantize": Report(kind="quantize", key=_KEY, quantize=made),
        "baseline": Report(kind="evaluate", key=_KEY, evaluate=alone),
        "variant": Report(kind="evaluate", key=_KEY, evaluate=alone.model_copy(update=joined)),
    }
    return {kind: json.dumps(report.to_wire()) for kind, report in told.items()}


def stages() -> list[Object]:
    """KWOK's Stage objects for pods and HTTPRoutes."""
    return [
        _stage("job-ends", _POD, [*_PENDING, _owned("In")], _status(_job_template())),
        _stage("server-is-ready", _POD, [*_PENDING, _owned("NotIn")], _status(_READY)),
        _stage("pod-goes", _POD, [_match(".metadata.deletionTimestamp", "Exists")], {"delete": True}),
        _stage("route-is-accepted", _ROUTE, [_UNANSWERED], _status(_ACCEPTED)),
    ]


def _match(key: str, operator: str, *values: str) -> Object:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def _owned(operator: str) -> Object:
    return _match(".metadata.ownerReferences.[].kind", operator, "Job")


def _stage(name: str, resource: Object, matches: list[Object], then: Object) -> Object:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {"resourceRef": resource, "selector": {"matchExpressions": matches}, "next": then},
    }


def _status(template: str) -> Object:
    return {"statusTemplate": template}


def _job_template() -> str:
    said = {kind: f"{{{{ $report = `{text}` }}}}" for kind, text in reports().items()}
    return _ENDED.replace("CONTAINER", CONTAINER).replace("VARIABLE", INPUT_VARIABLE).replace("KEY", _KEY) % said


_POD = {"apiGroup": "v1", "kind": "Pod"}
_ROUTE = {"apiGroup": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
_PENDING = [
    _match(".metadata.deletionTimestamp", "DoesNotExist"),
    _match(".status.phase", "In", "Pending"),
    _match(f'.metadata.labels["{LABEL_MANAGED_BY}"]', "In", MANAGER),
]
_UNANSWERED = _match(".status.parents[0].conditions[0].observedGeneration == .metadata.generation", "NotIn", "true")
_ENDED = """
{{ $now := Now }}{{ $job := dict }}{{ $report := "" }}
{{ range .spec.containers }}{{ if eq .name "CONTAINER" }}{{ range .env }}{{ if eq .name "VARIABLE" }}
{{ $job = .value | replace "$$" "$" | fromJson }}
{{ end }}{{ end }}{{ end }}{{ end }}
{{ if eq $job.kind "prepare" }}%(prepare)s{{ else if eq $job.kind "quantize" }}%(quantize)s
{{ else if $job.baselineKey }}%(variant)s{{ else }}%(baseline)s{{ end }}
phase: Succeeded
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  restartCount: 0
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
      {{ if eq .name "CONTAINER" }}
      message: {{ $report | replace "KEY" $job.key | Quote }}
      {{ end }}
{{ end }}
"""
# Without an address: nobody would answer there, and asking an engine for its load is no part of what is measured.
_READY = """
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
conditions:
{{ range tuple "Initialized" "Ready" "ContainersReady" }}
- {type: {{ . }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
"""
_ACCEPTED = """
{{ $now := Now }}{{ $generation := .metadata.generation }}
parents:
{{ range .spec.parentRefs }}
- parentRef: {{ . | toJson }}
  controllerName: example.com/gateway
  conditions:
  {{ range tuple "Accepted" "ResolvedRefs" }}
  - type: {{ . }}
    status: "True"
    reason: {{ . }}
    message: ""
    observedGeneration: {{ $generation }}
    lastTransitionTime: {{ now | date "2006-01-02T15:04:05Z07:00" | quote }}
  {{ end }}
{{ end }}
"""
