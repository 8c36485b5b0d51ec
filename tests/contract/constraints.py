"""Every constraint of the generated schema, each with a manifest that keeps it and one that breaks it.

Bounds give their own pair: the last value inside and the first one outside. A CEL rule or a pattern needs an entry in
`PAIRS`, which is found by its message or by the pattern, and then holds wherever the schema uses it.
"""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from contract.manifests import Object, choosing, claimed, dropping, full, harnessed, quantized_model, shifting
from quantroll.api.base import VALIDATIONS
from quantroll.tools import crdgen

Change = Callable[[Any], Any]

MESSAGES = {
    "required": "Required value",
    "enum": "Unsupported value",
    "minimum": "should be greater than",
    "maximum": "should be less than or equal to",
    "minLength": "should be at least",
    "maxLength": "Too long",
    "minItems": "should have at least",
    "maxItems": "Too many",
    "maxProperties": "Too many",
    "pattern": "should match",
    "x-kubernetes-list-map-keys": "Duplicate value",
}


ALONE: Object = {"capacity": {"mode": "Replace", "allowDowntime": True}}
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
METRICS: dict[str, Object] = {
    "quality": {"name": "quality"},
    "error-ratio": {"name": "error-ratio"},
    "ttft-p99": {"name": "ttft-p99", "maxLatency": "1s"},
    "itl-p99": {"name": "itl-p99", "maxRegression": 0.1},
}


@dataclass(frozen=True)
class Pair:
    """What a value must become to keep and to break a rule; a dict is merged into the value, None removes a key."""

    keeps: Any
    breaks: Any
    python: bool = True  # whether the models refuse it as well as the API server
    base: Callable[[], Object] | None = None  # the spec that is changed, where its path does not say


@dataclass(frozen=True)
class Constraint:
    """One thing that the schema demands of the node at `path`."""

    path: str
    keyword: str
    detail: str
    message: str
    keeps: Object
    breaks: Object
    field: str  # where the API server reports it
    python: bool

    @property
    def id(self) -> str:
        return f"{self.path or 'object'} {self.keyword} {self.detail[:40]}".strip().replace(" ", "-")


NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

