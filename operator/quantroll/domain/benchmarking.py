"""Benchmarks: of the baseline and of what is proven, once the ladder is done. A failed one blocks nothing.

They come last because verdicts do not wait for them, and what is not proven need not be fast.
"""

from quantroll.api.base import parse_duration
from quantroll.api.figures import BenchmarkFigures
from quantroll.api.jobs import BenchmarkInput
from quantroll.api.spec import Benchmark, QuantizedModelSpec
from quantroll.api.status import Attempt, RevisionSpec
from quantroll.constants import ARTIFACTS_MOUNT, BASELINE, BENCHMARK_MOUNT, ENGINE_PORT, Phase
from quantroll.domain import fingerprints, ladder
from quantroll.domain.draft import ROW_LIMIT, Draft, attempt, clip, is_due
from quantroll.domain.gate import Verdict
from quantroll.domain.jobs import may_run, new_failure, report_of
from quantroll.domain.locate import baseline_model, model_path
from quantroll.domain.pipeline import revision_spec
from quantroll.domain.sweep import judged
from quantroll.domain.wanted import WantedBenchmark

Learnt = tuple[BenchmarkFigures | None, Attempt | None]


def attend(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Measure one after the other; True when there is nothing left to do."""
    return _baseline(draft, spec) and _variants(draft, spec)


def _baseline(draft: Draft, spec: QuantizedModelSpec) -> bool:
    row = draft.status.baseline
    if row is None:
        return False
    figures, failure = _learnt(draft, spec.benchmark, row.revision, (row.benchmark, row.failure))
    draft.set(baseline=row.model_copy(update={"benchmark": figures, "failure": failure}))
    if spec.benchmark is None or figures:
        return True
    served = revision_spec(draft, spec, BASELINE, baseline_model(spec.model))
    job = _wanted(draft, spec, spec.benchmark, BASELINE, row.revision, served)
    return _given_up(draft, job, failure)


def _variants(draft: Draft, spec: QuantizedModelSpec) -> bool:
    for variant in spec.variants:
        row = next(row for row in draft.status.variants if row.name == variant.name)
        if row.artifact is None:
            continue
        revision, served, _ = ladder.identity(draft, spec, variant, row.artifact)
        figures, failure = _learnt(draft, spec.benchmark, revision, (row.benchmark, row.failure))
        draft.set_variant(row.model_copy(update={"benchmark": figures, "failure": failure}))
        if spec.benchmark is None or figures or row.verdict != Verdict.PASS.value:
            continue
        job = _wanted(draft, spec, spec.benchmark, variant.name, revision, served)
        if not _given_up(draft, job, failure):
            return False
    return True


def current(
    spec: QuantizedModelSpec, revision: str | None, figures: BenchmarkFigures | None
) -> BenchmarkFigures | None:
    """The figures, if they are of this revision and of the load that the spec asks for."""
    if spec.benchmark is None or revision is None or figures is None:
        return None
    return figures if figures.key == fingerprints.benchmark_key(revision, spec.benchmark) else None


def problem(spec: QuantizedModelSpec, revision: str | None, failure: Attempt | None, verdict: str | None = None) -> str:
    """Why there are no figures of a benchmark that is asked for; empty where none is."""
    if spec.benchmark is None:
        return ""
    if verdict and verdict != Verdict.PASS.value:
        return "only what is proven is benchmarked"
    if revision and failure and failure.key == fingerprints.benchmark_key(revision, spec.benchmark):
        return f"no benchmark: {failure.message}"
    return "not benchmarked yet"


def _learnt(draft: Draft, wanted: Benchmark | None, revision: str, known: Learnt) -> Learnt:
    """What the Job has measured, held against the SLO as it is now; and its failure."""
    figures, failure = known
    if wanted is None:
        return None, failure
    key = fingerprints.benchmark_key(revision, wanted)
    if figures and figures.key == key:
        again = judged(key, figures.levels, wanted.slo, figures.notes)
        return again.model_copy(update={"seconds": figures.seconds}), failure
    report = report_of(draft.seen.jobs.get(key))
    if report and report.benchmark:
        found = report.benchmark
        measured = judged(key, found.levels, wanted.slo, found.notes)
        return measured.model_copy(update={"seconds": found.seconds}), None
    if new := new_failure(draft, key, failure):
        failed = attempt(draft, *new, failure, None)
        return None, failed.model_copy(update={"message": clip(failed.message, ROW_LIMIT)})
    return None, failure


def _given_up(draft: Draft, job: WantedBenchmark, failure: Attempt | None) -> bool:
    """Whether the Job has failed for good; wants it otherwise."""
    if not is_due(draft, failure, job.key):
        return True
    draft.say(Phase.EVALUATING, f"measuring the speed of {job.variant}")
    if may_run(draft, job.key, failure):
        draft.wanted.jobs.append(job)
    return False


def _wanted(
    draft: Draft, spec: QuantizedModelSpec, wanted: Benchmark, arm: str, revision: str, served: RevisionSpec
) -> WantedBenchmark:
    key = fingerprints.benchmark_key(revision, wanted)
    return WantedBenchmark(
        key=key,
        variant=arm,
        revision=revision,
        served=served,
        job_input=BenchmarkInput(
            key=key,
            store=ARTIFACTS_MOUNT,
            results=BENCHMARK_MOUNT,
            model_path=model_path(served.model),
            endpoint=f"http://127.0.0.1:{ENGINE_PORT}",
            served_model=draft.seen.name,
            concurrency=wanted.concurrency,
            prompt_tokens=wanted.prompt_tokens,
            output_tokens=wanted.output_tokens,
            ready_timeout_seconds=parse_duration(spec.rollout.deadlines.model_load).total_seconds(),
        ),
    )
