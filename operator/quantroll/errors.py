"""Exceptions of the operator.

QuantrollError
├── ConfigurationError   the admin's file is wrong: the operator does not start
├── Conflict             somebody else wrote first: gather again and decide anew
├── NotFound             the object or its kind is not there
├── Refused              the API server does not accept what we sent: told in the status, and tried again
└── Unreachable          the API server did not answer, or is overloaded: try again later
"""


class QuantrollError(Exception):
    """Anything that quantroll raises on purpose."""


class ConfigurationError(QuantrollError):
    """The admin's configuration cannot be used."""


class Conflict(QuantrollError):
    """A write lost against another one."""


class NotFound(QuantrollError):
    """The object, or the kind, does not exist."""


class Refused(QuantrollError):
    """The API server rejected a request as invalid or forbidden."""


class Unreachable(QuantrollError):
    """No answer, or one that says: later."""
