"""Statistics of a corpus: how much there is of every set, how long it is and which words are new, as numbers alone.

Sets are given as `{"training": [(source, target), ...]}`. Lengths are in characters, and in words where asked: runs of
letters and digits, as they are written. Every set but `validation` and `test` is trained on.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

Splits = Mapping[str, Sequence[tuple[str, str]]]
Unit = Literal["characters", "words"]

SIDES = ("source", "target")
HELD_OUT = ("validation", "test")

WORD = re.compile(r"\w+")

BINS = 40
"""Columns of a histogram, at most: so many fit into a line of a terminal."""

SAMPLE, MOST = 50_000, 1_000_000
"""Pairs of a set that are looked at: in half a second, and where there is time but not memory without end."""


@dataclass(frozen=True)
class Lengths:
    """The lengths of one side of a set."""

    mean: float
    longest: int


@dataclass(frozen=True)
class Side:
    """The sources or the targets of a set."""

    characters: Lengths
    words: Lengths | None
    unknown_words: float | None
    """those that no training text has, as a share of all words; None for sets that are trained on"""
    histogram: list[int]
    """how many texts are in each bin"""


@dataclass(frozen=True)
class SplitStatistics:
    """One set of examples."""

    examples: int
    counted: int
    """how many of them the rest is about"""
    distinct_characters: int
    source: Side
    target: Side
    ratios: list[int]
    """how many pairs are in each bin of the length ratio"""

    @property
    def sides(self) -> tuple[Side, Side]:
        """Source and target."""
        return self.source, self.target


@dataclass(frozen=True)
class Statistics:
    """Every set of a corpus; bins are the same for all sets."""

    unit: Unit
    """what the length histograms count"""
    splits: dict[str, SplitStatistics]
    edges: tuple[list[int], list[int]]
    """where the bins of source and target lengths begin, and where the last one ends; it holds all longer texts too"""
    ratio_edges: list[float]
    """the same of target characters by source characters; the outer bins hold all further pairs too"""
    remarks: list[str]
    """what else there is to say of the data"""

    def to_json(self) -> dict[str, Any]:
        """Everything as plain objects."""
        return asdict(self)


def describe(splits: Splits, *, words: bool, remarks: Sequence[str] = (), sample: int | None = None) -> Statistics:
    """Counts every set.

    Args:
        splits: the examples of every set.
        words: count words too, and find those that training does not have; the histograms are then of words.
        remarks: sentences to keep beside the numbers.
        sample: look at so many evenly spaced examples of a larger set; at all of them when absent.
    """
    counts = {name: _count(_sampled(examples, sample), words) for name, examples in splits.items()}
    trained = [count for name, count in counts.items() if name not in HELD_OUT]
    known = [set().union(*(count.vocabulary[side] for count in trained)) for side in range(2)]
    source_edges, target_edges = (_length_edges([c.lengths[:, side] for c in counts.values()]) for side in range(2))
    statistics = Statistics(
        unit="words" if words else "characters",
        splits={},
        edges=(source_edges, target_edges),
        ratio_edges=_ratio_edges([count.ratios for count in counts.values()]),
        remarks=list(remarks),
    )
    for name, count in counts.items():
        is_new = words and name in HELD_OUT
        unknown = [_unknown(count.vocabulary[side], known[side]) if is_new else None for side in range(2)]
        statistics.splits[name] = _split(len(splits[name]), count, unknown, statistics)
    return statistics


class _Count(NamedTuple):
    """What one pass over the N examples of a set finds."""

    characters: np.ndarray  # (N, 2)
    words: np.ndarray  # (N, 2), or (0, 2) where they are not counted
    vocabulary: tuple[Counter[str], Counter[str]]
    distinct_characters: int

    @property
    def lengths(self) -> np.ndarray:
        """(N, 2), in the unit of the histograms."""
        return self.words if len(self.words) else self.characters

    @property
    def ratios(self) -> np.ndarray:
        """Target characters by source characters of every pair that has both."""
        source, target = self.characters[self.characters.all(axis=1)].T
        return target / source


def _count(examples: Sequence[tuple[str, str]], words: bool) -> _Count:
    characters = np.array([(len(source), len(target)) for source, target in examples]).reshape(-1, 2)
    alphabet = set().union(*(text for example in examples for text in example))
    vocabulary: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    rows = []
    for example in examples if words else ():
        found = [WORD.findall(text) for text in example]
        rows.append([len(side) for side in found])
        for counter, side in zip(vocabulary, found, strict=True):
            counter.update(side)
    return _Count(characters, np.array(rows, dtype=int).reshape(-1, 2), vocabulary, len(alphabet))


def _sampled(examples: Sequence[tuple[str, str]], size: int | None) -> Sequence[tuple[str, str]]:
    if size is None or len(examples) <= size:
        return examples
    return [examples[place * len(examples) // size] for place in range(size)]


def _split(examples: int, count: _Count, unknown: Sequence[float | None], bins: Statistics) -> SplitStatistics:
    def side(number: int) -> Side:
        return Side(
            characters=_lengths(count.characters[:, number]),
            words=_lengths(count.words[:, number]) if bins.unit == "words" else None,
            unknown_words=unknown[number],
            histogram=_histogram(count.lengths[:, number], bins.edges[number]),
        )

    return SplitStatistics(
        examples=examples,
        counted=len(count.characters),
        distinct_characters=count.distinct_characters,
        source=side(0),
        target=side(1),
        ratios=_histogram(count.ratios, bins.ratio_edges),
    )


def _lengths(lengths: np.ndarray) -> Lengths:
    return Lengths(mean=float(lengths.mean()) if len(lengths) else 0.0, longest=int(lengths.max(initial=0)))


def _unknown(counts: Counter[str], known: set[str]) -> float:
    """The share of all words that are not among those known."""
    return sum(count for word, count in counts.items() if word not in known) / max(counts.total(), 1)


def _length_edges(lengths: Sequence[np.ndarray]) -> list[int]:
    """Bins of one width from 0 to the longest, or to twice what one in a hundred exceeds: a few giants take no room."""
    together = np.concatenate([*lengths, [0]])
    end = int(min(together.max(), 2 * np.quantile(together, 0.99))) + 1
    width = -(-end // BINS)
    return list(range(0, end + width, width))


def _ratio_edges(ratios: Sequence[np.ndarray]) -> list[float]:
    """Bins of one width on a logarithmic scale, between what one in two hundred is below and one above."""
    together = np.concatenate(ratios) if ratios else np.array([])
    low, high = np.quantile(together, [0.005, 0.995]) if len(together) else (1.0, 1.0)
    if high / low < 1.01:
        low, high = low / 1.1, high * 1.1
    return np.geomspace(low, high, BINS + 1).tolist()


def _histogram(values: np.ndarray, edges: Sequence[float]) -> list[int]:
    inside = np.clip(values, edges[0], edges[-1])
    return np.histogram(inside, edges)[0].tolist()
