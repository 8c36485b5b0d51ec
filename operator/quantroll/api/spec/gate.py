"""What a variant must prove."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from quantroll.api.base import UNSET, ApiModel, Rule, rules
from quantroll.api.counts import MAX_SCORERS, MAX_SLICES
from quantroll.api.spec.fields import Sha256, Source
from quantroll.api.spec.model import Dtype
from quantroll.api.spec.scoring import ScorerName, Scoring
from quantroll.api.spec.slices import SliceFloor

FieldName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class EvalSet(ApiModel):
    """Held-out items with known answers."""

    source: Source | None = None
    """JSON lines with an id, `prompt` or `messages`, and `expected`, as pvc://CLAIM/PATH. For MultipleChoice, with
    `choices`, a list of texts, of which `expected` names one. For LMEval: a folder with definitions of tasks, which may
    be left out where the tasks are lm-eval's own; for all other scorers it is required."""
    sha256: Sha256 | None = None
    """Digest that the file must have; for LMEval, that of the tasks' items. Default: whatever it has when prepare reads
    it."""
    id_field: FieldName = "id"
    """Name of the field that holds an item's id."""
    slice_field: FieldName | None = None
    """Name of the field that holds an item's slice, a text; at most 6 slices. Default: slices are not counted apart."""
    cluster_field: FieldName | None = None
    """Name of the field that items from one source share, such as a document or a conversation: errors of items that
    belong together are not independent. Default: all items are independent."""


class Generation(ApiModel):
    """How both arms answer."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0
    """Sampling temperature; 0 takes the most likely token."""
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 256
    """Tokens after which an answer is cut."""
    repeats: Annotated[int, Field(ge=1, le=16, json_schema_extra=UNSET)] = 1
    """Times that every item is asked in an evaluation; its score is the mean. Default: by `workload`, 4 for Reasoning
    and 1 for others."""
    noise_items: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Items that the baseline is asked once more at the end of its evaluation, to tell how many answers change from
    right to wrong or back by themselves (an A/A run). It takes that much more time of its GPUs, and gates nothing."""
    system_prompt: Annotated[str, StringConstraints(min_length=1, max_length=8192)] | None = None
    """Put before each item's `messages`, as a message of the role system. Not for items with a `prompt`."""


def _settings(scorer: ScorerName, field: str, *, needed: bool) -> list[tuple[str, str]]:
    """Rules about the settings of a scorer: only where it is used, and there, if `needed`."""
    used = f"(self.scorer == '{scorer}' || '{scorer}' in self.alsoReport)"
    given = f"(has(self.scoring) && has(self.scoring.{field}))"
    found = [(f"!{given} || {used}", f"scoring.{field} is for {scorer}, which is neither scorer nor in alsoReport")]
    return [*found, (f"!{used} || {given}", f"{scorer} needs scoring.{field}")] if needed else found


class QualityGate(ApiModel):
    """What a variant must prove before it may serve: that it recovers enough of the baseline's score."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.maxDrop) == (self.comparison == 'Difference')",
                "comparison: Difference needs maxDrop, and maxDrop is for comparison: Difference",
            ),
            (
                "self.comparison == 'Relative' || !has(self.minAcceptable)",
                "minAcceptable is for comparison: Relative; with comparison: Difference maxDrop is the floor",
            ),
            *_settings(ScorerName.NUMERIC_TOLERANCE, "numericTolerance", needed=False),
            *_settings(ScorerName.REGEX, "regex", needed=True),
            *_settings(ScorerName.JSON_SCHEMA, "jsonSchema", needed=True),
            *_settings(ScorerName.MULTIPLE_CHOICE, "multipleChoice", needed=False),
            *_settings(ScorerName.LM_EVAL, "lmEval", needed=True),
            (
                "!('LMEval' in self.alsoReport) && (self.scorer != 'LMEval' || size(self.alsoReport) == 0)",
                "LMEval judges the items of its own tasks: it is neither in alsoReport nor is anything beside it",
            ),
            (
                (
                    "!has(self.scoring) || !has(self.scoring.multipleChoice)"
                    " || self.scoring.multipleChoice.by == 'Answer'"
                    " || (self.scorer == 'MultipleChoice' && size(self.alsoReport) == 0)"
                ),
                "by log probability no answer is asked for: scorer must be MultipleChoice, with nothing in alsoReport",
            ),
            (
                "self.scorer != 'LMEval' || self.generation.noiseItems == 0",
                "LMEval asks whole tasks: leave generation.noiseItems out",
            ),
            ("self.scorer == 'LMEval' || has(self.evalSet.source)", "evalSet.source is required"),
            (
                (
                    "self.scorer != 'LMEval' || !(has(self.evalSet.sliceField) || has(self.evalSet.clusterField)"
                    " || self.evalSet.idField != 'id')"
                ),
                "LMEval's items have no fields of yours: leave idField, sliceField and clusterField out of evalSet",
            ),
            (
                "!(self.scorer in self.alsoReport)",
                "alsoReport is for scorers beside the one that gates: leave scorer out of it",
            ),
            (
                (
                    "!has(self.slices) || size(self.slices) == 0 || has(self.evalSet.sliceField)"
                    " || self.scorer == 'LMEval'"
                ),
                "slices need evalSet.sliceField, the field that holds an item's slice",
            ),
        ),
    )

    verified_against: Dtype
    """The baseline's dtype, said once more: quality is relative to the full-precision model."""
    eval_set: EvalSet
    """Held-out items with known answers, which both the baseline and every variant are asked."""
    scorer: ScorerName = ScorerName.EXACT_MATCH
    """How an answer is judged. ExactMatch: equal to the expected text, without surrounding white space.
    NumericTolerance: its last number is near the expected one. Regex: what a pattern finds in it is the expected text.
    JSONSchema: it is JSON that keeps a schema. F1: the words that it shares with the expected text, from 0 to 1.
    MultipleChoice: it names the expected choice, by letter or text, or finds that one the most likely. LMEval: as the
    tasks of lm-eval in scoring.lmEval say, which are the eval set then; each task is a slice."""
    scoring: Scoring | None = None
    """Settings of the scorers that are used."""
    also_report: Annotated[
        list[ScorerName],
        Field(max_length=MAX_SCORERS),
        Rule("self.all(a, self.exists_one(b, b == a))", "names a scorer twice"),
    ] = []
    """Scorers that inform beside the one that gates."""
    generation: Generation = Generation()
    """How answers are generated, the same for both arms."""
    comparison: Literal["Relative", "Difference"] = "Relative"
    """What is compared: recovery, which is the variant's score divided by the baseline's, or the scores' difference."""
    min_acceptable: Annotated[float, Field(gt=0, le=1, json_schema_extra=UNSET)] = 0.94
    """Floor of recovery, for comparison: Relative. Default: by `workload`, 0.97 for Reasoning, 0.95 for Extraction and
    Code, 0.94 for Chat."""
    max_drop: Annotated[float, Field(gt=0, le=1)] | None = None
    """What the score may lose at most, for comparison: Difference; 0.02 is two points of a hundred."""
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.95
    """One-sided confidence with which the floor must be reached."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    """Distinct items below which no verdict is given."""
    min_baseline: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Score that the baseline itself must reach for the eval set to say anything."""
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of requests that may fail before an evaluation counts as an error."""
    slices: Annotated[
        list[SliceFloor],
        Field(
            max_length=MAX_SLICES,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """Floors of single slices, which a variant has to keep as well."""
