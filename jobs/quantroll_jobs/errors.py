"""How a Job fails."""

from quantroll.constants import Reason


class JobError(Exception):
    """A Job cannot go on. `permanent`: another try with the same input would end the same way."""

    def __init__(self, reason: Reason, message: str, *, permanent: bool = True) -> None:
        """`message` says what is wrong and what to do about it, in one or two sentences."""
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.permanent = permanent
