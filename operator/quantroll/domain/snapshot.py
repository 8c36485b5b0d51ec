"""What was observed of one QuantizedModel and its children: all that a decision may look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from quantroll.api.engine import EngineProfile
from quantroll.api.jobs import Report
from quantroll.api.prices import PriceTable
from quantroll.api.spec import Backend, QuantizedModelSpec, ScorerName
from quantroll.api.status import QuantizedModelStatus, Share
from quantroll.constants import Reason


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a pod does not get on, in words for the user."""

    reason: Reason
    message: str
    since: datetime | None = field(default=None, compare=False)  # of one that may end by itself: no node, say


class JobState(StrEnum):
    """Where a Job stands."""

    ACTIVE = "Active"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class JobView:
    """A Job with what its pods say."""

    name: str
    uid: str
    key: str
    state: JobState
    finished_at: datetime | None = None
    report: Report | None = None
    unreadable: bool = False  # it left a message that is no report
    problem: Problem | None = None
    engine_restarts: int = 0
    progress: float | None = None  # share of an evaluation's questions that are answered; None: not asked, or not told
    engine_problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class ServerView:
    """The pods of one revision."""

    ready: int = 0
    problem: Problem | None = None
    in_flight: int | None = None  # requests running and waiting; None: not known


@dataclass(frozen=True, slots=True)
class RouteView:
    """The HTTPRoute as the gateway reports it."""

    shares: tuple[Share, ...] = ()  # those above 0
    named: frozenset[str] = frozenset()  # all revisions that are backends
    accepted: bool = False  # by every parent, references resolved, at the route's present generation
    refused: bool = False  # a gateway said no, rather than nothing
    message: str = ""
    edited: bool = False  # by somebody else, in whatever it says


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a question to Prometheus did not bring: neither good nor bad. `cause` is one line for people."""

    cause: str


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Requests of users to one revision, the prober's taken off."""

    total: int
    failed: int  # HTTP 5xx


@dataclass(frozen=True, slots=True)
class QualityCounts:
    """The prober's answers from one revision."""

    right: int
    wrong: int  # answers; a request that got none is in neither
    distinct: int | None  # items that the prober goes through: more answers than that are repetitions; None: not known

    @property
    def samples(self) -> int:
        """Answers that are no repetitions."""
        return self.answers if self.distinct is None else min(self.answers, self.distinct)

    @property
    def answers(self) -> int:
        """All answers."""
        return self.right + self.wrong


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Items of the prober that candidate and stable both answered, by who was right; repetitions count."""

    both: int
    harm: int  # only stable was right
    gain: int  # only the candidate was
    neither: int
    distinct: int  # items that the prober goes through


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations by how long they took: those up to each bound in seconds, the last of which is infinite."""

    bounds: tuple[float, ...]  # rising
    counts: tuple[int, ...]  # cumulative, one for each bound


@dataclass(frozen=True, slots=True)
class CanaryCounts:
    """What was asked about a candidate beside its own requests; None: not asked."""

    stable: RequestCounts | Unknown | None = None  # users' requests to the stable revision since the step began
    pairs: PairCounts | Unknown | None = None  # since the rollout began
    planned: PairCounts | Unknown | None = None  # of them, those up to the last planned look
    latencies: Mapping[str, tuple[Histogram | Unknown, Histogram | Unknown]] = field(default_factory=dict)
    # by metric: the candidate's and stable's since the step began


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One QuantizedModel at one moment."""

    namespace: str
    name: str
    generation: int
    spec: QuantizedModelSpec | None  # None: it cannot be read
    spec_error: str  # why it cannot be taken up
    status: QuantizedModelStatus
    engines: Mapping[str, EngineProfile]
    backends: frozenset[Backend] = frozenset(Backend)  # those that the admin has given an image for
    scorers: frozenset[ScorerName] = frozenset(ScorerName)  # those that the admin has given an image for
    prices: PriceTable = field(default_factory=PriceTable)
    queries: frozenset[str] = frozenset()  # names of those that the admin has defined for drift checks
    jobs: Mapping[str, JobView] = field(default_factory=dict)  # by key
    servers: Mapping[str, ServerView] = field(default_factory=dict)  # by revision
    services: frozenset[str] = frozenset()  # revisions that have one of their own
    route: RouteView | None = None
    selected: str | None = None  # the revision that the stable Service selects, empty for all; None: no such Service
    gateway_api: bool = True
    commands: Mapping[str, str] = field(default_factory=dict)  # value of the annotation, by verb
    requests: RequestCounts | Unknown | None = None  # of the candidate since the step began; None: not asked
    canary: CanaryCounts = field(default_factory=CanaryCounts)
    quality: QualityCounts | Unknown | None = None  # of the stable revision in the check's window; None: not asked
    lost: str = ""  # why the status cannot be rebuilt, although something serves
    trouble: Problem | None = None  # what the API server refused when the last plan was carried out

    def server(self, revision: str) -> ServerView:
        """The pods of a revision; none is an answer, too."""
        return self.servers.get(revision, ServerView())
