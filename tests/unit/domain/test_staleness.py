import pytest

from quantroll.domain.staleness import DIGITS, PARTS, changed
from unit.domain.world import steady

BEFORE = "".join(f"{i:04x}" for i in range(len(PARTS)))


def with_other(*names: str) -> str:
    return "".join("ffff" if name in names else f"{i:04x}" for i, name in enumerate(PARTS))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["engine image"], "engine image changed"),
        (["engine image", "how it is served"], "engine image changed"),
        (["eval set", "recipe"], "recipe, eval set changed"),
        (["how it is served"], "how the full-precision model is served changed"),
        ([], "the full-precision model was measured anew"),
    ],
)
def test_names(names, said):
    assert changed(BEFORE, with_other(*names)) == said


def test_a_part_that_an_older_version_did_not_know_is_not_named():
    assert changed(BEFORE[:-DIGITS], with_other("generation", "scorer")) == "scorer changed"


def test_the_status_has_all_of_them():
    assert {len(row.measured_with) for row in steady().status.variants} == {DIGITS * len(PARTS)}
