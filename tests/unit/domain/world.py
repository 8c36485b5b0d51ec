"""A small world that plans act on: Jobs end, pods get ready, a gateway accepts; every pass is checked on its way."""

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from quantroll.api.counts import SliceCounts
from quantroll.api.engine import EngineProfile
from quantroll.api.jobs import (
    BenchmarkInput,
    BenchmarkResult,
    ConfirmInput,
    ConfirmResult,
    DataFacts,
    EvaluateInput,
    EvaluateResult,
    ModelFacts,
    PrepareInput,
    PrepareResult,
    QuantizeInput,
    QuantizeResult,
    Report,
)
from quantroll.api.prices import PriceTable
from quantroll.api.status import QuantizedModelStatus, Share
from quantroll.constants import Condition, Reason
from quantroll.controller.gather import parse_spec
from quantroll.domain.conditions import SETTLED
from quantroll.domain.events import Event
from quantroll.domain.plan import Plan, plan
from quantroll.domain.questions import CanaryQuestions, questions
from quantroll.domain.snapshot import (
    CanaryCounts,
    Histogram,
    JobState,
    JobView,
    PairCounts,
    Problem,
    QualityCounts,
    RequestCounts,
    RouteView,
    ServerView,
    Snapshot,
    Unknown,
)
from quantroll.domain.wanted import (
    WantedBenchmark,
    WantedConfirm,
    WantedEvaluate,
    WantedJob,
    WantedPrepare,
    WantedQuantize,
)
from unit.domain import invariants
from unit.domain.remembered import remembered

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
ITEMS = 2000
# both, harm, gain, neither
PROVEN, UNSURE, BAD = (1985, 5, 2, 8), (1880, 110, 5, 5), (300, 1690, 2, 8)
WEIGHTS = {8: 600_000, 4: 400_000}
ENGINES = {"vllm-cpu": EngineProfile(image="example.com/vllm-cpu:1", device="cpu")}

SPEC: dict[str, Any] = {
    "model": {"source": "pvc://tiny/model"},
    "variants": [
        {"name": "int8", "scheme": "W8A8", "smoothQuantStrength": 0.8},
        {"name": "gptq4", "scheme": "W4A16"},
        {"name": "rtn4", "scheme": "W4A16", "algorithm": "RTN", "allowNaive": True},
    ],
    "calibration": {"dataset": "pvc://tiny/calibration.jsonl", "samples": 256, "maxSequenceLength": 64},
    "qualityGate": {"verifiedAgainst": "bfloat16", "evalSet": {"source": "pvc://tiny/eval.jsonl"}},
    "serving": {"engine": "vllm-cpu", "replicas": 2},
    "rollout": {
        "steps": [{"weight": 10, "duration": "2m"}, {"weight": 50, "duration": "3m"}],
        "routing": {"parentRefs": [{"name": "public"}]},
        "deadlines": {"modelLoad": "30m", "drain": "10m"},
        "rollback": {"keepWarm": "0s"},
    },
    "driftCheck": {"schedule": "@weekly"},
}


def spec_with(**changes: Any) -> dict[str, Any]:
    """SPEC with changes by path, parts joined by two underscores: spec_with(serving__replicas=3)."""
    spec = copy.deepcopy(SPEC)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = spec
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return spec


KINDS = {
    WantedPrepare: "prepare",
    WantedQuantize: "quantize",
    WantedEvaluate: "evaluate",
    WantedConfirm: "confirm",
    WantedBenchmark: "benchmark",
}


@dataclass
class SimJob:
    """A Job as the cluster has it."""

    wanted: WantedJob
    view: JobView

    @property
    def kind(self) -> str:
        return KINDS[type(self.wanted)]

    @property
    def variant(self) -> str:
        return getattr(self.wanted, "variant", "")


