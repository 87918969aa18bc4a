"""Encoded pairs and padded batches, against a plain loop."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from seqlab.data.batching.pairs import EncodedPairs, PairBatch, Ragged
from seqlab.data.corpora.corpus import Example

PAD, BOS, EOS = 0, 1, 2
EXAMPLES = [
    Example("abc", "xy"),
    Example("a", "xyzw"),
    Example("abcde", ""),
    Example("", "x"),
    Example("bb", "yy"),
]


def ids(texts: Sequence[str]) -> list[list[int]]:
    return [[ord(character) for character in text] for text in texts]


def encoded(examples: list[Example] = EXAMPLES) -> EncodedPairs:
    return EncodedPairs.encode(examples, ids, ids, pad_id=PAD, bos_id=BOS, eos_id=EOS)


def plainly(examples: list[Example], source_width: int, target_width: int) -> dict[str, list]:
    """The batch, cell by cell."""
    batch: dict[str, list] = {"source": [], "source_mask": [], "target": [], "target_mask": [], "labels": []}
    index: list[int] = []
    for example in examples:
        source, target = ids([example.source])[0], [*ids([example.target])[0], EOS]
        fed = [BOS, *ids([example.target])[0]]
        batch["source"].append(source + [PAD] * (source_width - len(source)))
        batch["source_mask"].append([place < len(source) for place in range(source_width)])
        batch["target"].append(fed + [PAD] * (target_width - len(fed)))
        batch["target_mask"].append([place < len(target) for place in range(target_width)])
        index += [len(batch["target"][:-1]) * target_width + place for place in range(len(target))]
        batch["labels"] += target
    return {**batch, "target_index": index}


def assert_same(batch: PairBatch, expected: dict[str, list]) -> None:
    for name, value in expected.items():
        assert getattr(batch, name).tolist() == value, name


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [4, 1], [2], [1, 1, 0]])
@pytest.mark.parametrize("widths", [(5, 5), (8, 16)])
def test_a_batch_is_what_a_plain_loop_makes(rows: list[int], widths: tuple[int, int]) -> None:
    batch = encoded().batch(np.array(rows), *widths)
    assert_same(batch, plainly([EXAMPLES[row] for row in rows], *widths))
    assert batch.rows.tolist() == rows


def test_labels_stand_in_the_order_of_the_real_target_positions() -> None:
    """The model picks states with the target index; labels must come in the same order."""
    batch = encoded().batch(np.array([1, 0]), 4, 5)
    assert batch.labels.tolist() == [*ids(["xyzw"])[0], EOS, *ids(["xy"])[0], EOS]
    assert len(batch.labels) == batch.target_mask.sum() == batch.tokens == 8


def test_the_decoder_reads_what_it_should_have_said_one_place_earlier() -> None:
    batch = encoded().batch(np.arange(len(EXAMPLES)), 5, 5)
    for row, mask in enumerate(batch.target_mask):
        fed = batch.target[row][mask]
        before = int(batch.target_mask[:row].sum())
        said = batch.labels[before : before + len(fed)]
        assert fed[0] == BOS
        assert said[-1] == EOS
        assert fed[1:].tolist() == said[:-1].tolist()


def test_shapes_count_the_end_mark() -> None:
    assert encoded().shapes.tolist() == [[3, 3], [1, 5], [5, 1], [0, 2], [2, 3]]
    assert len(encoded()) == 5


def test_an_empty_source_takes_no_part() -> None:
    batch = encoded([Example("", "x")]).batch(np.array([0]), 0, 2)
    assert batch.source.shape == batch.source_mask.shape == (1, 0)
    assert batch.labels.tolist() == [ord("x"), EOS]
    batch = encoded().batch(np.array([3, 0]), 3, 3)
    assert batch.source_mask.tolist() == [[False] * 3, [True] * 3]


def test_types_are_those_of_torch() -> None:
    batch = encoded().batch(np.array([0]), 3, 3)
    assert {name: getattr(batch, name).dtype for name in ("source", "source_mask", "target", "target_mask")} == {
        "source": torch.int64,
        "source_mask": torch.bool,
        "target": torch.int64,
        "target_mask": torch.bool,
    }
    assert batch.labels.dtype == batch.target_index.dtype == torch.int64


def test_moving_a_batch_keeps_all_of_it() -> None:
    batch = encoded().batch(np.array([0, 2]), 5, 3)
    moved = batch.to(torch.device("meta"))
    assert moved.source.device.type == "meta"
    assert moved.rows is batch.rows
    assert [tensor.shape for tensor in vars(moved).values()] == [tensor.shape for tensor in vars(batch).values()]


def test_sequences_are_packed_without_padding() -> None:
    packed = Ragged.of([[1, 2], [], [3]])
    assert packed.ids.tolist() == [1, 2, 3]
    assert packed.offsets.tolist() == [0, 2, 2, 3]
    assert packed.lengths.tolist() == [2, 0, 1]
    assert packed.padded(np.array([2, 0, 1]), 3, fill=9, shift=1).tolist() == [[9, 3, 9], [9, 1, 2], [9, 9, 9]]
