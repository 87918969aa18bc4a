"""Scores and their intervals, against hand values and scipy."""

import pytest
from scipy import stats

from seqlab.metrics.intervals import wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (1987, 2000), (2000, 2000), (0, 1)])
def test_wilson_equals_scipy(successes, n):
    reference = stats.binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    interval = wilson(successes, n)
    assert interval.value == successes / n
    assert interval.low == pytest.approx(reference.low, abs=1e-12)
    assert interval.high == pytest.approx(reference.high, abs=1e-12)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_wilson_of_a_perfect_score_is_not_certainty():
    assert wilson(20, 20).low == pytest.approx(20 / (20 + 1.959964**2), abs=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_proportion(successes, n):
    with pytest.raises(ValueError, match="no proportion"):
        wilson(successes, n)
