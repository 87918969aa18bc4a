"""Batches on their way to a model: the endless stream of updates of a training, and one pass over a set to evaluate.

The stream tells which batches make up each update, for every process, from any position on. An update is `accumulate`
consecutive batches of the plan. Processes take turns with them: process `rank` of `size` takes batches `rank`,
`rank + size`, ... So the mathematics of a run does not depend on the number of processes, and a run saved by two
resumes as one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from seqlab.data.batching.buckets import BatchConfig, Bucket, in_order_of_length, plan
from seqlab.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


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
                f"batch.accumulate={config.accumulate} batches an update cannot be dealt to {size} processes: "
                f"set batch.accumulate={size * -(-config.accumulate // size)}"
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
