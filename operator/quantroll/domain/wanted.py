"""What should exist: the result of a decision, rendered to manifests by the builders."""

from dataclasses import dataclass, field

from quantroll.api.jobs import BenchmarkInput, ConfirmInput, EvaluateInput, PrepareInput, ProbeInput, QuantizeInput
from quantroll.api.status import RejectedRevision, RevisionSpec, Share


@dataclass(frozen=True, slots=True)
class WantedPrepare:
    """The prepare Job."""

    key: str
    job_input: PrepareInput


@dataclass(frozen=True, slots=True)
class WantedQuantize:
    """A quantize Job."""

    key: str
    variant: str
    job_input: QuantizeInput


@dataclass(frozen=True, slots=True)
class WantedEvaluate:
    """An evaluate Job, with the revision that its engine stands for."""

    key: str
    variant: str
    revision: str
    served: RevisionSpec
    job_input: EvaluateInput


@dataclass(frozen=True, slots=True)
class WantedConfirm:
    """A confirm Job, which asks two revisions that run."""

    key: str
    job_input: ConfirmInput


@dataclass(frozen=True, slots=True)
class WantedBenchmark:
    """A benchmark Job, with the revision that its engine stands for."""

    key: str
    variant: str
    revision: str
    served: RevisionSpec
    job_input: BenchmarkInput


WantedJob = WantedPrepare | WantedQuantize | WantedEvaluate | WantedConfirm | WantedBenchmark


@dataclass(frozen=True, slots=True)
class WantedProber:
    """The prober."""

    probe_input: ProbeInput


@dataclass(frozen=True, slots=True)
class WantedServer:
    """Deployment and Service of one revision."""

    revision: str
    variant: str
    served: RevisionSpec
    replicas: int


@dataclass(slots=True)
class Wanted:
    """The children that should exist, and Jobs that have to go."""

    jobs: list[WantedJob] = field(default_factory=list)
    servers: list[WantedServer] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)  # revisions that are left alone for now: neither changed nor deleted
    stable: str | None = None  # the stable revision
    rejected: tuple[RejectedRevision, ...] = ()  # kept with the stable Service, should the status get lost
    selected: str = ""  # the revision that the stable Service selects; empty: all that serve
    prober: WantedProber | None = None
    keep_prober: bool = False  # one that runs and is not asked for stays as it is
    shares: tuple[Share, ...] | None = None  # of the route, with 0 for what is only named; None: leave the route alone
    drop_jobs: set[str] = field(default_factory=set)  # uids
    keep_jobs: bool = False  # Jobs that are not asked for may end all the same, and be read
    kept_jobs: set[str] = field(default_factory=set)  # so may those of these keys
    settled: bool = True  # False: what should be cannot be told, so everything is left as it is
