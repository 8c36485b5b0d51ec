import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from quantroll.domain import holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@pytest.mark.parametrize("seed", range(20))
def test_equals_statsmodels(seed):
    rng = np.random.default_rng(seed)
    given_p = rng.choice([rng.uniform(0, 0.05, 8), rng.uniform(0, 1, 8), np.repeat(0.01, 8)])[: 1 + seed % 8].tolist()
    assert holm.adjusted(given_p) == pytest.approx(multipletests(given_p, method="holm")[1], rel=1e-12, abs=1e-15)


@given(p_values, st.integers(0, 7), st.floats(0, 1))
def test_a_smaller_p_value_never_takes_a_proof_from_another(given_p, which, smaller):
    which %= len(given_p)
    before = holm.adjusted(given_p)
    after = holm.adjusted([min(p, smaller) if i == which else p for i, p in enumerate(given_p)])
    assert all(new <= 0.05 for old, new in zip(before, after, strict=True) if old <= 0.05)


def test_by_hand():
    assert holm.adjusted([]) == []
    assert holm.adjusted([0.04]) == [0.04]
    assert holm.adjusted([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value(p):
    with pytest.raises(ValueError, match="p values"):
        holm.adjusted([0.5, p])