PAIRS: dict[str, Pair] = {
    # patterns
    NAME: Pair("a-1", "a_1"),
    SUBDOMAIN: Pair("a.b-1", "a..b"),
    rf"^(\*\.)?{SUBDOMAIN[1:]}": Pair("*.example.com", "example.*"),
    r"^[0-9a-f]{64}$": Pair("a" * 64, "A" * 64),
    r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$": Pair("", "a b"),
    r"^[0-9]+(\.[0-9]+)?(m|k|[MGTPE]|[KMGTPE]i|e[0-9]{1,2})?$": Pair("1.5Gi", "1.5GiB"),
    r"^[0-9a-f]{40}$": Pair("a" * 40, "A" * 40),
    r"^[-._a-zA-Z0-9]+$": Pair("a_B.c-1", "a/b"),
    r"^[A-Z]{3}$": Pair("CHF", "chf"),
    r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$": Pair("mmlu_pro", "a b"),
    # one field
    "must be pvc://CLAIM/PATH, a path on a PersistentVolumeClaim of this namespace: no other scheme is supported": Pair(
        "pvc://a.b-c/d e/f", "hf://meta-llama/Llama-3.1-8B-Instruct"
    ),
    (
        "must be pvc://CLAIM/PATH, a path on a PersistentVolumeClaim of this namespace, or hf://OWNER/REPOSITORY: no"
        " other scheme is supported"
    ): Pair("hf://gpt2", "hf://a/b/c"),
    "must not contain '..'": Pair(lambda source: f"{source}.b", lambda source: f"{source}..b", python=False),
    "baseline is the name of the full-precision model": Pair("base", "baseline", python=False),
    "must be days, hours, minutes, seconds, such as 90s, 15m, 1h30m or 7d": Pair("1d1h0m5s", "5 minutes"),
    "must be an absolute path": Pair("/a/b/", "v1"),
    "must not contain the segments . and ..": Pair("/a/..b", "/a/../b", python=False),
    "must be a cron expression of five fields, or @hourly, @daily, @weekly or @monthly": Pair(
        "*/15,7 0-23/2 1,31 JAN-12 7", "61 * * * *"
    ),
    ("must be Probe, or the name of a query of the admin's (prometheus.queries in the chart's values)"): Pair(
        "thumbs-up", "probe_2"
    ),
    "must be above 0": Pair(1, "0", python=False),
    "must be milliseconds or seconds, such as 60ms or 0.5s": Pair("0.25ms", "1m"),
    "must rise from level to level": Pair([1, 2, 4096], [1, 8, 8], python=False),
    "an SLO needs a limit: set ttftP99, itlP99 or both": Pair(
        {"ttftP99": None}, {"ttftP99": None, "itlP99": None}, python=False
    ),
    "memoryHourlyCost needs cpuHourlyCost": Pair({"memoryHourlyCost": None}, {"cpuHourlyCost": None}, python=False),
    "slo.atConcurrency may not be above the last of concurrency: more is not measured": Pair(
        {"concurrency": [1, 8], "slo": {"atConcurrency": 8}},
        {"concurrency": [1, 8], "slo": {"atConcurrency": 9}},
        python=False,
    ),
    "serving.maxModelLen must be above benchmark.promptTokens and outputTokens together": Pair(
        {"benchmark": {"promptTokens": 200, "outputTokens": 55}, "serving": {"maxModelLen": 256}},
        {"benchmark": {"promptTokens": 200, "outputTokens": 56}, "serving": {"maxModelLen": 256}},
        python=False,
    ),
    (
        "max is a share of requests, for error-ratio alone: ttft-p99 and itl-p99 take maxLatency and maxRegression, and"
        " quality is held to qualityGate"
    ): Pair({"minSamples": 7}, {"max": 0.5}, python=False),
    "maxLatency is for ttft-p99 and itl-p99": Pair({"minSamples": 7}, {"maxLatency": "60ms"}, python=False),
    "maxRegression is for error-ratio, ttft-p99 and itl-p99: quality is held to qualityGate": Pair(
        {"name": "ttft-p99", "maxRegression": 0.5}, {"name": "quality", "maxRegression": 0.5}, python=False
    ),
    "ttft-p99 and itl-p99 need a limit: set maxLatency, maxRegression or both": Pair(
        {"name": "ttft-p99", "maxRegression": 0.5}, {"name": "ttft-p99"}, python=False
    ),
    "onNoTraffic: Probe judges by quality alone: add it to metrics, or set Hold": Pair(
        {"onNoTraffic": "Probe"}, {"onNoTraffic": "Probe", "metrics": [{"name": "error-ratio"}]}, python=False
    ),
    (
        "maxRegression compares with stable, which has no traffic at a weight of 100: leave that step out, or set"
        " maxLatency instead"
    ): Pair(
        {"steps": [{"weight": 99, "duration": "1s"}]}, {"steps": [{"weight": 100, "duration": "1s"}]}, python=False
    ),
    "weights must rise from step to step": Pair(
        [{"weight": 1, "duration": "1s"}, {"weight": 100, "duration": "1s"}],
        [{"weight": 50, "duration": "1s"}, {"weight": 50, "duration": "1s"}],
        python=False,
    ),
    # one object
    "a request may not be above its limit": Pair(
        {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 1, "memory": "1024Mi"}},
        {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"cpu": "1500m", "memory": "1Gi"}},
        python=False,
    ),
    "operator Exists matches every value: leave value out": Pair(
        {"operator": "Exists", "value": None}, {"operator": "Exists"}, python=False
    ),
    "without key, all taints are meant: set operator: Exists": Pair(
        {"key": None, "value": None, "operator": "Exists"}, {"key": None}, python=False
    ),
    "revision, a commit of the repository, is required for hf:// sources, and has no meaning for others": Pair(
        {"source": "pvc://models/llama", "revision": None, "tokenSecretRef": None}, {"revision": None}, python=False
    ),
    "tokenSecretRef is for hf:// sources": Pair(
        {"tokenSecretRef": {"name": "other"}}, {"source": "pvc://models/llama", "revision": None}, python=False
    ),
    "round-to-nearest below 8 bits loses quality unpredictably: use GPTQ, or set allowNaive: true": Pair(
        {"scheme": "W4A16", "algorithm": "RTN", "allowNaive": True, "smoothQuantStrength": None},
        {"scheme": "W4A16", "algorithm": "RTN", "allowNaive": False, "smoothQuantStrength": None},
        python=False,
    ),
    "fewer than 4 bits degrade most models severely: set allowSubFourBit: true to try it all the same": Pair(
        {"scheme": "W2A16", "allowSubFourBit": True, "smoothQuantStrength": None},
        {"scheme": "W3A16", "allowSubFourBit": False, "smoothQuantStrength": None},
        python=False,
    ),
    "smoothQuantStrength moves outliers from activations into weights: only for scheme W8A8": Pair(
        {"scheme": "W8A8", "smoothQuantStrength": 0.5}, {"scheme": "W4A16", "smoothQuantStrength": 0.5}, python=False
    ),
    "groupSize is for the weight-only schemes W4A16, W3A16 and W2A16": Pair(
        {"scheme": "W3A16", "groupSize": 32, "smoothQuantStrength": None},
        {"scheme": "W8A8", "groupSize": 32},
        python=False,
    ),
    "FP8_DYNAMIC is made by round-to-nearest: leave algorithm out or set RTN": Pair(
        {"scheme": "FP8_DYNAMIC", "algorithm": "RTN", "smoothQuantStrength": None},
        {"scheme": "FP8_DYNAMIC", "algorithm": "GPTQ", "smoothQuantStrength": None},
        python=False,
    ),
    "AWQ is for scheme W4A16": Pair(
        {"scheme": "W4A16", "algorithm": "AWQ", "smoothQuantStrength": None},
        {"scheme": "W8A8", "algorithm": "AWQ"},
        python=False,
    ),
    "backend AutoAWQ makes algorithm AWQ alone: set algorithm: AWQ": Pair(
        {"scheme": "W4A16", "algorithm": "AWQ", "backend": "AutoAWQ", "smoothQuantStrength": None},
        {"scheme": "W4A16", "algorithm": None, "backend": "AutoAWQ", "smoothQuantStrength": None},
        python=False,
    ),
    "backend AutoAWQ always keeps lm_head alone in full precision: leave ignore out": Pair(
        {"scheme": "W4A16", "algorithm": "AWQ", "backend": "AutoAWQ", "smoothQuantStrength": None, "ignore": None},
        {
            "scheme": "W4A16",
            "algorithm": "AWQ",
            "backend": "AutoAWQ",
            "smoothQuantStrength": None,
            "ignore": ["lm_head", "re:.*down_proj"],
        },
        python=False,
    ),
    "must be a regular expression in RE2's syntax": Pair("(?P<a>x)|y", "(x", python=False),
    "names a scorer twice": Pair(["NumericTolerance", "JSONSchema"], ["JSONSchema", "JSONSchema"], python=False),
    "scoring.numericTolerance is for NumericTolerance, which is neither scorer nor in alsoReport": Pair(
        {"scorer": "NumericTolerance", "alsoReport": ["JSONSchema", "Regex"]},
        {"scorer": "Regex", "alsoReport": ["JSONSchema", "F1"]},
        python=False,
    ),
    "scoring.regex is for Regex, which is neither scorer nor in alsoReport": Pair(
        {"scorer": "F1", "alsoReport": ["Regex"], "scoring": {"numericTolerance": None, "jsonSchema": None}},
        {"scorer": "F1"},
        python=False,
    ),
    "Regex needs scoring.regex": Pair(
        {"scorer": "JSONSchema", "alsoReport": ["NumericTolerance"], "scoring": {"regex": None}},
        {"scoring": {"regex": None}},
        python=False,
    ),
    "scoring.jsonSchema is for JSONSchema, which is neither scorer nor in alsoReport": Pair(
        {"scorer": "JSONSchema", "alsoReport": ["NumericTolerance", "Regex"]},
        {"alsoReport": ["NumericTolerance"]},
        python=False,
    ),
    "JSONSchema needs scoring.jsonSchema": Pair(
        {"alsoReport": ["NumericTolerance"], "scoring": {"jsonSchema": None}},
        {"scoring": {"jsonSchema": None}},
        python=False,
    ),
    "scoring.multipleChoice is for MultipleChoice, which is neither scorer nor in alsoReport": Pair(
        {}, {"scorer": "ExactMatch"}, python=False, base=choosing
    ),
    "scoring.lmEval is for LMEval, which is neither scorer nor in alsoReport": Pair(
        {}, {"scorer": "ExactMatch"}, python=False, base=harnessed
    ),
    "LMEval needs scoring.lmEval": Pair({}, {"scoring": None}, python=False, base=harnessed),
    "LMEval judges the items of its own tasks: it is neither in alsoReport nor is anything beside it": Pair(
        {}, {"alsoReport": ["F1"]}, python=False, base=harnessed
    ),
    "by log probability no answer is asked for: scorer must be MultipleChoice, with nothing in alsoReport": Pair(
        {}, {"alsoReport": ["F1"]}, python=False, base=choosing
    ),
    "LMEval asks whole tasks: leave generation.noiseItems out": Pair(
        {}, {"generation": {"noiseItems": 1}}, python=False, base=harnessed
    ),
    "evalSet.source is required": Pair(
        {"evalSet": {"source": None}},
        {"evalSet": {"source": None}, "scorer": "ExactMatch", "scoring": None},
        python=False,
        base=harnessed,
    ),
    "LMEval's items have no fields of yours: leave idField, sliceField and clusterField out of evalSet": Pair(
        {}, {"evalSet": {"sliceField": "topic"}}, python=False, base=harnessed
    ),
    "LMEval has no items that the prober could ask: it needs probe.source and probe.floor": Pair(
        {}, {"probe": {"floor": None}}, python=False, base=harnessed
    ),
    "workload Reasoning asks every item at least 4 times, for one chain of thought tells little: set"
    " qualityGate.generation.repeats to 4 or more, or leave it out": Pair(
        {"workload": "Reasoning", "qualityGate": {"generation": {"repeats": 4}}},
        {"workload": "Reasoning", "qualityGate": {"generation": {"repeats": 3}}},
        python=False,
    ),
    "probe.scorer and probe.floor are for qualityGate.scorer: LMEval; otherwise the gate's hold": Pair(
        {"probe": {"floor": None}}, {"probe": {"floor": 0.5}}, python=False
    ),
    "alsoReport is for scorers beside the one that gates: leave scorer out of it": Pair(
        {"alsoReport": ["JSONSchema", "NumericTolerance"]}, {"scorer": "NumericTolerance"}, python=False
    ),
    "slices need evalSet.sliceField, the field that holds an item's slice": Pair(
        {"slices": [], "evalSet": {"sliceField": None}}, {"evalSet": {"sliceField": None}}, python=False
    ),
    "claimName uses an existing claim: leave storageClassName, size and reclaimPolicy out": Pair(
        {"claimName": "mine", "storageClassName": None, "size": None, "reclaimPolicy": None},
        {"claimName": "mine", "storageClassName": None, "size": None},
        python=False,
    ),
    "qualityGate.verifiedAgainst must equal model.dtype, the precision that variants are verified against": Pair(
        {"model": {"dtype": "float16"}}, {"model": {"dtype": "float32"}}, python=False
    ),
    "comparison: Difference needs maxDrop, and maxDrop is for comparison: Difference": Pair(
        {"comparison": "Difference", "maxDrop": 0.05, "minAcceptable": None}, {"maxDrop": 0.05}, python=False
    ),
    "minAcceptable is for comparison: Relative; with comparison: Difference maxDrop is the floor": Pair(
        {"comparison": "Difference", "maxDrop": 0.05, "minAcceptable": None},
        {"comparison": "Difference", "maxDrop": 0.05},
        python=False,
    ),
    "GPTQ, AWQ and SmoothQuant need spec.calibration": Pair(
        {"calibration": None, "variants": [{"name": "a", "scheme": "W8A8", "algorithm": "RTN"}]},
        {"calibration": None, "variants": [{"name": "a", "scheme": "W8A8"}]},
        python=False,
    ),
    "serving.maxModelLen must be above qualityGate.generation.maxTokens: it holds prompt and answer": Pair(
        {"qualityGate": {"generation": {"maxTokens": 255}}, "serving": {"maxModelLen": 256}},
        {"qualityGate": {"generation": {"maxTokens": 256}}, "serving": {"maxModelLen": 256}},
        python=False,
    ),
    "rollout.capacity.mode Replace with one replica needs allowDowntime: nothing serves between the two": Pair(
        {"rollout": {**ALONE, "analysis": {"metrics": [{"name": "error-ratio"}]}}, "serving": {"replicas": 1}},
        {"rollout": {"capacity": {"mode": "Replace", "allowDowntime": False}}, "serving": {"replicas": 1}},
        python=False,
    ),
    (
        "quality and maxRegression compare with stable, which has no pod beside the candidate's with one replica and"
        " rollout.capacity.mode Replace: set rollout.analysis.metrics without them"
    ): Pair(
        {"rollout": {**ALONE, "analysis": {"metrics": [{"name": "error-ratio"}]}}, "serving": {"replicas": 1}},
        {"rollout": {**ALONE, "analysis": {"metrics": [{"name": "quality"}]}}, "serving": {"replicas": 1}},
        python=False,
    ),
    "allowDowntime belongs to mode Replace: with Surge the stable revision keeps all its pods": Pair(
        {"mode": "Replace", "allowDowntime": True}, {"mode": "Surge", "allowDowntime": True}, python=False
    ),
    "must be a time of day from 00:00 to 23:59": Pair("23:59", "24:00"),
    "must be a time of day from 00:00 to 24:00": Pair("24:00", "9:00"),
    "from and to are the same: the whole day is from 00:00 to 24:00": Pair(
        {"from": "00:00", "to": "24:00"}, {"from": "08:30", "to": "08:30"}, python=False
    ),
    "must be the name of a time zone, such as Europe/Berlin": Pair("Etc/GMT+1", "UTC+01:00"),
    "mode GatewayAPI needs parentRefs": Pair(
        {"mode": "Service", "parentRefs": None, "hostnames": None, "pathPrefix": None},
        {"parentRefs": None},
        python=False,
    ),
    "mode Service has no route: leave parentRefs, hostnames and pathPrefix out": Pair(
        {"mode": "Service", "parentRefs": None, "hostnames": None, "pathPrefix": None},
        {"mode": "Service", "parentRefs": None, "hostnames": None},
        python=False,
    ),
    # the whole object
    crdgen.ROOT_RULES[VALIDATIONS][0]["message"]: Pair(
        {"metadata": {"name": "a" * 40}}, {"metadata": {"name": "a" * 41}}, python=False
    ),
    crdgen.ROOT_RULES[VALIDATIONS][1]["message"]: Pair(
        {"metadata": {"name": "a-1"}}, {"metadata": {"name": "1-a"}}, python=False
    ),
}


