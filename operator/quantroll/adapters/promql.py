"""The questions to Prometheus, and what their answers count. Every question is one expression, for one moment.

`increase()` alone counts too little and a little too much. It leaves out what a series was born with, and vLLM makes a
series when a status first occurs: the first errors of a revision would be missing. And it stretches what it saw to the
edges of the window. So a counter that was never reset counts as the difference of its samples, which is exact, and what
series were born with is a part of its own. `increase()` is left for those that were reset. It stretches by a factor of
one or more: rounded down it gives no less than was seen, where rounding up would make two failures of one.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

from quantroll.adapters.prometheus import NoAnswer, Series
from quantroll.api import metrics
from quantroll.api.queries import CountQuery
from quantroll.domain.snapshot import Histogram, PairCounts, QualityCounts, RequestCounts

Parts = dict[str, list[Series]]

STALE_SECONDS = 600
STALE_GAPS = 5  # gaps between questions without an answer, where questions are rare
_STEP = 15  # seconds; scrapes are hardly denser, so between two steps nothing is counted twice
_AHEAD = 60  # seconds that the prober's clock may be ahead of Prometheus'
_PART = "part"


def quoted(value: str) -> str:
    r"""A PromQL string literal; nothing in the value can end it."""
    special = {"\\": r"\\", '"': r"\"", "\n": r"\n"}
    return '"' + "".join(special.get(character, character) for character in value) + '"'


def selector(metric: str, labels: dict[str, str], *more: str) -> str:
    """Series of a metric that have all these labels; `more` are matchers that are written out."""
    matchers = [f"{label}={quoted(value)}" for label, value in labels.items()]
    return f"{metric}{{{','.join([*matchers, *more])}}}"


def requests_query(namespace: str, name: str, revision: str, seconds: int) -> str:
    """Requests to the engines of a revision, and the prober's own among them, in the last so many seconds.

    Both metrics are one selection: a query is a part of a URL, whose length proxies limit. Only the engine's has a
    handler.
    """
    where = {"namespace": namespace, "name": name, "revision": revision}
    either = f'__name__=~"{metrics.ENGINE_REQUESTS}|{metrics.PROBE_REQUESTS}"'
    both = selector("", where, either, 'method=~"POST|"', 'handler=~"/v1/(chat/)?completions|"', 'status!="none"')
    # the completion that proves a pod is no user's: it is what this series is born with
    first = selector(metrics.ENGINE_REQUESTS, where, 'method="POST"', 'handler="/v1/completions"', 'status="2xx"')
    counted = _counted(both, seconds, but=f"unless min_over_time({first}[{seconds}s])")
    all_of_it = f"sum without ({_PART}) ({_union({'seen': counted, 'lost': _lost(both, seconds)})})"
    now = selector(metrics.ENGINE_REQUESTS, where, 'method="POST"')
    return _union({"counted": _once(all_of_it, "handler,status"), "now": f"count by (revision) ({now})"})


def read_requests(answer: list[Series], revision: str, seconds: int) -> RequestCounts:
    """Requests of users; raises NoAnswer where the answer does not tell.

    Both counts are rounded down and never below zero. Without counts of a prober nothing is taken off.
    """
    parts = _parts(answer, revision)
    if not parts["now"]:
        raise NoAnswer(f"no recent counts of requests to revision {revision}: are its pods scraped, with their labels?")
    counted = parts["counted"]
    if not any("handler" in series.metric for series in counted):
        raise NoAnswer(f"Prometheus has not looked at revision {revision} in the last {seconds} s")
    total = _users(counted)
    failed = _users([series for series in counted if series.metric.get("status") == "5xx"])
    return RequestCounts(total, min(total, failed))


def quality_query(namespace: str, name: str, revision: str, seconds: int) -> str:
    """Answers that the prober judged in the last so many seconds, and how it is doing now."""
    model = {"namespace": namespace, "name": name}
    items = selector(metrics.EVAL_ITEMS, {**model, "revision": revision})
    parts = {
        "counted": _once(_counted(items, seconds), "outcome", "slice,source"),
        "distinct": selector(metrics.SOURCE_ITEMS, model),
        "interval": selector(metrics.INTERVAL, model),
        "last": selector(metrics.LAST_ANSWER, {**model, "revision": revision}),
    }
    return _union(parts)


def read_quality(answer: list[Series], revision: str) -> QualityCounts:
    """Right and wrong answers; raises NoAnswer where the answer does not tell or the prober has stopped answering.

    An item without an answer to judge is neither right nor wrong.
    """
    parts = _parts(answer, revision)
    _recent(parts, "last", revision)
    if not parts["counted"]:
        raise NoAnswer(f"no counted answers of revision {revision} in Prometheus")
    right, wrong = (
        _floor(s.number for s in parts["counted"] if s.metric.get("outcome") == outcome) for outcome in ("pass", "fail")
    )
    return QualityCounts(right, wrong, _floor([_one(parts["distinct"], metrics.SOURCE_ITEMS)]))


def counts_query(query: CountQuery, namespace: str, name: str, revision: str, seconds: int) -> str:
    """Both counts of an admin's query, for one moment. A comment at the end of an expression ends with its line."""
    values = {"namespace": quoted(namespace), "name": quoted(name), "revision": quoted(revision)}
    parts = {"passed": query.passed, "total": query.total}
    return _union({part: f"({query.filled(text, values, f'{seconds}s')}\n)" for part, text in parts.items()})


