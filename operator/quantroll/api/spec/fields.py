"""Types of single fields: names, sources, schedules."""

from typing import Annotated

from pydantic import Field, StringConstraints

from quantroll.api.base import Matches, Rule

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"

Name = Annotated[str, StringConstraints(pattern=f"^{_LABEL}$", max_length=30)]
Namespace = Annotated[str, StringConstraints(pattern=f"^{_LABEL}$", max_length=63)]
ObjectName = Annotated[str, StringConstraints(pattern=f"^{_SUBDOMAIN}$", max_length=253)]
Hostname = Annotated[str, StringConstraints(pattern=rf"^(\*\.)?{_SUBDOMAIN}$", max_length=253)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
QueryName = Annotated[str, StringConstraints(pattern=f"^{_LABEL}$", max_length=30)]
MetricName = Annotated[
    str,
    StringConstraints(max_length=30),
    Matches(
        f"Probe|{_LABEL}",
        "must be Probe, or the name of a query of the admin's (prometheus.queries in the chart's values)",
    ),
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=32)]
LayerPattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Source = Annotated[
    str,
    StringConstraints(max_length=1024),
    Matches(
        rf"pvc://{_SUBDOMAIN}/[^/\x00-\x1f][^\x00-\x1f]*",
        "must be pvc://CLAIM/PATH, a path on a PersistentVolumeClaim of this namespace: no other scheme is supported",
    ),
    Rule("!self.contains('..')", "must not contain '..'"),
]
"""`pvc://claim/path`: a path on a PersistentVolumeClaim of this namespace."""
_REPOSITORY = r"[A-Za-z0-9][-A-Za-z0-9_.]*"
ModelSource = Annotated[
    str,
    StringConstraints(max_length=1024),
    Matches(
        rf"pvc://{_SUBDOMAIN}/[^/\x00-\x1f][^\x00-\x1f]*|hf://({_REPOSITORY}/)?{_REPOSITORY}",
        "must be pvc://CLAIM/PATH, a path on a PersistentVolumeClaim of this namespace, or hf://OWNER/REPOSITORY: no"
        " other scheme is supported",
    ),
    Rule("!self.contains('..')", "must not contain '..'"),
]
"""`pvc://claim/path`, or `hf://owner/repository` of the Hugging Face hub."""


def _cron_field(*values: str) -> str:
    item = rf"(\*|({'|'.join(values)})(-({'|'.join(values)}))?)(/[1-9][0-9]?)?"
    return f"{item}(,{item})*"


_CRON = " ".join(
    (
        _cron_field("[1-5]?[0-9]"),
        _cron_field("1?[0-9]", "2[0-3]"),
        _cron_field("[1-9]", "[12][0-9]", "3[01]"),
        _cron_field("[1-9]", "1[0-2]", "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"),
        _cron_field("[0-7]", "SUN|MON|TUE|WED|THU|FRI|SAT"),
    )
)


Schedule = Annotated[
    str,
    StringConstraints(max_length=100),
    Matches(
        f"@(hourly|daily|weekly|monthly)|{_CRON}",
        "must be a cron expression of five fields, or @hourly, @daily, @weekly or @monthly",
    ),
]