# Fields that exclude others, with the manifest that sets them.
EXCLUSIVE: dict[str, Callable[[], Object]] = {
    "spec.storage.claimName": claimed,
    "spec.qualityGate.maxDrop": dropping,
    "spec.rollout.steps": shifting,
    "spec.qualityGate.scoring.lmEval": harnessed,
    "spec.qualityGate.scoring.multipleChoice": choosing,
    "spec.probe.scorer": harnessed,
    "spec.probe.floor": harnessed,
    "spec.serving.replicas": shifting,
}

# Rules about changes, by message: the change of a spec that each forbids.
TRANSITIONS: dict[str, Object] = {
    "routing.mode cannot be changed: traffic would be lost on the way between the two": {
        "rollout": {
            "routing": {"mode": "Service", "parentRefs": None, "hostnames": None, "pathPrefix": None},
        }
    },
    "storage cannot be changed: artifacts lie there, and pods read them from there": {"storage": {"size": "200Gi"}},
}


def transitions() -> list[str]:
    """Messages of all rules of the schema that compare with the object before."""
    nodes = crdgen.nodes(crdgen.schema(), "")
    return [r["message"] for _, node in nodes for r in node.get(VALIDATIONS, []) if "oldSelf" in r["rule"]]


def collect() -> Iterator[Constraint]:
    """All constraints that a user can break; KeyError for a rule or pattern without a pair."""
    root = crdgen.schema()
    del root["properties"]["status"]  # only the operator writes it
    for path, node in crdgen.nodes(root, ""):
        yield from _of_node(path, node)


