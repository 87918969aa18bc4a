"""What a metric is, and how a list of them becomes scores with intervals.

A text metric adds up over examples: `statistics` says what each example adds, `score` makes the corpus score of the
sums. That is what makes 1,000 bootstrap resamples cheap, and the same draws serve all metrics. N: examples, K: sums.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from seqlab.metrics.intervals import Interval, bootstrap, wilson

Unit = Literal["points", "share", "fraction", "number"]
"""points: 0 to 100, one digit; share: 0 to 1, written in per cent; fraction: 0 to 1, three digits; number: as it is."""


PART = 1000
"""Examples whose n-grams are counted together."""


class Measure(NamedTuple):
    """How a score is called, written and compared: what reports, `--until` and the choice of a checkpoint read."""

    name: str
    """its key in results.json and in settings"""
    title: str
    unit: Unit = "number"
    better: Literal["higher", "lower"] = "higher"

    def best(self, values: Iterable[float]) -> float | None:
        """The best of the values; None if there are none."""
        return (max if self.better == "higher" else min)(values, default=None)


@dataclass(frozen=True)
class Outputs:
    """What a model wrote, and what it is judged by; raises ValueError unless there are as many of each, and some."""

    predictions: Sequence[str]
    references: Sequence[Sequence[str]]
    """(R, N): one or several sets of references, as sacreBLEU takes them"""
    sources: Sequence[str] = ()
    """inputs, where a metric looks at them"""

    def __post_init__(self) -> None:
        sizes = [len(self.predictions), *map(len, self.references), *([len(self.sources)] if self.sources else [])]
        if not self.references or not self.predictions or any(one != other for one, other in pairwise(sizes)):
            raise ValueError(f"cannot score {sizes[0]} predictions by {' and '.join(map(str, sizes[1:]))} references")

    def parts(self) -> "Iterator[Outputs]":
        """The same a few examples at a time: sacreBLEU keeps the n-grams of all references that it is given."""
        for start in range(0, len(self.predictions), PART):
            rows = slice(start, start + PART)
            yield Outputs(self.predictions[rows], [side[rows] for side in self.references], self.sources[rows])


@runtime_checkable
class Metric(Protocol):
    """Judges texts."""

    @property
    def measure(self) -> Measure:
        """How its score is called, written and compared."""
        ...

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, K), what each example adds to the sums."""
        ...

    def score(self, sums: np.ndarray, n: int) -> float:
        """The score of a corpus of n examples from its K sums."""
        ...

    def signature(self) -> str | None:
        """What others need to compute the same score: settings and version of a library; None where nothing varies."""
        ...


def scores(metrics: Sequence[Metric], outputs: Outputs, *, resamples: int = 1000, seed: int = 1) -> dict[str, Interval]:
    """Every score by name with its 95 % interval: Wilson's for shares of examples, bootstrap for others.

    Args:
        metrics: in the order of the scores.
        outputs: what is judged.
        resamples: draws of the bootstrap.
        seed: of the draws.
    """
    n = len(outputs.predictions)
    statistics = [metric.statistics(outputs) for metric in metrics]
    resampled = [i for i, part in enumerate(statistics) if not _is_share(metrics[i], part)]
    found: dict[str, Interval] = {}
    if resampled:
        tables = [statistics[i] for i in resampled]
        by_name = _by_name([metrics[i] for i in resampled], [table.shape[1] for table in tables], n)
        found = bootstrap(tables, by_name, resamples=resamples, seed=seed)
    for metric, part in zip(metrics, statistics, strict=True):
        if metric.measure.name not in found:
            found[metric.measure.name] = wilson(int(part.sum()), n)
    return {metric.measure.name: found[metric.measure.name] for metric in metrics}


def quick_scores(metrics: Sequence[Metric], outputs: Outputs) -> dict[str, float]:
    """Every score by name, without intervals: for validation during training, and baselines."""
    n = len(outputs.predictions)
    return {metric.measure.name: metric.score(metric.statistics(outputs).sum(0), n) for metric in metrics}


def _is_share(metric: Metric, statistics: np.ndarray) -> bool:
    """Whether the score is the share of examples that are right: one column of zeros and ones."""
    return metric.measure.unit == "share" and statistics.dtype == np.bool_


def _by_name(metrics: Sequence[Metric], widths: Sequence[int], n: int) -> Callable[[np.ndarray], dict[str, float]]:
    """The scores of the sums of all metrics, which stand side by side."""
    ends = np.cumsum(widths)
    return lambda sums: {
        metric.measure.name: metric.score(sums[end - width : end], n)
        for metric, width, end in zip(metrics, widths, ends, strict=True)
    }


def perplexity(nats: float, tokens: int) -> float:
    """exp of the mean loss. Compares runs with the same vocabulary only.

    Args:
        nats: sum of the cross-entropy over target tokens.
        tokens: how many.
    """
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        return math.inf


def bits_per_character(nats: float, characters: int) -> float:
    """The loss in units that no vocabulary changes: a token is a character in one run and a word in another.

    Args:
        nats: sum of the cross-entropy over the target tokens, ends of sentences included.
        characters: of the target texts.
    """
    return nats / math.log(2) / characters