def read_counts(answer: list[Series], revision: str, name: str) -> QualityCounts:
    """Right and wrong answers by a query of the admin's; raises NoAnswer where the answer does not tell.

    Both are rounded down: `increase()` brings fractions.
    """
    parts = _parts(answer, revision)
    for part in ("passed", "total"):
        if len(parts[part]) != 1:
            found = f"{len(parts[part])} series, and has to be summed up to one" if parts[part] else "no series"
            raise NoAnswer(f"{part} of query {name} has {found}, for revision {revision}")
    passed, total = (_floor([parts[part][0].number]) for part in ("passed", "total"))
    if passed > total:
        raise NoAnswer(f"query {name} counts {passed} that passed of {total}: are these counts of the same answers?")
    return QualityCounts(passed, total - passed, distinct=None)


def pairs_query(namespace: str, name: str, revision: str, reference: str, seconds: int, ago: int = 0) -> str:
    """Items that both revisions answered in so many seconds, which end `ago` seconds before now; and the prober now."""
    model = {"namespace": namespace, "name": name}
    pairs = selector(metrics.PROBE_PAIRS, {**model, "revision": revision, "reference": reference})
    parts = {
        "counted": _once(_counted(pairs, seconds, ago=ago), "cell", "slice"),
        "distinct": selector(metrics.SOURCE_ITEMS, model),
        "interval": selector(metrics.INTERVAL, model),
        "last": selector(metrics.LAST_ANSWER, {**model, "revision": revision}),
        "other": f"max without (revision) ({selector(metrics.LAST_ANSWER, {**model, 'revision': reference})})",
    }
    return _union(parts)


def read_pairs(answer: list[Series], revision: str, reference: str) -> PairCounts:
    """The paired table; raises NoAnswer where the answer does not tell or either has stopped answering the prober."""
    parts = _parts(answer, revision)
    _recent(parts, "last", revision)
    _recent(parts, "other", reference)
    both, harm, gain, neither = (
        _floor(series.number for series in parts["counted"] if series.metric.get("cell") == cell)
        for cell in ("both", "harm", "gain", "neither")
    )
    return PairCounts(both, harm, gain, neither, _floor([_one(parts["distinct"], metrics.SOURCE_ITEMS)]))


def latency_query(histogram: str, namespace: str, name: str, revision: str, seconds: int) -> str:
    """A histogram of a revision's engines, as it grew in the last so many seconds.

    What a series was born with is left out: the completion that proves a new pod is the slowest that it ever answers.
    """
    where = {"namespace": namespace, "name": name, "revision": revision}
    buckets = selector(f"{histogram}_bucket", where)
    counted = _once(_grown(f"{buckets}[{seconds}s]"), "le", "engine")
    return _union({"counted": counted, "now": f"count by (revision) ({buckets})"})


def read_latency(answer: list[Series], revision: str) -> Histogram:
    """The histogram with its bounds in order; raises NoAnswer where the answer has none."""
    parts = _parts(answer, revision)
    if not parts["now"]:
        raise NoAnswer(f"no recent latencies of revision {revision}: are its pods scraped, and is its engine vLLM?")
    found = {_bound(series): series.number for series in parts["counted"]}
    if math.inf not in found:
        raise NoAnswer(f"Prometheus has no whole histogram of revision {revision}")
    bounds = tuple(sorted(found))
    return Histogram(bounds, tuple(_floor([found[bound]]) for bound in bounds))


def _bound(series: Series) -> float:
    """Upper bound of a bucket in seconds."""
    text = series.metric.get("le", "")
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise NoAnswer(f"a bucket of the histogram ends at {text[:30]!r}, which is no number")
    return bound