class World:
    """One QuantizedModel, its children, and a clock; `tick` is one pass, carried out."""

    def __init__(self, spec: dict[str, Any] | None = None) -> None:
        self.now, self.generation, self.name = START, 1, "tiny"
        self.spec = spec or spec_with()
        self.engines = dict(ENGINES)
        self.status = QuantizedModelStatus()
        self.jobs: dict[str, SimJob] = {}  # by key
        self.made: list[tuple[str, str]] = []  # (kind, key) of every Job that was ever made
        self.replicas: dict[str, int] = {}  # of the Deployments, by revision
        self.servers: dict[str, ServerView] = {}
        self.route: RouteView | None = None
        self.backends: tuple[Share, ...] = ()  # all that the route names
        self.selected: str | None = None
        self.gateway_api = True
        self.prices = PriceTable()
        self.queries: frozenset[str] = frozenset()
        self.commands: dict[str, str] = {}
        self.requests: RequestCounts | Unknown = RequestCounts(total=500, failed=0)
        self.stable_requests: RequestCounts | Unknown | None = None  # None: as many as the weights would give
        self.pairs: PairCounts | Unknown = PairCounts(both=960, harm=10, gain=10, neither=20, distinct=1000)
        self.planned: PairCounts | Unknown | None = None  # None: the same
        self.latencies: dict[str, tuple[Histogram | Unknown, Histogram | Unknown]] = {}
        self.quality: QualityCounts | Unknown = QualityCounts(right=960, wrong=40, distinct=1000)
        self.confirmed = ConfirmResult(
            items=1000, errors=0, both=950, serving_only=5, target_only=15, neither=30, source_sha256="e" * 64
        )
        self.slices: list[SliceCounts] = []
        self.moments: list[float] | None = None
        self.record = ""
        self.cells = {"int8": PROVEN, "gptq4": (1900, 90, 2, 8), "rtn4": BAD}
        self.prepared = PrepareResult(
            model=ModelFacts(digest="a" * 64, weight_bytes=10**6, architecture="LlamaForCausalLM", dtype="bfloat16"),
            eval_set=DataFacts(sha256="b" * 64, items=ITEMS),
            calibration=DataFacts(sha256="c" * 64, items=256),
        )
        self.baseline_correct, self.baseline_errors = 1990, 0
        self.errors: dict[str, int] = {}  # requests that fail, by variant
        self.speeds = {"baseline": 1.0, "int8": 2.0, "gptq4": 3.0, "rtn4": 3.0}  # times 100 tokens a second at once
        self.told: list[Event] = []
        self._uids = 0

    # what the operator sees and does

    def snapshot(self) -> Snapshot:
        spec, error = parse_spec({"spec": self.spec})
        asked = questions(self.status, spec, self.now)
        return Snapshot(
            namespace="ml", name=self.name, generation=self.generation, spec=spec, spec_error=error, status=self.status,
            engines=dict(self.engines), jobs={key: job.view for key, job in self.jobs.items()},
            servers=dict(self.servers), services=frozenset(self.replicas),
            route=self.route, gateway_api=self.gateway_api, selected=self.selected,
            commands=dict(self.commands), prices=self.prices, queries=self.queries,
            requests=self.requests if asked.requests else None,
            quality=self.quality if asked.quality else None, canary=self._canary(asked.canary),
        )  # fmt: skip

    def _canary(self, asked: CanaryQuestions | None) -> CanaryCounts:
        rollout = self.status.rollout
        if asked is None or rollout is None:
            return CanaryCounts()
        stable = self.stable_requests
        if stable is None and isinstance(self.requests, RequestCounts):
            stable = RequestCounts(self.requests.total * (100 - rollout.weight) // rollout.weight, 0)
        return CanaryCounts(
            stable=stable or Unknown("no answer"),
            pairs=self.pairs if asked.pairs else None,
            planned=(self.planned or self.pairs) if asked.planned else None,
            latencies={name: self.latencies[name] for name in asked.latencies},
        )

    def plan(self) -> Plan:
        """A pass's decision, checked, not carried out."""
        return self.decide(self.snapshot())[0]

    def decide(self, seen: Snapshot) -> tuple[Plan, QuantizedModelStatus]:
        """The same of what was seen then, and the status as the next pass will read it."""
        decided = plan(seen, self.now)
        return decided, invariants.check(seen, decided, self.now)

    def tick(self, seen: Snapshot | None = None) -> Plan:
        """One pass: decide, record, carry out."""
        decided, self.status = self.decide(seen or self.snapshot())
        self.told += decided.events
        self._carry_out(decided)
        return decided

    def dies(self, *, half: bool) -> None:
        """One pass whose decision is written, and of which nothing is carried out, or only the first server."""
        decided, self.status = self.decide(self.snapshot())
        first = decided.wanted.servers[:1]
        if half and first:
            others = set(self.replicas) - {first[0].revision}
            done = replace(decided.wanted, servers=first, kept=others, jobs=[], shares=None, keep_jobs=True)
            self._carry_out(replace(decided, wanted=done))

    def _carry_out(self, decided: Plan) -> None:
        wanted = decided.wanted
        if not wanted.settled:
            return
        dropped = {key for key, job in self.jobs.items() if job.view.uid in wanted.drop_jobs}
        for job in wanted.jobs:
            if job.key not in self.jobs:
                self._create(job)
        asked = {job.key for job in wanted.jobs}
        unasked = (
            set()
            if wanted.keep_jobs
            else {k for k, job in self.running_by_key().items() if k not in asked | wanted.kept_jobs}
        )
        for key in dropped | unasked:
            del self.jobs[key]
        self.replicas = {
            **{s.revision: s.replicas for s in wanted.servers},
            **{r: n for r, n in self.replicas.items() if r in wanted.kept},
        }
        self.servers = {
            revision: replace(view, ready=min(view.ready, self.replicas[revision]))
            for revision, view in self.servers.items()
            if revision in self.replicas
        }
        self.selected = wanted.selected if wanted.stable else None
        given = tuple(share for share in wanted.shares or () if share.weight)
        if wanted.shares and (self.route is None or self.route.shares != given or self.backends != wanted.shares):
            named = frozenset(share.revision for share in wanted.shares)
            self.route = RouteView(shares=given, named=named, accepted=False, message="not answered yet")
            self.backends = wanted.shares

    def _create(self, wanted: WantedJob) -> None:
        self._uids += 1
        kind = KINDS[type(wanted)]
        uid = f"{self._uids:08}-0000-4000-8000-000000000000"
        view = JobView(f"tiny-{kind}-{wanted.key[:6]}", uid, wanted.key, JobState.ACTIVE)
        self.jobs[wanted.key] = SimJob(wanted, view)
        self.made.append((kind, wanted.key))

    # what happens in the world

    def passes(self, **time: float) -> None:
        self.now += timedelta(**time)

    def edit(self, **changes: Any) -> None:
        """A spec change by path, as `spec_with`."""
        spec = copy.deepcopy(self.spec)
        for path, value in changes.items():
            *parents, last = path.split("__")
            place = spec
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        self.spec, self.generation = spec, self.generation + 1

    def job(self, kind: str, variant: str = "") -> SimJob | None:
        """The Job of this kind that has not ended."""
        found = [j for j in self.jobs.values() if j.kind == kind and variant in ("", j.variant)]
        return next((j for j in found if j.view.state is JobState.ACTIVE), None)

    def running(self) -> list[SimJob]:
        return list(self.running_by_key().values())

    def running_by_key(self) -> dict[str, SimJob]:
        return {key: job for key, job in self.jobs.items() if job.view.state is JobState.ACTIVE}

    def change_job(self, job: SimJob, **changes: Any) -> None:
        self.jobs[job.view.key].view = replace(job.view, **changes)

    def finish(self, job: SimJob) -> None:
        """It ends well."""
        self.change_job(job, state=JobState.SUCCEEDED, finished_at=self.now, report=self._report(job))

    def fail(self, job: SimJob, reason: Reason | None, message: str = "it says why") -> None:
        """It ends with a reason in its report; with None, without a word."""
        report = None
        if reason:
            report = Report(kind=job.wanted.job_input.kind, key=job.view.key, reason=reason, message=message)
        self.change_job(job, state=JobState.FAILED, finished_at=self.now, report=report)

    def _report(self, job: SimJob) -> Report:
        given = job.wanted.job_input
        if isinstance(given, PrepareInput):
            return Report(kind="prepare", key=given.key, prepare=self.prepared)
        if isinstance(given, QuantizeInput):
            size = WEIGHTS[given.recipe.scheme.weight_bits]
            made = QuantizeResult(
                path=f"models/{given.key}", digest=given.key[::-1], weight_bytes=size, size_ratio=size / 1e6,
                quantized_layers=21, skipped_layers=1, seconds=1,
            )  # fmt: skip
            return Report(kind="quantize", key=given.key, quantize=made)
        if isinstance(given, ConfirmInput):
            return Report(kind="confirm", key=given.key, confirm=self.confirmed)
        if isinstance(given, BenchmarkInput):
            measured = BenchmarkResult(
                levels=[self._level(c, self.speeds[job.variant]) for c in given.concurrency], seconds=600
            )
            return Report(kind="benchmark", key=given.key, benchmark=measured)
        return Report(kind="evaluate", key=given.key, evaluate=self._measured(given, job.variant))

    def _level(self, concurrency: int, speed: float) -> list[float]:
        """A faster form answers sooner, too; more at once make all wait longer."""
        ttft, itl, tokens = 50 * concurrency / speed, 10 * concurrency / speed, 100 * speed * concurrency**0.5
        return [concurrency, ttft / 2, ttft, itl / 2, itl, tokens, tokens / 128, 0, 100]

    def _measured(self, given: EvaluateInput, variant: str) -> EvaluateResult:
        plain = {"items": ITEMS, "truncated": 0, "prompts_digest": "d" * 64, "record": self.record}
        if given.baseline_key is None:
            return EvaluateResult(correct=self.baseline_correct, errors=self.baseline_errors, **plain)
        both, harm, gain, neither = self.cells[variant]
        return EvaluateResult(
            correct=both + gain, errors=self.errors.get(variant, 0), both=both, harm=harm, gain=gain, neither=neither,
            baseline_errors=self.baseline_errors,
            prompts_match=True, slices=self.slices, moments=self.moments, **plain,
        )  # fmt: skip

    def ready(self, revision: str, pods: int | None = None, problem: Problem | None = None) -> None:
        """So many pods are ready; None: all that are wanted."""
        count = self.replicas.get(revision, 0) if pods is None else pods
        self.servers[revision] = ServerView(ready=count, problem=problem, in_flight=0)

    def accept(self) -> None:
        if self.route:
            self.route = replace(self.route, accepted=True, message="")

    def works(self, *, but: str = "") -> None:
        """Everything that is asked for comes about, save what is named: job, pods, or route."""
        if but != "job":
            for job in self.running():
                self.finish(job)
        if but != "pods":
            for revision in self.replicas:
                self.ready(revision)
        if but != "route":
            self.accept()

    @remembered
    def until(self, phase: str, *, but: str = "", limit: int = 300) -> Plan:
        """Passes in a world that works, with the clock going on when nothing else does, until a phase is reached."""
        for _ in range(limit):
            before = self.status
            decided = self.tick()
            if self.status.phase == phase:
                return decided
            around = self._around()
            self.works(but=but)
            if (self.status, around) == (before, self._around()) and decided.wake_at:
                self.now = max(self.now, decided.wake_at)
        raise AssertionError(f"never {phase}: {self.status.phase}: {self.status.message}; {self.stalled()}")

    def _around(self) -> object:
        views = {key: job.view for key, job in self.jobs.items()}
        return copy.copy(self.route), dict(self.servers), dict(self.replicas), views

    @remembered
    def settle(self, limit: int = 400) -> None:
        """Until nothing moves any more in a world that works."""
        quiet = 0
        for _ in range(limit):
            before = self.status, copy.copy(self.route), dict(self.replicas), self.selected
            decided = self.tick()
            self.works()
            moved = before != (self.status, self.route, self.replicas, self.selected) or self.running()
            quiet = 0 if moved else quiet + 1
            if not moved and decided.wake_at and (self.status.rollout or self.status.phase not in SETTLED):
                self.now = max(self.now + timedelta(seconds=1), decided.wake_at)
            if quiet >= 3 and self.status.phase in SETTLED and self.status.rollout is None:
                return
        raise AssertionError(f"does not settle: {self.status.phase}: {self.status.message}; {self.stalled()}")

    # what one asks about it

    def condition(self, kind: Condition) -> tuple[str, str, str]:
        found = next(c for c in self.status.conditions if c.type == kind)
        return found.status, found.reason, found.message

    def stalled(self) -> str | None:
        """The reason of Stalled, None where nothing stalls."""
        status, reason, _ = self.condition(Condition.STALLED)
        return reason if status == "True" else None

    def verdicts(self) -> dict[str, str | None]:
        return {row.name: row.verdict for row in self.status.variants}

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.made]

    def phases(self) -> list[str]:
        return [entry.phase.value for entry in self.status.history]


def steady(spec: dict[str, Any] | None = None) -> World:
    """A world in which the loop has been gone through once."""
    world = World(spec)
    world.until("Steady")
    world.settle()
    return world
