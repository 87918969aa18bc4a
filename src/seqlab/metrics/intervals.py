"""How far could a score be from the truth, given that it was measured on so many examples?

Both functions give 95 % intervals.
"""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


class Interval(NamedTuple):
    """A measured value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """Score interval of a proportion; unlike value +- z * error it stays honest at 0 and at 1.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference". Raises ValueError
    unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"no proportion: {successes} successes of {n}")
    share = successes / n
    shrink = 1 + Z_95**2 / n
    centre = (share + Z_95**2 / (2 * n)) / shrink
    half = Z_95 / shrink * sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    # rounding alone must not push an end past the value, which is exactly an end at 0 and at 1
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def bootstrap(values: Sequence[float], seed: int, samples: int = 1000) -> Interval:
    """Percentile bootstrap of the mean: the middle 95 % of the means of `samples` redraws of `values`.

    For scores that are no proportion, such as a mean F1. Source: Efron (1979). Raises ValueError on no values.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("bootstrap of no values is undefined")
    generator = np.random.default_rng(seed)
    # one redraw at a time: all at once would hold samples * len(values) numbers
    means = [data[generator.integers(data.size, size=data.size)].mean() for _ in range(samples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(data.mean()), float(low), float(high))
