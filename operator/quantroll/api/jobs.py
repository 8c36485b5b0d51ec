"""The contract between the operator and its Jobs.

The operator writes a Job's input as JSON into the environment variable `QUANTROLL_JOB`; the Job writes its report as
JSON into the termination message, at most 4096 bytes, and a manifest with the same report onto the artifact volume.
Both sides parse with these models. A quantize or evaluate Job first looks for a finished manifest of its own key and
reports that again; prepare looks at the data anew, which may have changed under the same name.

Layout of the artifact volume, all written as `*.tmp-…` and renamed when whole:

    prepare/KEY/manifest.json
    models/KEY/…checkpoint…            models/KEY/quantroll-manifest.json
    evaluations/KEY/items.jsonl        evaluations/KEY/manifest.json
    confirmations/KEY/items.jsonl      confirmations/KEY/manifest.json
    benchmarks/KEY/CONCURRENCY.json    benchmarks/KEY/manifest.json
    sources/KEY/…checkpoint…           a model that was fetched
    huggingface/…                      data of lm-eval's tasks, as prepare fetched them
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from quantroll.api.base import ApiModel
from quantroll.api.counts import MAX_SLICES, Count, Counts
from quantroll.api.figures import MAX_LEVELS, Level
from quantroll.api.shape import ModelShape
from quantroll.api.spec import Algorithm, Backend, Dtype, Scheme, ScorerName, Scoring
from quantroll.constants import Reason

INPUT_VARIABLE = "QUANTROLL_JOB"
PROBE_VARIABLE = "QUANTROLL_PROBE"
REPORT_LIMIT = 4096  # bytes; Kubernetes cuts a termination message there
MESSAGE_LIMIT = 1024  # characters of one message
EXIT_BAD_INPUT = 65  # sysexits' EX_DATAERR: another try would end the same way
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DataFile(ApiModel):
    """A JSON-lines file as a pod sees it; `sha256` is what it must have, where given."""

    path: str
    sha256: str | None = None
    id_field: str = "id"
    slice_field: str | None = None
    cluster_field: str | None = None


class Judging(ApiModel):
    """How answers are judged, and so what an item has to have."""

    scorer: ScorerName = ScorerName.EXACT_MATCH
    scoring: Scoring | None = None
    system_prompt: str | None = None  # before the messages of each item


class Asking(Judging):
    """How items are asked: the same for all that are compared."""

    temperature: float
    max_tokens: int
    request_timeout_seconds: float = 120


class HubModel(ApiModel):
    """A repository of the Hugging Face hub at one commit."""

    repository: str
    revision: str


class PrepareInput(Judging):
    """Check and digest everything that the user gave."""

    kind: Literal["prepare"] = "prepare"
    contract: Literal[1] = 1
    key: Key
    store: str
    model_path: str  # where it lies, or where `hub` is copied to
    hub: HubModel | None = None
    dtype: Dtype
    eval_set: DataFile
    also_report: list[ScorerName] = []
    calibration: DataFile | None = None


class Recipe(ApiModel):
    """How a variant is made."""

    backend: Backend = Backend.LLM_COMPRESSOR
    scheme: Scheme
    algorithm: Algorithm
    group_size: int | None = None
    ignore: list[str] = ["lm_head"]
    smooth_quant_strength: float | None = None


class CalibrationInput(ApiModel):
    """Which calibration samples to read, and how."""

    path: str
    sha256: str
    samples: int
    max_sequence_length: int
    seed: int


class QuantizeInput(ApiModel):
    """Make one artifact and inspect it."""

    kind: Literal["quantize"] = "quantize"
    contract: Literal[1] = 1
    key: Key
    store: str
    model_path: str
    model_digest: str
    recipe: Recipe
    calibration: CalibrationInput | None = None


class EvaluateInput(Asking):
    """Ask the engine every item of the eval set, and join with the baseline's stored answers."""

    kind: Literal["evaluate"] = "evaluate"
    contract: Literal[1] = 1
    key: Key
    store: str
    eval_set: DataFile
    also_report: list[ScorerName] = []
    repeats: int = Field(default=1, ge=1)
    noise_items: int = Field(default=0, ge=0)
    endpoint: str
    served_model: str
    concurrency: int = Field(ge=1)
    ready_timeout_seconds: float
    progress_port: int | None = None  # where to tell how far it is, as metrics; None: nowhere
    baseline_key: Key | None = None
    tokenizer: str | None = None  # folder of the baseline's, for LMEval
    max_length: int | None = None  # tokens of prompt and answer that the engine takes, for LMEval
    subject: dict[str, Any] | None = None
    """What the operator knows of what is evaluated, for the record."""


class Arm(ApiModel):
    """A revision that serves, asked past the split."""

    revision: str
    endpoint: str


class ConfirmInput(Asking):
    """Ask the serving revision and the one to go back to the same items, none of which the probe ever uses."""

    kind: Literal["confirm"] = "confirm"
    contract: Literal[1] = 1
    key: Key
    store: str
    eval_set: DataFile
    items: int = Field(ge=1)
    served_model: str
    serving: Arm
    target: Arm
    concurrency: int = Field(ge=1)
    ready_timeout_seconds: float


