"""Scores and their intervals, against hand values and scipy."""

import numpy as np
import pytest
from scipy import stats

from seqlab.metrics.exact_match import exact_match
from seqlab.metrics.intervals import bootstrap, wilson


def test_exact_match_wants_every_character():
    assert exact_match(["12", "-3", "tens"], ["12", "3", "tens "]) == pytest.approx(1 / 3)
    assert exact_match(["a"], ["a"]) == 1.0


def test_exact_match_refuses_unequal_and_empty_lists():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        exact_match(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="undefined"):
        exact_match([], [])


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


def test_bootstrap_agrees_with_the_normal_theory_of_a_mean():
    values = np.random.default_rng(3).normal(10, 2, size=400)
    interval = bootstrap(values.tolist(), seed=1)
    error = values.std(ddof=1) / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_bootstrap_is_a_function_of_its_seed():
    values = [0.0, 0.0, 1.0, 0.5, 0.25]
    assert bootstrap(values, seed=7) == bootstrap(values, seed=7)
    assert bootstrap(values, seed=7, samples=50) != bootstrap(values, seed=8, samples=50)
    assert bootstrap([0.5, 0.5], seed=0) == (0.5, 0.5, 0.5)


def test_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="undefined"):
        bootstrap([], seed=0)
