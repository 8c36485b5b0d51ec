"""How answers are judged."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from quantroll.api.base import ApiModel, Rule
from quantroll.api.counts import MAX_SLICES


class ScorerName(StrEnum):
    """The scorers."""

    EXACT_MATCH = "ExactMatch"
    NUMERIC_TOLERANCE = "NumericTolerance"
    REGEX = "Regex"
    JSON_SCHEMA = "JSONSchema"
    F1 = "F1"
    MULTIPLE_CHOICE = "MultipleChoice"
    LM_EVAL = "LMEval"


ItemScorer = Literal[ScorerName.EXACT_MATCH, ScorerName.NUMERIC_TOLERANCE, ScorerName.F1, ScorerName.MULTIPLE_CHOICE]
"""Scorers that judge an item by what stands in its line."""


class NumericTolerance(ApiModel):
    """How far the last number of an answer may be from the expected one: as far as the wider of the two says."""

    absolute: Annotated[float, Field(ge=0)] = 0
    """Largest difference."""
    relative: Annotated[float, Field(ge=0, le=1)] = 0
    """Largest difference, as a share of the expected number."""


class Regex(ApiModel):
    """What is taken out of an answer."""

    pattern: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1024),
        # a broken expression ends the rule with an error, which refuses the object, too
        Rule("''.matches(self) ? true : true", "must be a regular expression in RE2's syntax"),
    ]
    """Regular expression in RE2's syntax. Its first match is compared with the expected text; where it has groups, the
    first one in that match that is not empty."""


class JSONSchema(ApiModel):
    """What a JSON answer has to keep."""

    schema_text: Annotated[str, StringConstraints(min_length=2, max_length=8192), Field(alias="schema")]
    """The JSON Schema, as JSON text."""


class MultipleChoice(ApiModel):
    """How a choice is found."""

    by: Literal["Answer", "Logprob", "LogprobPerByte"] = "Answer"
    """Answer: the choice that the answer names, by letter or text. Logprob: no answer is asked for; the choice whose
    text, after the item's prompt, the model finds most likely, as the engine's log probabilities say.
    LogprobPerByte: the same, divided by the text's length, so that long choices are not at a disadvantage."""


class LMEvalTask(ApiModel):
    """A task of lm-eval."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
    """Name of a task, or of a group of tasks. Its items are a slice of this name."""
    metric: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """The metric that gates: one with a value from 0 to 1 for each item, of which more is better. Default: the task's
    first."""
    filter: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """The filter that answers go through before that. Default: the task's first."""


class LMEval(ApiModel):
    """Tasks of lm-eval, the evaluation harness of EleutherAI."""

    tasks: Annotated[
        list[LMEvalTask],
        Field(
            min_length=1,
            max_length=MAX_SLICES,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """What is asked and how it is judged. Tasks of lm-eval's own, whose data prepare fetches from the Hugging Face hub,
    or of the folder that qualityGate.evalSet.source names."""
    api: Literal["Completions", "ChatCompletions"] = "Completions"
    """How the engine is asked. Completions: as lm-eval's local-completions, for tasks of all kinds. ChatCompletions: as
    its local-chat-completions, with the model's chat template, for tasks that generate text."""


class Scoring(ApiModel):
    """Settings of the scorers that are used."""

    numeric_tolerance: NumericTolerance | None = None
    """How near a number has to be, for NumericTolerance. Default: the same number."""
    regex: Regex | None = None
    """What is compared with the expected text, for Regex."""
    json_schema: JSONSchema | None = None
    """What answers have to keep, for JSONSchema."""
    multiple_choice: MultipleChoice | None = None
    """How a choice is found, for MultipleChoice. Default: in the answer."""
    lm_eval: LMEval | None = Field(default=None, alias="lmEval")
    """The tasks, for LMEval."""
