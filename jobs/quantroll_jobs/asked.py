"""What a Job that asks items, or checks them, wants of a file: that each can be asked, and judged by its scorers."""

from collections.abc import Iterable

from quantroll.api.jobs import DataFile, Judging
from quantroll.api.spec import ScorerName
from quantroll.constants import Reason
from quantroll_jobs.datafiles import DataError, Item, ItemForm
from quantroll_jobs.errors import JobError
from quantroll_jobs.scorers import Scorer, ScoringError, make


def scorer_of(job: Judging, name: ScorerName | None = None) -> Scorer:
    """The scorer of a Job, or another one with the Job's settings; raises JobError where these cannot be used."""
    try:
        return make(name or job.scorer, job.scoring)
    except ScoringError as error:
        raise JobError(Reason.SPEC_INVALID, str(error)) from None


def form_of(file: DataFile, job: Judging, also: Iterable[ScorerName] = ()) -> ItemForm:
    """How the file's lines become items, each checked by the Job's scorer and by others; raises JobError."""
    checks = [scorer_of(job, name).check for name in (job.scorer, *also)]

    def check(item: Item) -> None:
        if job.system_prompt is not None:
            _takes_system_prompt(item)
        for each in checks:
            each(item)

    return ItemForm(file.id_field, file.slice_field, file.cluster_field, check)


def _takes_system_prompt(item: Item) -> None:
    if item.prompt is not None:
        raise DataError(
            f"line {item.line}: it has a prompt, and qualityGate.generation.systemPrompt can only go before messages:"
            " write the system prompt into the prompt, or give messages"
        )
    if item.messages[0]["role"] == "system":
        raise DataError(
            f"line {item.line}: its messages begin with one of the role system, and there is"
            " qualityGate.generation.systemPrompt: leave one of the two out"
        )
