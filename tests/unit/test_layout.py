"""`operator/` and `jobs/` are source roots, not packages: as one, `operator` would shadow the standard library's."""

import operator
import sysconfig
from pathlib import Path

import pytest

import quantroll
import quantroll_jobs

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("root", ["operator", "jobs", "tools", "tests"])
def test_a_source_root_is_no_package(root):
    assert not (CHECKOUT / root / "__init__.py").exists()


def test_operator_is_the_standard_librarys():
    assert Path(operator.__file__) == Path(sysconfig.get_path("stdlib")) / "operator.py"
    assert operator.add(1, 2) == 3


def test_our_packages_are_where_they_belong():
    assert Path(quantroll.__file__).parent == CHECKOUT / "operator" / "quantroll"
    assert Path(quantroll_jobs.__file__).parent == CHECKOUT / "jobs" / "quantroll_jobs"
