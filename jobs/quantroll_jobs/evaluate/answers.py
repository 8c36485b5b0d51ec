"""Answers on disk: appended one by one as they come, so that a killed Job goes on where it was; joined at the end."""

import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from quantroll_jobs.digests import sha256_json

PARTIAL = "items.jsonl.partial"


class Outcome(StrEnum):
    """How an item ended. An error counts as wrong, and is counted apart."""

    RIGHT = "right"
    WRONG = "wrong"
    ERROR = "error"


class Answer(BaseModel):
    """One line of items.jsonl."""

    model_config = ConfigDict(frozen=True)

    id: str
    request: str  # sha256 of the request's body without the model's name
    outcome: Outcome
    answer: str = ""
    finish_reason: str = ""
    seconds: float = 0.0
    error: str = ""


class Cells(BaseModel):
    """The paired counts of baseline and variant."""

    both: int = 0
    harm: int = 0
    gain: int = 0
    neither: int = 0


class PartialAnswers:
    """The growing file. A line outlives the process at once, and the node from `sync` on."""

    def __init__(self, path: Path) -> None:
        """Continue or begin the file."""
        self._path = path
        self.done = {answer.id: answer for answer in read_answers(path, tolerant=True)}
        self._file: TextIO = path.open("a", encoding="utf-8")
        if path.stat().st_size:
            self._file.write("\n")  # the last line may have been cut off

    def add(self, answer: Answer) -> None:
        """Append one answer."""
        self.done[answer.id] = answer
        self._file.write(answer.model_dump_json() + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Have it on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; what was answered stays."""
        self._file.close()


def read_answers(path: Path, *, tolerant: bool = False) -> Iterator[Answer]:
    """Yield the answers of a file; `tolerant` skips lines that were cut off, and a file that is not there."""
    try:
        file = path.open(encoding="utf-8", errors="replace" if tolerant else "strict")
    except FileNotFoundError:
        if tolerant:
            return
        raise
    with file:
        for line in file:
            try:
                yield Answer.model_validate_json(line)
            except ValidationError:
                if line.strip() and not tolerant:
                    raise


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """All answers, one a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(answer.model_dump_json() + "\n" for answer in answers)


def prompts_digest(answers: Iterable[Answer]) -> str:
    """One digest for all that was asked, whatever the order."""
    return sha256_json(sorted([answer.id, answer.request] for answer in answers))


def join(baseline: dict[str, Answer], variant: dict[str, Answer]) -> tuple[Cells, bool]:
    """The four cells over the items that both arms have, and whether both were asked exactly the same."""
    counts = {"both": 0, "harm": 0, "gain": 0, "neither": 0}
    match = baseline.keys() == variant.keys()
    for name in baseline.keys() & variant.keys():
        before, after = baseline[name], variant[name]
        match = match and before.request == after.request
        counts[cell(before.outcome is Outcome.RIGHT, after.outcome is Outcome.RIGHT)] += 1
    return Cells(**counts), match


def cell(baseline_right: bool, variant_right: bool) -> str:
    """The cell of one item that both arms answered."""
    if baseline_right:
        return "both" if variant_right else "harm"
    return "gain" if variant_right else "neither"
