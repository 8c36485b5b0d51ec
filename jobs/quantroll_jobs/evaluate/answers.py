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
    repeat: int = 0
    cluster: str = ""  # of items that belong together; empty: one of its own
    request: str  # sha256 of the request's body without the model's name
    prompt: str = ""  # sha256 of the rendered prompt's token ids, where the engine tells them
    outcome: Outcome
    score: float | None = None  # where it is not just right or wrong
    answer: str = ""
    finish_reason: str = ""
    seconds: float = 0.0
    error: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """What was asked, and for the how-manieth time, from 0 on."""
        return self.id, self.repeat

    @property
    def value(self) -> float:
        """The score; 0 for an error."""
        return float(self.outcome is Outcome.RIGHT) if self.score is None else self.score


class PartialAnswers:
    """The growing file. A line outlives the process at once, and the node from `sync` on."""

    def __init__(self, path: Path) -> None:
        """Continue or begin the file."""
        self._path = path
        self.done = {answer.key: answer for answer in read_answers(path, tolerant=True)}
        self._file: TextIO = path.open("a", encoding="utf-8")
        if path.stat().st_size:
            self._file.write("\n")  # the last line may have been cut off

    def add(self, answer: Answer) -> None:
        """Append one answer."""
        self.done[answer.key] = answer
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
    """One digest for all that was asked, whatever the order and however often."""
    return sha256_json(sorted({(answer.id, answer.prompt or answer.request) for answer in answers}))


def cell(baseline_right: bool, variant_right: bool) -> str:
    """The cell of one item that both arms answered."""
    if baseline_right:
        return "both" if variant_right else "harm"
    return "gain" if variant_right else "neither"