def _counted(series: str, seconds: int, but: str = "", ago: int = 0) -> str:
    """What each counter counted in the window, which ends `ago` seconds before now.

    `but` takes some out of those whose first value counts.
    """
    window = f"{series}[{seconds}s]" + (f" offset {ago}s" if ago else "")
    born = f"{_born(series, window, seconds + ago)} {but}"
    return f"sum without ({_PART}) ({_union({'grown': _grown(window), 'born': born})})"


def _grown(window: str) -> str:
    """By how much each counter rose between its samples in a window."""
    straight = f"max_over_time({window}) - min_over_time({window}) unless resets({window}) > 0"
    return f"{straight} or increase({window}) and resets({window}) > 0"


def _born(series: str, window: str, begins: int) -> str:
    """What series had when they were first seen, of those that began in the window, `begins` seconds before now.

    A day is looked back, for Prometheus itself may have been away when the window began. Of a counter that was reset in
    the window as well, this is the least that it can have been.
    """
    return f"min_over_time({window}) unless last_over_time({series}[1d] offset {begins}s)"


def _lost(series: str, seconds: int) -> str:
    """What that least falls short of the first value, of counters that began and were reset in the window.

    An engine that was started again may have counted more when it was first seen than ever since. The first value is
    that of the first step of `_STEP` seconds at which there is one, and none the step before.
    """
    window, before = f"{series}[{seconds}s]", f"last_over_time({series}[1d] offset"
    first = f"max_over_time(({series} unless {before} {_STEP}s))[{seconds}s:{_STEP}s])"
    return f"{first} - min_over_time({window}) and resets({window}) > 0 unless {before} {seconds}s)"


def _once(series: str, kept: str, summed: str = "") -> str:
    """Sums over pods. A pod that two jobs scrape, or two replicas of a Prometheus, counts once all the same."""
    each = ",".join(filter(None, ["revision", kept, summed, "pod,instance"]))
    return f"sum by (revision,{kept}) (max by ({each}) ({series}))"


def _union(parts: dict[str, str]) -> str:
    """All series of some expressions in one vector, each marked with its part."""
    return " or ".join(f'label_replace({expression},"{_PART}","{part}","","")' for part, expression in parts.items())


def _parts(answer: list[Series], revision: str) -> Parts:
    """The series by part. A server that mixes revisions up is not believed at all."""
    parts: Parts = defaultdict(list)
    for series in answer:
        if series.metric.get("revision", revision) != revision:
            raise NoAnswer(f"Prometheus mixes other revisions into its answer about revision {revision}")
        part = series.metric.get(_PART)
        if part is None:
            raise NoAnswer("Prometheus answered another question than was asked")
        if series.number >= 0:  # raises for what is no count
            parts[part].append(series)
    return parts


def _users(counted: list[Series]) -> int:
    """What the engine counted without what the prober did."""
    asked = _floor(series.number for series in counted if "handler" in series.metric)
    probed = _floor(series.number for series in counted if "handler" not in series.metric)
    return max(0, asked - probed)


def _one(found: list[Series], metric: str) -> float:
    """The value of what should be one series; two that agree, as of a pod and its successor, are one."""
    values = {series.number for series in found}
    if len(values) != 1:
        raise NoAnswer(f"{'several series disagree' if values else 'no series'} where {metric} should be one")
    return values.pop()


def _recent(parts: Parts, part: str, revision: str) -> None:
    """Raise where the prober has not had an answer from the revision lately."""
    if not parts[part]:
        raise NoAnswer(f"no recent word of the prober about revision {revision}: is it running, and is it scraped?")
    interval = _one(parts["interval"], metrics.INTERVAL)
    _fresh(parts[part], max(STALE_SECONDS, STALE_GAPS * interval), revision)


def _fresh(last: list[Series], limit: float, revision: str) -> None:
    """Raise where the latest answer is too old, or from the future: by Prometheus' clock, which dated the question."""
    latest = max(last, key=lambda series: series.number)
    age = latest.at - latest.number
    if not latest.number:
        raise NoAnswer(f"stale: the prober has had no answer from revision {revision} yet")
    if age < -_AHEAD:
        raise NoAnswer("the prober's clock is ahead of Prometheus'")
    if age > limit:
        at = datetime.fromtimestamp(latest.number, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise NoAnswer(f"stale: the prober had its latest answer from revision {revision} at {at}")


def _floor(values: Iterable[float]) -> int:
    """The whole part of a sum; what sums of floats lose by themselves does not cost a whole one."""
    return math.floor(round(math.fsum(values), 6))
