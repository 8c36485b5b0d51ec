"""How traffic reaches a proven variant."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from quantroll.api.base import ApiModel, Duration, Matches, Rule, rules
from quantroll.api.looks import MetricName
from quantroll.api.spec.benchmark import Latency
from quantroll.api.spec.fields import Hostname, Namespace, ObjectName


class Step(ApiModel):
    """One stage of the traffic shift."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """Per cent of requests that the candidate gets."""
    duration: Duration
    """How long this weight is held at least, from when the gateway has accepted it."""
    approval: bool = False
    """Wait after this step until a person approves, with the annotation quantroll.io/approve."""


MAX_ERROR_RATIO = 0.01  # where error-ratio leaves `max` out

_LATENCIES = "self.name in ['ttft-p99', 'itl-p99']"


class AnalysisMetric(ApiModel):
    """What is looked at while a step is held."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.name == 'error-ratio' || !has(self.max)",
                (
                    "max is a share of requests, for error-ratio alone: ttft-p99 and itl-p99 take maxLatency and"
                    " maxRegression, and quality is held to qualityGate"
                ),
            ),
            (
                f"{_LATENCIES} || !has(self.maxLatency)",
                "maxLatency is for ttft-p99 and itl-p99",
            ),
            (
                "self.name != 'quality' || !has(self.maxRegression)",
                "maxRegression is for error-ratio, ttft-p99 and itl-p99: quality is held to qualityGate",
            ),
            (
                f"!({_LATENCIES}) || has(self.maxLatency) || has(self.maxRegression)",
                "ttft-p99 and itl-p99 need a limit: set maxLatency, maxRegression or both",
            ),
        ),
    )

    name: MetricName
    """quality: answers to the same items of the prober, candidate against stable, held to qualityGate's floor.
    error-ratio: the share of the candidate's requests that ended in an error of the server (HTTP 5xx).
    ttft-p99, itl-p99: time to the first token, and between two tokens, that 99 of 100 keep within."""
    max: Annotated[float, Field(ge=0, le=1)] | None = None
    """error-ratio: share above which a look fails. Default: 0.01."""
    max_latency: Latency | None = None
    """ttft-p99, itl-p99: the longest that it may be."""
    max_regression: Annotated[float, Field(ge=0, le=100)] | None = None
    """The share by which it may be above stable's. 0.2: a fifth. ttft-p99, itl-p99: by which it may be longer.
    error-ratio: beside `max`; a look fails if it is proven that more of the candidate's requests fail than that."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """What a look needs to say anything; until then the step is held. quality: items that both have answered since the
    rollout began. The others: users' requests to the candidate since the step began, and with maxRegression to
    stable, too."""


class Analysis(ApiModel):
    """How the candidate is judged at every step; no data never passes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.onNoTraffic) || self.onNoTraffic != 'Probe'"
                    " || self.metrics.exists(m, m.name == 'quality')"
                ),
                "onNoTraffic: Probe judges by quality alone: add it to metrics, or set Hold",
            ),
        ),
    )

    interval: Duration = "1m"
    """Time between two looks."""
    failure_limit: Annotated[int, Field(ge=0, le=100)] = 2
    """Failed looks of one step that are put up with; one more takes the candidate back. Quality that is proven to be
    below the floor does so at once."""
    error_limit: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Looks in a row that Prometheus had no answer to, which are put up with; one more takes the candidate back.
    Default: no limit, the step is held until deadlines.total."""
    inconclusive_limit: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Looks in a row, after the step's duration, that could not tell, which are put up with; one more takes the
    candidate back. Default: no limit, the step is held until deadlines.total."""
    on_no_traffic: Literal["Probe", "Hold"] | None = None
    """What becomes of a step in which users send no requests. Probe: it is judged by quality alone. Hold: it waits for
    requests. Default: Probe where quality is among the metrics, else Hold."""
    metrics: Annotated[
        list[AnalysisMetric],
        Field(
            max_length=4,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = [AnalysisMetric(name="quality"), AnalysisMetric(name="error-ratio")]
    """What is looked at, all in Prometheus. An empty list shifts by time alone."""

    def metric(self, name: MetricName) -> AnalysisMetric | None:
        """The metric of this name, if it is looked at."""
        return next((metric for metric in self.metrics if metric.name == name), None)


class ParentRef(ApiModel):
    """The Gateway that the route attaches to."""

    name: ObjectName
    """Name of the Gateway."""
    namespace: Namespace | None = None
    """Namespace of the Gateway. Default: the QuantizedModel's."""
    section_name: ObjectName | None = None
    """Listener of the Gateway. Default: all that allow the route."""


class Routing(ApiModel):
    """How the traffic is split between two revisions."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.mode != 'GatewayAPI' || has(self.parentRefs)", "mode GatewayAPI needs parentRefs"),
            (
                (
                    "self.mode != 'Service' || !has(self.parentRefs) && self.hostnames.size() == 0"
                    " && self.pathPrefix == '/'"
                ),
                "mode Service has no route: leave parentRefs, hostnames and pathPrefix out",
            ),
        ),
    )

    mode: Annotated[
        Literal["GatewayAPI", "Service"],
        Rule("self == oldSelf", "routing.mode cannot be changed: traffic would be lost on the way between the two"),
    ] = "GatewayAPI"
    """GatewayAPI: by weight, in an HTTPRoute of the operator's own. Service: without a gateway, by ready pods behind
    the Service of the QuantizedModel's name; status.traffic tells the shares that come of it.
    It cannot be changed later."""
    hostnames: Annotated[list[Hostname], Field(max_length=16)] = []
    """Host names that the route answers to. Default: those of the listener."""
    path_prefix: Annotated[
        str,
        StringConstraints(max_length=1024),
        Matches(r"/([-A-Za-z0-9._~!$&()*+,;=:@]+/)*[-A-Za-z0-9._~!$&()*+,;=:@]*", "must be an absolute path"),
        Rule("self.split('/').all(part, part != '.' && part != '..')", "must not contain the segments . and .."),
    ] = "/"
    """Path prefix of the requests that the route takes."""
    parent_refs: Annotated[list[ParentRef], Field(min_length=1, max_length=8)] | None = None
    """Gateways that the route attaches to."""


class Capacity(ApiModel):
    """Where the room for a candidate's pods comes from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.?mode.orValue('Surge') == 'Replace' || !self.?allowDowntime.orValue(false)",
                "allowDowntime belongs to mode Replace: with Surge the stable revision keeps all its pods",
            ),
        ),
    )

    mode: Literal["Surge", "Replace"] = "Surge"
    """Surge: beside all pods of the stable revision. Replace: there are no spare GPUs, so one pod of the stable
    revision goes for each pod of the candidate, one after the other; nothing is kept warm."""
    allow_downtime: bool = False
    """Replace with one replica: the stable pod goes before the candidate's comes, and nothing serves between them."""


