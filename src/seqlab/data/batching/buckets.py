"""Plans of an epoch: length buckets under a token budget, or the baselines they are measured against.

The plan of an epoch is a pure function of the lengths and of (seed, epoch), so a position in the data is two integers.
"""

from typing import Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from seqlab.config.settings import Config


class BatchConfig(Config):
    """Size, order and padding of the batches."""

    tokens: int | None = Field(default=4096, ge=1)
    """token budget of a batch: rows x the longer padded side stays within it"""
    rows: int | None = Field(default=None, ge=1)
    """rows of a batch, instead of a token budget"""
    order: Literal["buckets", "random"] = "buckets"
    """buckets: neighbours in length share a batch; random: the baseline"""
    padding: Literal["dynamic", "fixed"] = "dynamic"
    """dynamic: to the longest of the batch; fixed: to the longest of the epoch, the baseline"""
    multiple: int = Field(default=8, ge=1)
    """padded lengths are rounded up to a multiple of this; 8 suits tensor cores, 1 wastes least on a CPU"""
    pool: int = Field(default=20_000, ge=1)
    """examples that are shuffled together and then sorted by length; larger means less padding and less chance"""
    accumulate: int = Field(default=1, ge=1)
    """batches in one update, over all processes"""

    @model_validator(mode="before")
    @classmethod
    def _rows_replace_tokens(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("rows") is not None and "tokens" not in data:
            return {**data, "tokens": None}
        return data

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.tokens is None) == (self.rows is None):
            raise ValueError("give tokens or rows, not both and not neither; tokens=null or rows=null takes one away")
        return self


class Bucket(NamedTuple):
    """The rows of one batch and the widths that they are padded to."""

    rows: np.ndarray
    source_width: int
    target_width: int


def plan(shapes: np.ndarray, config: BatchConfig, rng: np.random.Generator) -> list[Bucket]:
    """The batches of one epoch, every example in exactly one of them.

    Args:
        shapes: (N, 2) source and target lengths.
        config: size, order and padding.
        rng: decides the order; the same generator gives the same plan.
    """
    padded = -(-shapes // config.multiple) * config.multiple
    if config.padding == "fixed":
        padded = np.broadcast_to(padded.max(axis=0), padded.shape)
    order = rng.permutation(len(shapes))
    if config.order == "random":
        return [_bucket(rows, padded) for rows in _cut(order, padded, config)]
    pools = [order[start : start + config.pool] for start in range(0, len(order), config.pool)]
    buckets = [_bucket(rows, padded) for pool in pools for rows in _cut(_by_length(pool, shapes), padded, config)]
    return [buckets[index] for index in rng.permutation(len(buckets))]


def in_order_of_length(shapes: np.ndarray, tokens: int) -> list[Bucket]:
    """Batches for evaluation: longest first, so that memory runs out at once or never."""
    rows = _by_length(np.arange(len(shapes)), shapes)[::-1]
    return [_bucket(chunk, shapes) for chunk in _cut(rows, shapes, BatchConfig(tokens=tokens, multiple=1))]


def _by_length(rows: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Sorted by the longer side, which the budget counts; then by each side, so that both are padded little."""
    source, target = shapes[rows, 0], shapes[rows, 1]
    return rows[np.lexsort((target, source, np.maximum(source, target)))]


def _cut(rows: np.ndarray, padded: np.ndarray, config: BatchConfig) -> list[np.ndarray]:
    """Consecutive batches of `config.rows` rows, or as many as the token budget holds."""
    if config.rows is not None:
        return [rows[start : start + config.rows] for start in range(0, len(rows), config.rows)]
    assert config.tokens is not None
    batches: list[np.ndarray] = []
    start, widest = 0, 0
    for end, cost in enumerate(padded[rows].max(axis=1).tolist()):
        if end > start and (end - start + 1) * max(widest, cost) > config.tokens:
            batches.append(rows[start:end])
            start, widest = end, 0
        widest = max(widest, cost)
    return [*batches, rows[start:]] if start < len(rows) else batches


def _bucket(rows: np.ndarray, padded: np.ndarray) -> Bucket:
    source_width, target_width = padded[rows].max(axis=0).tolist()
    return Bucket(rows, source_width, target_width)
