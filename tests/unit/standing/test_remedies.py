"""The runbooks in short: all of them, without Markdown, and up to date."""

import json

from quantroll.standing.remedies import known, remedy
from quantroll.tools import remedies
from unit.test_runbooks import GOOD, REASONS

PAGE = """# Runbooks

### Broken

It is broken. See [concepts](concepts.md#broken).

- **You see:** smoke.
- **Do:** mend `NAME`
  with [a hammer](#hammer). NAMES are not names.
- **By itself:** no.

## Nothing is wrong

### Fine

All is well.
"""


def test_parts_of_a_page():
    assert json.loads(remedies.render(PAGE)) == {
        "Broken": {
            "means": "It is broken. See concepts.",
            "do": "mend `NAME` with a hammer. NAMES are not names.",
            "itself": "no.",
        },
        "Fine": {"means": "All is well."},
    }


def test_every_reason_is_known_and_says_what_to_do_where_something_is_wrong():
    assert set(known()) == REASONS
    assert {reason for reason, found in known().items() if found.do} == REASONS - GOOD
    assert not any("](" in part for found in known().values() for part in (found.means, found.do, found.itself))


def test_commands_name_the_model():
    assert any("`kubectl annotate qm tiny " in hint for hint in remedy("RolledBack", "tiny"))
    assert not any("NAME" in hint for hint in remedy("QualityUnknown", "tiny"))


def test_what_leads_to_another_section_is_told_by_a_command_instead():
    assert "see RolledBack" in known()["AnalysisFailed"].do
    assert not any("RolledBack" in hint for reason in ("AnalysisFailed", "Aborted") for hint in remedy(reason, "tiny"))