def _of_node(path: str, node: Object) -> Iterator[Constraint]:
    for rule in node.get(VALIDATIONS, []):
        if "oldSelf" in rule["rule"]:
            continue  # about a change, not about a manifest: see TRANSITIONS
        yield _constraint(path, "rule", rule["message"], PAIRS[rule["message"]], rule.get("fieldPath", ""))
    for keyword in (known for known in MESSAGES if known in node):
        if keyword == "required":
            for name in node[keyword]:
                child = f"{path}.{name}".lstrip(".")
                yield _constraint(child, keyword, "", Pair(lambda value: value, lambda _: None))
        elif keyword == "pattern":
            yield _constraint(path, keyword, node[keyword], PAIRS[node[keyword]])
        else:
            yield _constraint(path, keyword, "", _edges(keyword, node))


def _constraint(path: str, keyword: str, detail: str, pair: Pair, below: str = "") -> Constraint:
    by_path = next((make for start, make in EXCLUSIVE.items() if path.startswith(start)), full)
    base = quantized_model((pair.base or by_path)())
    where = concrete(base, path)
    return Constraint(
        path=path,
        keyword=keyword,
        detail=detail,
        message=MESSAGES.get(keyword, detail),
        keeps=changed(base, where, pair.keeps),
        breaks=changed(base, where, pair.breaks),
        field=(dotted(where) + below).lstrip("."),
        python=pair.python,
    )


