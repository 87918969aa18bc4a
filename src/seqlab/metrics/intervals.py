"""Confidence intervals: Wilson, Student and bootstrap."""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A measured value and the ends of its 95 % interval, where one is known."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float]:
        """What is known of it, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def wilson(successes: int, n: int) -> Interval:
    """Score interval of a proportion; unlike value +- z * error it stays honest at 0 and at 1.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference". Raises ValueError
    unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"no proportion: {successes} successes of {n}")
    from scipy.stats import binomtest

    low, high = binomtest(successes, n).proportion_ci(method="wilson")
    return Interval(successes / n, float(low), float(high))


def student(values: Sequence[float]) -> Interval:
    """The mean of repeated measurements, such as one per seed, and where the mean of many would be.

    One value has no interval. Source: Student (1908), "The probable error of a mean". Raises ValueError without values.
    """
    from scipy.special import stdtrit

    if not values:
        raise ValueError("no mean of nothing")
    mean = fmean(values)
    if len(values) == 1:
        return Interval(mean)
    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


ROWS = 65_536
"""Of a table that are multiplied together: integers become float64 for that."""


def bootstrap(
    statistics: np.ndarray | Sequence[np.ndarray],
    scores: Callable[[np.ndarray], Mapping[str, float]],
    *,
    resamples: int = 1000,
    seed: int = 1,
) -> dict[str, Interval]:
    """Percentile intervals of scores that follow from sums over examples, such as BLEU.

    Examples are drawn with replacement. All scores see the same draws, so the difference of two systems is one more
    score: put the statistics of both side by side.

    Args:
        statistics: (N, K), what each of the N examples adds to the K sums; or several tables that stand side by side.
        scores: values by name from the K sums over N examples.
        resamples: how often N examples are drawn.
        seed: the same seed gives the same ends.

    Source: Koehn (2004), "Statistical significance tests for machine translation evaluation".
    """
    tables = [statistics] if isinstance(statistics, np.ndarray) else statistics
    n = len(tables[0])
    generator = np.random.default_rng(seed)
    value = scores(np.concatenate([table.sum(0) for table in tables]))
    # how often each example was drawn, times what it adds: one product instead of a copy of the table
    counts = (np.bincount(generator.integers(n, size=n), minlength=n) for _ in range(resamples))
    draws = (np.concatenate([_weighted_sum(count, table) for table in tables]) for count in counts)
    resampled = np.array([list(scores(sums).values()) for sums in draws])
    low, high = np.quantile(resampled, (0.025, 0.975), axis=0)
    return {
        # a percentile of few examples may miss the value itself
        name: Interval(value[name], min(value[name], float(low[i])), max(value[name], float(high[i])))
        for i, name in enumerate(value)
    }


def _weighted_sum(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(K,): the rows of the table (N, K), each as often as it counts."""
    blocks = range(0, len(table), ROWS)
    return sum((counts[i : i + ROWS] @ table[i : i + ROWS].astype(np.float64, copy=False) for i in blocks), np.zeros(1))
