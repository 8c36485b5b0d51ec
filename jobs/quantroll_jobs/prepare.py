"""The prepare Job: checks and digests what the user gave, before anything expensive starts."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from quantroll.api.counts import MAX_SLICES
from quantroll.api.jobs import DataFacts, DataFile, ModelFacts, PrepareInput, PrepareResult, Report, SliceFacts
from quantroll.api.shape import ModelShape, ShapeError, shape_of
from quantroll.api.spec import Dtype, ScorerName
from quantroll.constants import Reason
from quantroll_jobs import hub, store
from quantroll_jobs.asked import form_of
from quantroll_jobs.checkpoint import OTHER_FORMATS, Checkpoint, CheckpointError, read_checkpoint, read_object
from quantroll_jobs.datafiles import DataError, EvalSet, Item, ItemForm, calibration_text, read_calibration
from quantroll_jobs.digests import sha256_file, sha256_tree
from quantroll_jobs.errors import JobError
from quantroll_jobs.overlap import PassageIndex, QuestionIndex
from quantroll_jobs.report import cut

_DTYPES = {Dtype.FLOAT32: "F32", Dtype.FLOAT16: "F16", Dtype.BFLOAT16: "BF16"}
_ADAPTER = "adapter_config.json"
_NAME_LIMIT = 128  # characters
_QUOTE = 80  # characters of an item in a message
_EXAMPLE_LIMIT = 256  # characters


def run(job: PrepareInput) -> Report:
    """Check model, eval set and calibration set; raises JobError with the first thing that is wrong."""
    known = hub.fetch(job.hub, Path(job.model_path)) if job.hub else {}
    model = check_model(Path(job.model_path), job.dtype, known)
    print(f"model: {model.architecture}, {model.weight_bytes} bytes of weights, digest {model.digest}", flush=True)
    warnings: list[str] = []
    if job.scorer is ScorerName.LM_EVAL:
        eval_set, items = check_tasks(job, warnings)
    else:
        eval_set, items = check_eval_set(job.eval_set, form_of(job.eval_set, job, job.also_report), warnings)
    print(f"eval set: {eval_set.items} distinct items", flush=True)
    calibration, overlap, example = None, 0, ""
    if job.calibration is not None:
        calibration, overlap, example = check_calibration(job.calibration, items)
        print(f"calibration set: {calibration.items} samples, {overlap} of them in the eval set {example}", flush=True)
    result = PrepareResult(
        model=model,
        eval_set=eval_set,
        calibration=calibration,
        overlap=overlap,
        overlap_example=example,
        warnings=warnings,
    )
    report = Report(kind="prepare", key=job.key, prepare=result)
    with store.attempt(job) as folder:
        return store.commit(folder, job, report, replace=True)


def check_model(folder: Path, dtype: Dtype, known: Mapping[str, str] | None = None) -> ModelFacts:
    """The facts of a full-precision safetensors checkpoint; `known` are digests of files that were read just now."""
    checkpoint = _read_model(folder)
    _refuse_remote_code(checkpoint)
    _check_dtype(checkpoint, dtype)
    names = checkpoint.config.get("architectures")
    architecture = names[0] if isinstance(names, list) and names else checkpoint.config.get("model_type", "unknown")
    return ModelFacts(
        digest=sha256_tree(folder, checkpoint.files, known),
        weight_bytes=checkpoint.weight_bytes,
        architecture=cut(str(architecture), _NAME_LIMIT),
        dtype=dtype.value,
        shape=_shape(checkpoint),
    )


def _shape(checkpoint: Checkpoint) -> ModelShape | None:
    try:
        return shape_of(checkpoint.config)
    except ShapeError as error:
        print(f"memory cannot be told by formula: {error}", flush=True)
        return None


def _read_model(folder: Path) -> Checkpoint:
    if not folder.is_dir():
        raise JobError(Reason.MODEL_NOT_FOUND, f"there is no folder {folder}: check model.source")
    weights = [path for path in folder.iterdir() if path.suffix == ".safetensors" and "adapter" not in path.name]
    if (folder / _ADAPTER).is_file() and not weights:
        raise JobError(
            Reason.ADAPTER_ONLY,
            f"{folder} holds an adapter without its base model: merge the adapter into the model and give that",
        )
    if not (folder / "config.json").is_file():
        raise JobError(Reason.MODEL_NOT_FOUND, f"{folder} has no config.json: it is not a Hugging Face checkpoint")
    others = sorted(path.name for path in folder.iterdir() if path.suffix in OTHER_FORMATS)
    if not weights and others:
        raise JobError(
            Reason.NOT_SAFETENSORS,
            f"{folder} has its weights in {others[0]}, which can run code or is not readable here:"
            " convert them to safetensors",
        )
    try:
        read_object(folder / "config.json")
    except CheckpointError as error:
        raise JobError(Reason.MODEL_NOT_FOUND, f"{folder}: {error}") from None
    try:
        return read_checkpoint(folder)
    except CheckpointError as error:
        raise JobError(
            Reason.NOT_SAFETENSORS, f"{folder} is not a whole safetensors checkpoint: {error}; copy it again"
        ) from None


def _refuse_remote_code(checkpoint: Checkpoint) -> None:
    tokenizer = checkpoint.folder / "tokenizer_config.json"
    configs = {"config.json": checkpoint.config}
    if tokenizer.is_file():
        try:
            configs[tokenizer.name] = read_object(tokenizer)
        except CheckpointError as error:
            raise JobError(Reason.MODEL_NOT_FOUND, f"{checkpoint.folder}: {error}") from None
    for name, config in configs.items():
        if config.get("auto_map"):
            raise JobError(
                Reason.REMOTE_CODE,
                f"{name} has an auto_map: the model wants to run its own Python code, which is never allowed;"
                " remove the entry if transformers and vLLM know the architecture, or take another checkpoint",
            )


def _check_dtype(checkpoint: Checkpoint, dtype: Dtype) -> None:
    if "quantization_config" in checkpoint.config:
        raise JobError(
            Reason.DTYPE_MISMATCH,
            "the model is quantized already (quantization_config in config.json): give the full-precision model",
        )
    declared = checkpoint.config.get("dtype", checkpoint.config.get("torch_dtype"))
    if isinstance(declared, str) and declared.removeprefix("torch.") != dtype.value:
        said = f"model.dtype is {dtype.value}, config.json says {declared}: make them the same"
        raise JobError(Reason.DTYPE_MISMATCH, said)
    sizes: Counter[str] = Counter()
    for tensor in checkpoint.tensors.values():
        sizes[tensor.dtype] += tensor.size
    found = sizes.most_common(1)[0][0]  # a few tensors, such as a router's bias, may be wider
    if found != _DTYPES[dtype]:
        raise JobError(
            Reason.DTYPE_MISMATCH, f"model.dtype is {dtype.value}, most of the weights are {found}: set it so"
        )


def check_eval_set(file: DataFile, form: ItemForm, warnings: list[str]) -> tuple[DataFacts, list[Item]]:
    """The facts of the eval set, and its items; `form` is how its lines become items."""
    path = Path(file.path)
    if not path.is_file():
        raise JobError(Reason.EVAL_SET_MISSING, f"there is no file {path}: check qualityGate.evalSet.source")
    digest = sha256_file(path)
    if file.sha256 is not None and digest != file.sha256:
        raise JobError(
            Reason.EVAL_SET_DIGEST,
            f"{path} has sha256 {digest}, qualityGate.evalSet says {file.sha256}: restore the file, or give its digest",
        )
    eval_set, census = EvalSet(path, form), _Census(form)
    try:
        items = [census.seen(item) for item in eval_set]
        slices = census.slices()
    except DataError as error:
        raise JobError(Reason.EVAL_SET_MALFORMED, f"{path}: {error}; correct the file") from None
    if eval_set.first_duplicate is not None:
        later, first = eval_set.first_duplicate
        warnings.append(
            f"the eval set asks {eval_set.duplicates} items more than once (line {later} repeats line {first}):"
            " each counts once"
        )
    return DataFacts(sha256=digest, items=len(items), slices=slices), items


def check_tasks(job: PrepareInput, warnings: list[str]) -> tuple[DataFacts, list[Item]]:
    """The facts of lm-eval's tasks, and their items; raises JobError."""
    from quantroll_jobs.harness import tasks  # noqa: PLC0415 - not in every image

    loaded = tasks.load(job.eval_set, job)
    wanted = job.eval_set.sha256
    if wanted not in (None, loaded.digest):
        raise JobError(
            Reason.EVAL_SET_DIGEST, f"the tasks' items have sha256 {loaded.digest}, qualityGate.evalSet says {wanted}"
        )
    if loaded.duplicates:
        warnings.append(f"the tasks have {loaded.duplicates} items more than once: each counts once")
    counts = Counter(item.slice for item in loaded.items)
    slices = [SliceFacts(name=name, items=count) for name, count in sorted(counts.items())]
    return DataFacts(sha256=loaded.digest, items=len(loaded.items), slices=slices), loaded.items


