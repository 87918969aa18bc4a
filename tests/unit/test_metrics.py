"""Scores and their intervals, against hand values and scipy."""

import numpy as np
import pytest
from scipy import stats

from seqlab.metrics.intervals import Interval, bootstrap, student, wilson


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


@pytest.mark.parametrize("values", [[1.0, 2.0], [30.1, 31.4, 29.8], [0.5] * 7 + [0.9] * 6])
def test_the_interval_over_seeds_equals_scipy(values):
    found = student(values)
    reference = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(reference)
    assert found.value == pytest.approx(np.mean(values))


def test_one_seed_has_no_interval():
    assert student([3.0]) == Interval(3.0, None, None)
    with pytest.raises(ValueError, match="nothing"):
        student([])


def mean(sums: np.ndarray) -> dict[str, float]:
    """From the sums of values and of ones."""
    return {"mean": float(sums[0] / sums[1])}


def sample(generator: np.random.Generator, n: int) -> np.ndarray:
    """Values around 1, skewed, each beside a one."""
    return np.stack([generator.exponential(size=n), np.ones(n)], axis=1)


def width(interval: Interval) -> float:
    assert interval.low is not None
    assert interval.high is not None
    return interval.high - interval.low


def test_bootstrap_of_a_mean_is_as_wide_as_theory_says():
    values = sample(np.random.default_rng(3), 2000)
    interval = bootstrap(values, mean, resamples=2000)["mean"]
    assert interval.value == pytest.approx(values[:, 0].mean())
    assert width(interval) == pytest.approx(2 * 1.96 * values[:, 0].std() / np.sqrt(2000), rel=0.05)


def test_bootstrap_shrinks_with_the_root_of_the_examples():
    values = sample(np.random.default_rng(3), 1600)
    narrow, wide = (width(bootstrap(part, mean)["mean"]) for part in (values, values[:100]))
    assert narrow == pytest.approx(wide / 4, rel=0.2)


def test_bootstrap_covers_the_truth():
    generator = np.random.default_rng(8)
    intervals = [bootstrap(sample(generator, 150), mean, resamples=200)["mean"] for _ in range(200)]
    covered = sum(low <= 1 <= high for _, low, high in intervals)
    assert 0.89 <= covered / 200 <= 0.99


def test_bootstrap_draws_the_same_examples_for_all_scores():
    """A constant lead shows as a difference without spread, however much both systems vary."""
    first = np.random.default_rng(1).normal(size=100)
    both = np.stack([first, first + 0.5], axis=1)
    found = bootstrap(both, lambda sums: {"first": sums[0] / 100, "lead": (sums[1] - sums[0]) / 100})
    assert found["lead"] == pytest.approx((0.5, 0.5, 0.5))
    assert width(found["first"]) > 0.2


def test_bootstrap_of_one_example_knows_no_spread():
    assert bootstrap(np.array([[2.0, 1.0]]), mean, resamples=5)["mean"] == (2, 2, 2)
