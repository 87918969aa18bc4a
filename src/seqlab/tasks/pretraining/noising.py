"""Noising of rows: text infilling and span corruption, with the targets that belong to them.

Two ways, both pure functions of their arguments:

- Text infilling, as BART has it: spans become one mask each, a mask also stands where nothing was, and the sentences
  are shuffled. The whole row is to be written. Source: Lewis et al. (2020), "BART", section 2.2.
- Span corruption, as T5 has it: each span becomes a sentinel of its own, and only the spans are to be written, behind
  their sentinels. Source: Raffel et al. (2020), "Exploring the limits of transfer learning", sections 3.1.4 and 3.3.

In both, spans never overlap, their tokens together are the asked share of the row, rounded, at least one, and of all
the places that such spans may have each is equally likely. In the code that was published with T5 the last span always
ends the row; here it may stand anywhere.

Shapes: `T` tokens of a row, `U` sentences of it, `K` spans, `S` tokens of the damaged row, `W` tokens to be written.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from seqlab.config.settings import Config


class TextInfilling(Config):
    """Spans become one mask each, and sentences are shuffled."""

    kind: Literal["text-infilling"] = "text-infilling"
    """spans become one mask each and sentences are shuffled, and the whole row is to be written, as in BART"""
    share: float = Field(default=0.3, gt=0, lt=1)
    """share of the tokens of a row that are masked"""
    mean_span: float = Field(default=3.0, gt=0, le=100)
    """mean of the Poisson distribution of span lengths; a span of length 0 inserts a mask"""
    permute_sentences: bool = True
    """whether the sentences of a row are shuffled"""


class SpanCorruption(Config):
    """Each span becomes a sentinel."""

    kind: Literal["span-corruption"] = "span-corruption"
    """each span becomes a sentinel of its own, and only the spans are to be written, as in T5"""
    share: float = Field(default=0.15, gt=0, lt=1)
    """share of the tokens of a row that are replaced by sentinels"""
    mean_span: float = Field(default=3.0, ge=1, le=100)
    """mean length of spans"""


@dataclass(frozen=True)
class Damaged:
    """A row, and what is to be written; begin and end of sequence are in neither."""

    source: np.ndarray  # (S,), what the encoder reads
    target: np.ndarray  # (W,), what the decoder is to write
    hidden: np.ndarray  # (W,), whether the source lacks this token; False for sentinels


def text_infilling(
    ids: np.ndarray, starts: np.ndarray, noise: TextInfilling, mask: int, generator: np.random.Generator
) -> Damaged:
    """The row with masks for spans, its sentences shuffled, and the row itself as the target.

    Args:
        ids: (T,), the row.
        starts: (U,), where its sentences start; the first one at 0.
        noise: how much is damaged.
        mask: the id that stands for a span.
        generator: draws the order of the sentences, then the spans.
    """
    order = np.arange(len(ids))
    if noise.permute_sentences:
        order = permuted(starts, len(ids), generator)
    lengths = poisson_lengths(noised(len(ids), noise.share), noise.mean_span, generator)
    visible = len(ids) - lengths.sum()
    places = np.sort(generator.choice(visible + len(lengths), size=len(lengths), replace=False))
    before = places - np.arange(len(lengths))  # visible tokens before each span
    gaps = np.diff(before, prepend=0, append=visible)
    covered = in_spans(gaps, lengths)
    hidden = np.zeros(len(ids), dtype=bool)
    hidden[order[covered]] = True
    return Damaged(np.insert(ids[order[~covered]], before, mask), ids, hidden)


def span_corruption(
    ids: np.ndarray, noise: SpanCorruption, sentinels: np.ndarray, generator: np.random.Generator
) -> Damaged:
    """The row with a sentinel for each span, and the spans with their sentinels before them and one more at the end.

    Spans have a token between them at least: two of them side by side would be one.

    Args:
        ids: (T,), the row.
        noise: how much is damaged.
        sentinels: ids of the sentinels, in order; there are never more spans than they can part.
        generator: draws the lengths of the spans, then of what is between them.
    """
    number = noised(len(ids), noise.share)
    visible = len(ids) - number
    spans = min(max(1, round(number / noise.mean_span)), number, visible + 1, len(sentinels) - 1)
    lengths = parts(number, spans, generator)
    gaps = parts(visible + 2, spans + 1, generator)
    gaps[[0, -1]] -= 1  # only the first and the last may be empty
    covered = in_spans(gaps, lengths)
    ends = np.append(0, np.cumsum(lengths))
    source = np.insert(ids[~covered], np.cumsum(gaps)[:-1], sentinels[:spans])
    target = np.insert(ids[covered], ends, sentinels[: spans + 1])
    return Damaged(source, target, np.insert(np.ones(number, dtype=bool), ends, False))


def noised(tokens: int, share: float) -> int:
    """How many of the tokens of a row are in spans."""
    return max(1, round(share * tokens))


def permuted(starts: np.ndarray, tokens: int, generator: np.random.Generator) -> np.ndarray:
    """(T,), the places of the tokens with the sentences, which start at `starts` (U,), in random order."""
    sentences = np.split(np.arange(tokens), starts[1:])
    return np.concatenate([sentences[number] for number in generator.permutation(len(sentences))])


def poisson_lengths(total: int, mean: float, generator: np.random.Generator) -> np.ndarray:
    """(K,), lengths from a Poisson distribution until they are `total` together, the last one cut; then shuffled.

    There are never more than `total` of them, so that masks make no row longer: surplus zeros are left out.
    """
    lengths = np.empty(0, dtype=np.int64)
    while lengths.sum() < total:
        lengths = np.append(lengths, generator.poisson(mean, size=int(total / mean) + 4))
    together = np.cumsum(lengths)
    last = int(np.searchsorted(together, total))
    lengths = lengths[: last + 1]
    lengths[last] -= together[last] - total
    zeros = np.flatnonzero(lengths == 0)
    lengths = np.delete(lengths, zeros[total - (len(lengths) - len(zeros)) :])
    return lengths[generator.permutation(len(lengths))]  # or else the one that was cut would always stand last


def parts(total: int, number: int, generator: np.random.Generator) -> np.ndarray:
    """(`number`,), positive numbers that are `total` together, all ways to choose them equally likely."""
    cuts = np.sort(generator.choice(total - 1, size=number - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=total)


def in_spans(gaps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(T,), True in spans of these `lengths` (K,), which stand between `gaps` (K + 1,) of other tokens."""
    turns = np.append(np.stack([gaps[:-1], lengths], axis=1).ravel(), gaps[-1])
    return np.repeat(np.arange(len(turns)) % 2 == 1, turns)


def restored(source: Iterable[int], written: Iterable[int], sentinels: Sequence[int]) -> list[int]:
    """A row that spans were taken from, with what was written behind each sentinel in its place."""
    spans: dict[int, list[int]] = {}
    known = set(sentinels)
    span: list[int] = []  # what stands before the first sentinel has no place
    for token in written:
        if token in known:
            span = spans.setdefault(token, [])
        else:
            span.append(token)
    return [token for read in source for token in (spans.get(read, []) if read in known else [read])]