Clock = Annotated[
    str,
    StringConstraints(max_length=5),
    Matches("([01][0-9]|2[0-3]):[0-5][0-9]", "must be a time of day from 00:00 to 23:59"),
]


class Window(ApiModel):
    """Hours of a week in which a rollout may begin and a candidate may get more traffic."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.from != self.to", "from and to are the same: the whole day is from 00:00 to 24:00"),
        ),
    )

    days: Annotated[
        list[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]],
        Field(min_length=1, max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ]
    """Days of the week on which it opens."""
    from_: Annotated[Clock, Field(alias="from")]
    """Time of day at which it opens."""
    to: Annotated[
        str,
        StringConstraints(max_length=5),
        Matches("([01][0-9]|2[0-3]):[0-5][0-9]|24:00", "must be a time of day from 00:00 to 24:00"),
    ]
    """Time of day at which it closes; one that is not after `from` is that of the next day."""
    time_zone: Annotated[
        str,
        StringConstraints(max_length=64),
        Matches("[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", "must be the name of a time zone, such as Europe/Berlin"),
    ] = "UTC"
    """Time zone of the IANA database that days and times are those of; summer time is taken into account."""


class Deadlines(ApiModel):
    """How long to wait before giving up."""

    model_load: Duration = "30m"
    """From a revision's start until its pods are ready."""
    scheduling: Duration = "15m"
    """For a node for a pod, which an autoscaler may have to bring; then a candidate's pods are taken away again."""
    drain: Duration = "10m"
    """For requests in flight after a revision's weight is gone."""
    step: Duration | None = None
    """For a step that is held beyond its duration because looks have not passed; waiting for approval, a window or a
    node does not count. Default: `total` alone."""
    total: Duration = "24h"
    """For a whole rollout up to its promotion; waiting for approval and suspension do not count."""


class Rollback(ApiModel):
    """Where to go back to."""

    keep_warm: Duration = "24h"
    """How long the previous revision keeps its pods after it was replaced; at least for `deadlines.drain`. 0s: until it
    has drained."""
    target: Literal["LastGood", "Baseline"] = "LastGood"
    """LastGood: the revision that served before; Baseline: the full-precision model."""
    cooldown: Duration = "24h"
    """After two rollbacks within this time no rollout is begun for as long: Flapping. 0s: that is never looked at."""


class Rollout(ApiModel):
    """How traffic reaches a proven variant."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.steps.exists(s, s.weight == 100) || !self.analysis.metrics.exists(m, has(m.maxRegression))",
                (
                    "maxRegression compares with stable, which has no traffic at a weight of 100: leave that step out,"
                    " or set maxLatency instead"
                ),
            ),
        ),
    )

    steps: Annotated[
        list[Step],
        Field(min_length=1, max_length=10),
        Rule(
            "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight))",
            "weights must rise from step to step",
        ),
    ] = [Step(weight=5, duration="15m"), Step(weight=25, duration="30m"), Step(weight=50, duration="30m")]
    """Stages of the traffic shift, with rising weights; promotion follows the last."""
    analysis: Analysis = Analysis()
    """How the candidate is judged at every step; no data never passes."""
    routing: Routing
    """How the traffic is split between two revisions."""
    windows: Annotated[list[Window], Field(max_length=8)] = []
    """When a rollout may begin and a candidate may get more traffic. Default: at any time. Taking back may always
    happen, and so may all that is done off the traffic."""
    capacity: Capacity = Capacity()
    """Where the room for a candidate's pods comes from."""
    deadlines: Deadlines = Deadlines()
    """How long to wait before giving up."""
    rollback: Rollback = Rollback()
    """Where to go back to."""
