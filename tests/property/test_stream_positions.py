"""Whatever the sizes: a stream goes on from any of its positions, and processes share the batches of one."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.data.batching.pairs import PairBatch
from seqlab.data.batching.stream import BatchConfig, Group, Position, Stream


class Numbers:
    """An epoch of examples of which only lengths matter; a batch tells which rows it has."""

    def __init__(self, epoch: int, number: int) -> None:
        self.epoch = epoch
        self.shapes = np.random.default_rng((7, epoch)).integers(1, 30, size=(number, 2))

    def batch(self, rows: np.ndarray, source_width: int, target_width: int) -> PairBatch:
        ids = torch.from_numpy(rows.copy()).reshape(-1, 1) + 10_000 * self.epoch
        mask = torch.ones_like(ids, dtype=torch.bool)
        return PairBatch(ids, mask, ids, mask, torch.arange(len(rows)), ids.flatten(), rows)


@contextmanager
def stream_of(number: int, config: BatchConfig, seed: int, rank: int = 0, size: int = 1) -> Iterator[Stream]:
    stream = Stream(lambda epoch: Numbers(epoch, number), config, seed, rank, size)
    try:
        yield stream
    finally:
        stream.close()


def content(group: Group) -> list[list[int]]:
    return [batch.source.flatten().tolist() for batch in group.batches]


numbers = st.integers(1, 60)
batchings = st.one_of(
    st.builds(BatchConfig, batch_size=st.integers(1, 20), max_tokens=st.none(), accumulate=st.integers(1, 6)),
    st.builds(
        BatchConfig, max_tokens=st.integers(30, 300), shuffle_pool=st.integers(5, 60), accumulate=st.integers(1, 6)
    ),
)
seeds = st.integers(0, 1000)


@settings(max_examples=30)
@given(numbers, batchings, seeds, st.integers(0, 9))
def test_goes_on_from_anywhere(number: int, config: BatchConfig, seed: int, stop: int) -> None:
    with stream_of(number, config, seed) as whole:
        groups = [whole.next_group() for _ in range(12)]
    with stream_of(number, config, seed) as other:
        other.position = groups[stop - 1].after if stop else Position()
        for expected in groups[stop : stop + 3]:
            assert content(other.next_group()) == content(expected)
            assert other.position == expected.after


@settings(max_examples=30)
@given(numbers, batchings, seeds)
def test_every_epoch_has_every_example_once(number: int, config: BatchConfig, seed: int) -> None:
    seen: list[int] = []
    with stream_of(number, config, seed) as stream:
        while stream.position.epoch < 2:
            seen += [row for batch in content(stream.next_group()) for row in batch]
    for epoch in range(2):
        rows = [row - 10_000 * epoch for row in seen if row // 10_000 == epoch]
        assert sorted(rows) == list(range(number))


@settings(max_examples=30)
@given(numbers, st.integers(2, 4), st.integers(1, 3), seeds, st.integers(1, 25))
def test_processes_take_turns(number: int, size: int, turns: int, seed: int, rows: int) -> None:
    config = BatchConfig(batch_size=rows, max_tokens=None, accumulate=size * turns)
    with stream_of(number, config, seed) as alone:
        expected = [alone.next_group() for _ in range(3)]
    shares = []
    for rank in range(size):
        with stream_of(number, config, seed, rank, size) as stream:
            shares.append([stream.next_group() for _ in range(3)])
    for update, whole in enumerate(expected):
        dealt = [content(share[update]) for share in shares]
        assert [batch for turn in zip(*dealt, strict=True) for batch in turn] == content(whole)
        assert {(share[update].tokens, share[update].real, share[update].after) for share in shares} == {
            (whole.tokens, whole.real, whole.after)
        }
