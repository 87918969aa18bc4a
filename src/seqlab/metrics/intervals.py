"""How far could a score be from the truth, given that it was measured on so many examples?"""

from math import sqrt
from typing import NamedTuple

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