# -- edges of a bound: the last value inside, the first one outside ----------------------------------------------------


def _edges(keyword: str, node: Object) -> Pair:
    if keyword == "enum":
        return Pair(lambda value: value, 7 if node["type"] == "integer" else "Nonsense")
    if keyword == "x-kubernetes-list-map-keys":
        return Pair(lambda items: items, lambda items: [*items, items[0]], python=False)
    if keyword in ("minimum", "maximum"):
        return _number_edges(keyword, node)
    limit, resized = node[keyword], RESIZED[keyword]
    out = limit - 1 if keyword.startswith("min") else limit + 1
    return Pair(lambda value: resized(value, limit), lambda value: resized(value, out))


def _number_edges(keyword: str, node: Object) -> Pair:
    limit = node[keyword]
    inside = 0.0001 if node.get("type") == "number" else 1
    out = limit - inside if keyword == "minimum" else limit + inside
    if keyword == "minimum" and node.get("exclusiveMinimum"):
        return Pair(limit + inside, limit)
    if node.get("x-kubernetes-int-or-string"):
        return Pair(limit + 1, out)  # 0 is the edge of the form; a size has a rule against it
    return Pair(limit, out)


def stretched(text: str, length: int) -> str:
    """A valid text of exactly this length that is like `text`."""
    if re.fullmatch(r"[0-9dhms]+[dhms]", text):
        return "9999d99999h99999m99999s".rjust(length, "9")
    if text.endswith("s") and "." in text:
        return "999999.999ms".rjust(length, "9")
    if text.count(" ") == 4:
        return ("10 " if length % 2 == 0 else "1 ") + "0 * * 1" + ",1" * ((length - 9) // 2)
    if re.fullmatch(r"[0-9]+[A-Za-z]*", text):
        return "1" * length
    return text + "a" * (length - len(text))


def repeated(items: list[Any], length: int) -> list[Any]:
    """That many items like the first, with what must differ made different."""
    if len(items) >= length:
        return items[:length]
    out = [copy.deepcopy(items[0]) for _ in range(length)]
    if isinstance(items[0], int):
        return list(range(1, length + 1))
    if items[0] in DAYS:
        return [*DAYS, *DAYS][:length]
    if isinstance(items[0], dict) and items[0].get("name") in METRICS:
        return [METRICS[name] for name in [*METRICS, *METRICS][:length]]
    for i, item in enumerate(out):
        if "scheme" in item or "minAcceptable" in item or "metric" in item:
            item["name"] = f"v{i}"
        if "weight" in item:
            item["weight"] = i + 1
    return out


RESIZED: dict[str, Callable[[Any, int], Any]] = {
    "minLength": lambda text, length: text[len(text) - length :],
    "maxLength": stretched,
    "minItems": lambda items, length: items[:length],
    "maxItems": repeated,
    "maxProperties": lambda found, length: {f"k{i}": next(iter(found.values())) for i in range(length)},
}


# -- paths -------------------------------------------------------------------------------------------------------------

Steps = tuple[str | int, ...]


def concrete(manifest: Object, path: str) -> Steps:
    """A schema's path with the index or key of the first element in which it exists."""
    tokens = re.findall(r"\[\]|\{\}|[^.\[\]{}]+", path)
    found = list(_walk(manifest, tokens))
    if not found:
        raise KeyError(f"no value at {path}: the full manifest has to set every field")
    return found[0]


def _walk(value: Any, tokens: list[str]) -> Iterator[Steps]:
    if not tokens:
        yield ()
        return
    head, rest = tokens[0], tokens[1:]
    if head == "[]":
        keys: list[Any] = list(range(len(value)))
    else:
        keys = list(value) if head == "{}" else [head] if head in value else []
    for key in keys:
        yield from ((key, *more) for more in _walk(value[key], rest))


def dotted(steps: Steps) -> str:
    """As the API server prints it; a map's key stands behind a dot."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def changed(manifest: Object, steps: Steps, to: Any) -> Object:
    """A copy in which the value at `steps` is replaced, or merged with a dict; None removes it."""
    out = copy.deepcopy(manifest)
    if not steps:
        merge(out, to)
        return out
    parent: Any = out
    for step in steps[:-1]:
        parent = parent[step]
    last = steps[-1]
    new = to(parent[last]) if callable(to) else to
    if isinstance(new, dict) and not callable(to):
        merge(parent[last], new)
    elif new is None:
        del parent[last]
    else:
        parent[last] = copy.deepcopy(new)
    return out


def merge(into: Object, change: Object) -> None:
    """RFC 7396: objects merge, null removes."""
    for key, value in change.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)
