"""The stream of updates: the same from any position, and for any number of processes."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from seqlab.data.batching.pairs import EncodedPairs, PairBatch
from seqlab.data.batching.stream import BatchConfig, Group, Position, Stream
from seqlab.data.corpora.corpus import Example
from seqlab.errors import UserError

EXAMPLES_AN_EPOCH = 90
CONFIG = BatchConfig(max_tokens=200, pad_to_multiple_of=4, shuffle_pool=40, accumulate=6)


def epoch_of(number: int) -> EncodedPairs:
    """Pairs whose ids tell the epoch and the row, so that every batch is known again."""
    rng = np.random.default_rng((99, number))
    name = f"{number:04d}"
    examples = [
        Example(f"{name}{row:04d}" + "s" * rng.integers(12), "t" * rng.integers(1, 30))
        for row in range(EXAMPLES_AN_EPOCH)
    ]

    def ids(texts: Sequence[str]) -> list[list[int]]:
        return [[ord(character) for character in text] for text in texts]

    return EncodedPairs.encode(examples, ids, ids, pad_id=0, bos_id=1, eos_id=2)


@contextmanager
def stream_of(config: BatchConfig = CONFIG, seed: int = 5, rank: int = 0, size: int = 1) -> Iterator[Stream]:
    stream = Stream(epoch_of, config, seed, rank, size)
    try:
        yield stream
    finally:
        stream.close()


def names(batch: PairBatch) -> tuple[str, ...]:
    """(epoch and row) of every row of a batch."""
    return tuple("".join(map(chr, row[:8])) for row in batch.source.tolist())


def content(group: Group) -> list[tuple[str, ...]]:
    return [names(batch) for batch in group.batches]


def facts(group: Group) -> tuple:
    return group.tokens, group.real, group.slots, group.shapes.tolist(), group.after


def take(stream: Stream, number: int) -> list[Group]:
    return [stream.next_group() for _ in range(number)]


def test_every_epoch_has_every_example_once() -> None:
    config = BatchConfig(batch_size=10, accumulate=3)  # 9 batches, 3 updates an epoch
    with stream_of(config) as stream:
        for epoch in range(3):
            rows = [name for group in take(stream, 3) for batch in content(group) for name in batch]
            assert sorted(rows) == [f"{epoch:04d}{row:04d}" for row in range(EXAMPLES_AN_EPOCH)]
            assert stream.position == Position(epoch, 9)


def test_an_update_may_span_epochs() -> None:
    config = BatchConfig(batch_size=10, accumulate=6)  # 9 batches an epoch
    with stream_of(config) as stream:
        groups = take(stream, 3)
        assert [group.after for group in groups] == [Position(0, 6), Position(1, 3), Position(1, 9)]
        assert [batch[0][:4] for batch in content(groups[1])] == ["0000"] * 3 + ["0001"] * 3


def test_an_update_may_be_longer_than_an_epoch() -> None:
    with stream_of(BatchConfig(batch_size=50, accumulate=5)) as stream:  # 2 batches an epoch
        assert [batch[0][:4] for batch in content(stream.next_group())] == ["0000", "0000", "0001", "0001", "0002"]


def test_goes_on_from_any_position() -> None:
    """Also from the last of an epoch, the first of the next, and in a stream that stood somewhere else."""
    with stream_of() as whole:
        groups = take(whole, 12)
    assert groups[-1].after.epoch >= 3
    with stream_of() as wanderer:
        for index in (7, 0, 11, 3, 4, 5, 1):
            wanderer.position = groups[index - 1].after if index else Position()
            again = wanderer.next_group()
            assert content(again) == content(groups[index])
            assert facts(again) == facts(groups[index])
    for index in range(1, 12):
        with stream_of() as fresh:
            fresh.position = Position(*tuple(groups[index - 1].after))  # as a checkpoint keeps it
            assert content(fresh.next_group()) == content(groups[index])


def test_another_seed_is_another_order() -> None:
    with stream_of(seed=5) as first, stream_of(seed=6) as second:
        assert content(first.next_group()) != content(second.next_group())


def test_epochs_are_ordered_differently() -> None:
    with stream_of(BatchConfig(batch_size=10, accumulate=9)) as stream:
        orders = [[name[4:] for batch in content(group) for name in batch] for group in take(stream, 2)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_the_batches_of_one(size: int) -> None:
    with stream_of() as alone:
        expected = take(alone, 8)
    dealt = []
    for rank in range(size):
        with stream_of(rank=rank, size=size) as stream:
            dealt.append(take(stream, 8))
    for number, group in enumerate(expected):
        parts = [groups[number] for groups in dealt]
        assert all(facts(part) == facts(group) for part in parts)  # every process knows the whole update
        assert [len(part.batches) for part in parts] == [CONFIG.accumulate // size] * size
        turns = [part.batches[turn] for turn in range(CONFIG.accumulate // size) for part in parts]
        assert [names(batch) for batch in turns] == content(group)


def test_a_run_of_two_processes_goes_on_as_one_of_three() -> None:
    with stream_of() as alone:
        expected = take(alone, 6)
    with stream_of(rank=1, size=2) as two:
        position = take(two, 5)[-1].after
    with stream_of(rank=2, size=3) as three:
        three.position = position
        assert content(three.next_group()) == content(expected[5])[2::3]


@pytest.mark.parametrize(("accumulate", "size", "advice"), [(1, 2, 2), (5, 2, 6), (4, 3, 6), (7, 4, 8)])
def test_what_cannot_be_dealt_evenly_is_refused_with_advice(accumulate: int, size: int, advice: int) -> None:
    config = BatchConfig(accumulate=accumulate)
    with pytest.raises(UserError, match=rf"batch.accumulate={accumulate} .* over {size} .*batch.accumulate={advice}$"):
        Stream(epoch_of, config, 1, 0, size)


def test_counts_are_those_of_the_batches() -> None:
    with stream_of() as stream:
        for group in take(stream, 5):
            assert group.tokens == sum(int(batch.target_mask.sum()) for batch in group.batches)
            assert group.real == group.tokens + sum(int(batch.source_mask.sum()) for batch in group.batches)
            assert group.slots == sum(batch.source.numel() + batch.target.numel() for batch in group.batches)
            assert group.shapes.shape == (sum(len(batch.source) for batch in group.batches), 2)


def test_no_examples_are_told() -> None:
    def nothing(_: int) -> EncodedPairs:
        return EncodedPairs.encode([], lambda _: [], lambda _: [], pad_id=0, bos_id=1, eos_id=2)

    stream = Stream(nothing, CONFIG, 1)
    with pytest.raises(UserError, match="the training data has no examples"):
        stream.next_group()
    stream.close()


def test_the_next_epoch_is_prepared_aside() -> None:
    """Epoch 1 is drawn while epoch 0 is trained on, in another thread, and not a second time."""
    drawn: list[tuple[int, bool]] = []

    def noted(number: int) -> EncodedPairs:
        drawn.append((number, threading.current_thread() is threading.main_thread()))
        return epoch_of(number)

    stream = Stream(noted, BatchConfig(batch_size=30, accumulate=3), 1)
    take(stream, 3)
    stream.close()
    assert drawn[:3] == [(0, True), (1, False), (2, False)]


def test_a_failure_aside_is_raised_where_it_matters() -> None:
    def breaks(number: int) -> EncodedPairs:
        if number == 1:
            raise UserError("train.txt:7: the question has no answer")
        return epoch_of(number)

    stream = Stream(breaks, BatchConfig(batch_size=30, accumulate=3), 1)
    stream.next_group()
    with pytest.raises(UserError, match=r"train\.txt:7"):
        stream.next_group()
    stream.close()
