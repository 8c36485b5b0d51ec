"""Queries of the admin's that count right answers of a revision: two PromQL expressions with places for what is asked.

A place stands where PromQL has a value, and is filled with it, quoted and escaped: nothing in a name can end it.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from quantroll.api.base import ApiModel

VALUES = ("namespace", "name", "revision")
_PLACE = re.compile(r"\$([A-Za-z_]\w*)")
_IN_ITS_PLACE = re.compile(r"""(?<=["'\w\s]=)\s*\$(?:namespace|name|revision)\b|(?<=\[)\$window(?=[\]:])""")


def _checked(expression: str) -> str:
    """Raises ValueError where a question could not be about one revision and one window."""
    found = set(_PLACE.findall(expression))
    if unknown := sorted(found - {*VALUES, "window"}):
        raise ValueError(f"${unknown[0]} is no place: there are $namespace, $name, $revision and $window")
    if missing := [f"${place}" for place in (*VALUES, "window") if place not in found]:
        raise ValueError(f"{missing[0]} has to be in it: counts are of one revision of one model, and of one window")
    if _PLACE.search(_IN_ITS_PLACE.sub("", expression)):
        raise ValueError("a place is a whole value after =, without quotes of its own: revision=$revision, [$window]")
    return expression


Expression = Annotated[str, Field(max_length=1024), AfterValidator(_checked)]


class CountQuery(ApiModel):
    """Two instant queries that bring one number each: counts, never shares."""

    passed: Expression
    """Answers in the window that were right."""
    total: Expression
    """All answers in the window that were judged."""

    def filled(self, expression: str, values: dict[str, str], window: str) -> str:
        """An expression with quoted values and a duration in its places."""
        places = {**values, "window": window}
        return _PLACE.sub(lambda place: places[place[1]], expression)
