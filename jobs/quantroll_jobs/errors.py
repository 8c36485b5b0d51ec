"""How a Job fails."""

import errno

from quantroll.constants import Reason


class JobError(Exception):
    """A Job cannot go on. `permanent`: another try with the same input would end the same way."""

    def __init__(self, reason: Reason, message: str, *, permanent: bool = True) -> None:
        """`message` says what is wrong and what to do about it, in one or two sentences."""
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.permanent = permanent


def storage_full(error: OSError) -> JobError | None:
    """The failure that a full artifact volume is; None for another error."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return no_room(error.strerror or "no space left")


def no_room(what: str) -> JobError:
    """The artifact volume is full."""
    return JobError(
        Reason.STORAGE_FULL, f"the artifact volume is full: {what}; enlarge its claim, or remove what nobody needs"
    )