class BenchmarkInput(ApiModel):
    """Ask the engine so many requests at once, level by level.

    A load generator of the engine's own does so before the Job's container starts, and leaves its results in a folder.
    """

    kind: Literal["benchmark"] = "benchmark"
    contract: Literal[1] = 1
    key: Key
    store: str
    results: str
    model_path: str
    endpoint: str
    served_model: str
    concurrency: Annotated[list[int], Field(min_length=1, max_length=MAX_LEVELS)]
    prompt_tokens: int
    output_tokens: int
    requests: int = 100  # of a level at least: a 99th percentile of fewer is their maximum
    ready_timeout_seconds: float
    level_timeout_seconds: float = 3600


class ProbeInput(Asking):
    """What the prober asks, and whom; it is no Job, and reads this from the environment variable QUANTROLL_PROBE."""

    contract: Literal[1] = 1
    namespace: str
    name: str  # of the QuantizedModel, which is the model's name at the engine, too
    source: DataFile  # with a digest, only this very file is used; without, it is read again when it changes
    items_per_hour: int = Field(ge=1)
    targets: Annotated[list[Arm], Field(min_length=1, max_length=2)]  # the stable revision first


AnyJobInput = PrepareInput | QuantizeInput | EvaluateInput | ConfirmInput | BenchmarkInput
JobInput = Annotated[AnyJobInput, Field(discriminator="kind")]
JOB_INPUT: TypeAdapter[AnyJobInput] = TypeAdapter(JobInput)


class ModelFacts(ApiModel):
    """What prepare found in the model's folder."""

    digest: Annotated[str, Field(max_length=128)]
    """SHA-256 over the names and digests of its files."""
    weight_bytes: int
    """Size of the weights in bytes."""
    architecture: Annotated[str, Field(max_length=128)]
    """Name of its class in transformers."""
    dtype: Annotated[str, Field(max_length=128)]
    """Numeric type of its weights."""
    shape: ModelShape | None = None
    """Sizes by its config.json; absent where that does not say what the formulas need."""


class SliceFacts(ApiModel):
    """What prepare found of one slice."""

    name: Annotated[str, Field(max_length=63)]
    """Value of the slice field."""
    items: int
    """Distinct items of the slice."""


class DataFacts(ApiModel):
    """What prepare found in a data file."""

    sha256: Annotated[str, Field(max_length=128)]
    """Digest of the file."""
    items: int
    """Lines that are items."""
    slices: Annotated[list[SliceFacts], Field(max_length=MAX_SLICES)] = []
    """Slices of an eval set, by name."""


class PrepareResult(ApiModel):
    """Digests, from which all later keys and names come."""

    model: ModelFacts
    """The baseline."""
    eval_set: DataFacts
    """The eval set."""
    calibration: DataFacts | None = None
    """The calibration data."""
    overlap: int = 0
    """Calibration items that show an item of the eval set, or a long passage of one."""
    overlap_example: Annotated[str, Field(max_length=256)] = ""
    """Where the first of them stands, and what it shows."""
    warnings: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=8)] = []
    """What is odd but no error."""


class QuantizeResult(ApiModel):
    """An inspected artifact."""

    path: str  # relative to the store
    digest: str
    weight_bytes: int
    size_ratio: float  # weight bytes / the baseline's
    quantized_layers: int
    skipped_layers: int
    seconds: float


class EvaluateResult(Counts):
    """What an evaluate Job measured."""

    prompts_digest: str
    seconds: float = 0


class ConfirmResult(ApiModel):
    """What a confirm Job measured, on distinct items that both revisions answered."""

    items: Count
    """Items that both revisions answered."""
    errors: Count
    """Items that at least one revision gave no answer to; they are in no other count."""
    both: Count
    """Items that both answered correctly."""
    serving_only: Count
    """Items that only the serving revision answered correctly."""
    target_only: Count
    """Items that only the revision to go back to answered correctly."""
    neither: Count
    """Items that both answered wrongly."""
    source_sha256: Annotated[str, Field(max_length=128)]
    """Digest of the file that the items came from."""
    seconds: float = 0


class BenchmarkResult(ApiModel):
    """What a load generator measured."""

    levels: Annotated[list[Level], Field(max_length=MAX_LEVELS)]
    """The sweep, in rising order."""
    seconds: float = 0
    """How long it took."""
    notes: Annotated[str, Field(max_length=512)] = ""
    """What went wrong at single levels."""


class Report(ApiModel):
    """What a Job says at its end: exactly one of the results, or a failure's reason and message."""

    contract: Literal[1] = 1
    kind: Literal["prepare", "quantize", "evaluate", "confirm", "benchmark"]
    key: Key
    prepare: PrepareResult | None = None
    quantize: QuantizeResult | None = None
    evaluate: EvaluateResult | None = None
    confirm: ConfirmResult | None = None
    benchmark: BenchmarkResult | None = None
    reason: Reason | None = None
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether it carries a result."""
        return self.reason is None