class _Census:
    """Counts slices and clusters, where fields for them are named."""

    def __init__(self, form: ItemForm) -> None:
        self._form = form
        self._slices: Counter[str] = Counter()
        self._clustered = 0

    def seen(self, item: Item) -> Item:
        """Count an item."""
        self._slices[item.slice] += 1
        self._clustered += bool(item.cluster)
        if self._form.slice_field is not None and len(self._slices.keys() - {""}) > MAX_SLICES:
            raise DataError(
                f"line {item.line}: {self._form.slice_field} has more than {MAX_SLICES} values, which are too many"
                " slices; name a coarser field as sliceField"
            )
        return item

    def slices(self) -> list[SliceFacts]:
        """The slices, by name; raises DataError for a field that no item has."""
        if self._form.cluster_field is not None and not self._clustered:
            raise DataError(f"no item has the field {self._form.cluster_field}, which clusterField names")
        if self._form.slice_field is None:
            return []
        found = [SliceFacts(name=name, items=count) for name, count in sorted(self._slices.items()) if name]
        if not found:
            raise DataError(f"no item has the field {self._form.slice_field}, which sliceField names")
        return found


def check_calibration(file: DataFile, items: list[Item]) -> tuple[DataFacts, int, str]:
    """The facts of the calibration set, how many of its samples show an eval item, and where the first one stands."""
    path = Path(file.path)
    if not path.is_file():
        raise JobError(Reason.CALIBRATION_MISSING, f"there is no file {path}: check calibration.dataset")
    digest = sha256_file(path)
    if file.sha256 is not None and digest != file.sha256:
        raise JobError(Reason.CALIBRATION_DIGEST, f"{path} has sha256 {digest}, calibration says {file.sha256}")
    questions = QuestionIndex(item.question for item in items)
    passages = PassageIndex(item.shown for item in items)
    count = overlap = 0
    example = ""
    try:
        for count, sample in enumerate(read_calibration(path), start=1):
            text = calibration_text(sample)
            if question := questions.find(text):
                found = f"shows the question {cut(question, _QUOTE)!r}"
            elif passage := passages.find(text):
                found = f"shares the passage {cut(passage, _QUOTE)!r}"
            else:
                continue
            overlap += 1
            example = example or cut(f"sample {count} of the calibration set {found}", _EXAMPLE_LIMIT)
    except DataError as error:
        raise JobError(Reason.CALIBRATION_MALFORMED, f"{path}: {error}") from None
    return DataFacts(sha256=digest, items=count), overlap, example
