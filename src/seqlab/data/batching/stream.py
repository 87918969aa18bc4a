"""Batches on their way to a model: examples of like length in one batch, an endless stream of updates, evaluation.

The stream tells which batches make up each update, for every process, from any position on. An update is `accumulate`
consecutive batches of the plan. Processes take turns with them: process `rank` of `size` takes batches `rank`,
`rank + size`, ... So the mathematics of a run does not depend on the number of processes, and a run saved by two
resumes as one.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class BatchConfig(Config):
    """Size, order and padding of the batches."""

    max_tokens: int | None = Field(default=4096, ge=1)
    """token budget of a batch: rows x the longer padded side stays within it"""
    batch_size: int | None = Field(default=None, ge=1)
    """rows of a batch, instead of a token budget"""
    order: Literal["buckets", "random"] = "buckets"
    """buckets: batches of similar lengths; random: shuffled, the baseline"""
    padding: Literal["dynamic", "fixed"] = "dynamic"
    """dynamic: to the longest of the batch; fixed: to the longest of the epoch, the baseline"""
    pad_to_multiple_of: int = Field(default=8, ge=1)
    """padded lengths are rounded up to a multiple of this; 8 suits tensor cores, 1 wastes least on a CPU"""
    shuffle_pool: int = Field(default=20_000, ge=1)
    """examples that are shuffled, then sorted by length together; larger: less padding, less randomness"""
    accumulate: int = Field(default=1, ge=1)
    """batches in one update, over all processes"""

    @model_validator(mode="before")
    @classmethod
    def _batch_size_replaces_max_tokens(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("batch_size") is not None and "max_tokens" not in data:
            return {**data, "max_tokens": None}
        return data

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.max_tokens is None) == (self.batch_size is None):
            raise ValueError(
                "give either max_tokens or batch_size: batch.max_tokens=null or batch.batch_size=null takes one away"
            )
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
    padded = -(-shapes // config.pad_to_multiple_of) * config.pad_to_multiple_of
    if config.padding == "fixed":
        padded = np.broadcast_to(padded.max(axis=0), padded.shape)
    order = rng.permutation(len(shapes))
    if config.order == "random":
        return [_bucket(rows, padded) for rows in _cut(order, padded, config)]
    pools = [order[start : start + config.shuffle_pool] for start in range(0, len(order), config.shuffle_pool)]
    buckets = [_bucket(rows, padded) for pool in pools for rows in _cut(_by_length(pool, shapes), padded, config)]
    return [buckets[index] for index in rng.permutation(len(buckets))]


def in_order_of_length(shapes: np.ndarray, tokens: int) -> list[Bucket]:
    """Batches for evaluation: longest first, so that memory runs out at once or never."""
    rows = _by_length(np.arange(len(shapes)), shapes)[::-1]
    return [
        _bucket(chunk, shapes) for chunk in _cut(rows, shapes, BatchConfig(max_tokens=tokens, pad_to_multiple_of=1))
    ]


def _by_length(rows: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Sorted by the longer side, which the budget counts; then by each side, so that both are padded little."""
    source, target = shapes[rows, 0], shapes[rows, 1]
    return rows[np.lexsort((target, source, np.maximum(source, target)))]


def _cut(rows: np.ndarray, padded: np.ndarray, config: BatchConfig) -> list[np.ndarray]:
    """Consecutive batches of `config.batch_size` rows, or as many as the token budget holds."""
    if config.batch_size is not None:
        return [rows[start : start + config.batch_size] for start in range(0, len(rows), config.batch_size)]
    assert config.max_tokens is not None
    batches: list[np.ndarray] = []
    start, widest = 0, 0
    for end, cost in enumerate(padded[rows].max(axis=1).tolist()):
        if end > start and (end - start + 1) * max(widest, cost) > config.max_tokens:
            batches.append(rows[start:end])
            start, widest = end, 0
        widest = max(widest, cost)
    return [*batches, rows[start:]] if start < len(rows) else batches


def _bucket(rows: np.ndarray, padded: np.ndarray) -> Bucket:
    source_width, target_width = padded[rows].max(axis=0).tolist()
    return Bucket(rows, source_width, target_width)


class Batch(Protocol):
    """Padded examples; what is in it is between the data and their task."""

    @property
    def rows(self) -> np.ndarray:
        """(B,), which examples of the epoch these are."""
        ...

    @property
    def tokens(self) -> int:
        """What the loss of the batch is added up over: the sum of the target lengths in `Encoded.shapes`."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`; the copy to a GPU does not wait."""
        ...


AnyBatch = TypeVar("AnyBatch", bound="DataclassInstance")


def to_device(batch: AnyBatch, device: torch.device) -> AnyBatch:
    """The same batch with its tensors on `device`; the copy to a GPU does not wait."""
    if device.type == "cpu":
        return batch
    is_gpu = device.type == "cuda"
    tensors = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
    moved = {
        name: (tensor.pin_memory() if is_gpu else tensor).to(device, non_blocking=is_gpu)
        for name, tensor in tensors.items()
    }
    return replace(batch, **moved)


class Encoded(Protocol):
    """An epoch of examples as ids or numbers."""

    @property
    def shapes(self) -> np.ndarray:
        """(N, 2): source and target length of every example."""
        ...

    def batch(self, rows: np.ndarray, source_width: int, target_width: int) -> Batch:
        """The chosen examples, padded."""
        ...


class Position(NamedTuple):
    """How far the data is consumed: batches already taken from the plan of an epoch."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Group:
    """The batches of one update."""

    batches: list[Batch]  # those of this process
    tokens: int  # real target tokens over all processes
    real: int  # real tokens of both sides over all processes
    slots: int  # places for tokens over all processes; 1 - real / slots is the padding share
    shapes: np.ndarray  # (rows over all processes, 2), for counting FLOPs
    after: Position  # where the next update starts


class _Epoch(NamedTuple):
    examples: Encoded
    shapes: np.ndarray
    buckets: list[Bucket]


class Stream:
    """Yields groups of batches for ever; `position` is all there is to save.

    Args:
        examples: the encoded examples of an epoch, a pure function of its number.
        config: batch size, order, padding, accumulation.
        seed: with the epoch's number it decides the order of the batches.
        rank, size: which of how many processes this is.
    """

    def __init__(
        self,
        examples: Callable[[int], Encoded],
        config: BatchConfig,
        seed: int,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        if config.accumulate % size:
            raise UserError(
                f"batch.accumulate={config.accumulate} batches per update cannot be split evenly over {size} "
                f"processes: set batch.accumulate={size * -(-config.accumulate // size)}"
            )
        self._examples, self._config, self._seed = examples, config, seed
        self._rank, self._size = rank, size
        self.position = Position()
        # The next epoch is drawn and encoded beside the training of this one: torch leaves the interpreter idle.
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="next-epoch")
        self._upcoming: tuple[int, Future[_Epoch]] | None = None
        self._current: tuple[int, _Epoch] | None = None

    def next_group(self) -> Group:
        """The batches of the next update; moves `position` behind them."""
        batches: list[Batch] = []
        shapes: list[np.ndarray] = []
        slots = 0
        epoch_number, place = self.position
        for turn in range(self._config.accumulate):
            epoch = self._epoch(epoch_number)
            if place == len(epoch.buckets):
                epoch_number, place = epoch_number + 1, 0
                epoch = self._epoch(epoch_number)
            bucket = epoch.buckets[place]
            shapes.append(epoch.shapes[bucket.rows])
            slots += len(bucket.rows) * (bucket.source_width + bucket.target_width)
            if turn % self._size == self._rank:
                batches.append(epoch.examples.batch(*bucket))
            place += 1
        self.position = Position(epoch_number, place)
        every = np.concatenate(shapes)
        return Group(batches, int(every[:, 1].sum()), int(every.sum()), slots, every, self.position)

    @property
    def epochs_done(self) -> float:
        """Passes over the data: 1.5 in the middle of the second. Not whole where an update reached beyond an end."""
        number, place = self.position
        return number + place / len(self._epoch(number).buckets)

    @property
    def updates_per_epoch(self) -> int:
        """Updates that the first epoch takes; later ones may differ by a few, as their batches are drawn anew."""
        return -(-self._first[1] // self._config.accumulate)

    def updates_of(self, epochs: float) -> int:
        """Updates that so many epochs take, as far as the first one tells."""
        return max(1, math.ceil(epochs * self._first[1] / self._config.accumulate - 1e-9))

    @property
    def first_shapes(self) -> np.ndarray:
        """(N, 2): source and target lengths of the first epoch."""
        return self._first[0]

    @cached_property
    def _first(self) -> tuple[np.ndarray, int]:
        """Shapes and number of batches of the first epoch; made again where a resumed run stands in another."""
        first = self._epoch(0) if self.position.epoch == 0 else self._prepare(0)
        return first.shapes, len(first.buckets)

    def close(self) -> None:
        """Ends the background thread."""
        self._background.shutdown(wait=False, cancel_futures=True)

    def _epoch(self, number: int) -> _Epoch:
        if self._current is None or self._current[0] != number:
            if self._upcoming is not None and self._upcoming[0] == number:
                prepared = self._upcoming[1].result()
            else:
                prepared = self._prepare(number)
            self._current = (number, prepared)
            self._upcoming = (number + 1, self._background.submit(self._prepare, number + 1))
        return self._current[1]

    def _prepare(self, number: int) -> _Epoch:
        examples = self._examples(number)
        shapes = examples.shapes
        if len(shapes) == 0:
            raise UserError("the training data has no examples")
        return _Epoch(examples, shapes, plan(shapes, self._config, np.random.default_rng((self._seed, number))))


def evaluation_batches(examples: Encoded, model: nn.Module, tokens: int) -> Iterator[Any]:
    """One pass over all examples, in batches on the device of the model.

    Args:
        examples: the encoded examples.
        model: what reads them.
        tokens: budget of a batch. The longest come first, so that memory runs out at once or never.
    """
    device = next(model.parameters()).device
    for bucket in in_order_of_length(examples.shapes, tokens):
        yield examples.batch(*bucket).to(device)
