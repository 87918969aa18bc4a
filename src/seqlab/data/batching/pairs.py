"""Encoded source-target pairs, and the padded batch that is cut from them.

Shapes: `B` rows, `S` source length, `T` target length. Ids are kept flat with offsets, so that a million short pairs
are two arrays and not two million lists.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batching.stream import to_device
from seqlab.data.corpora.corpus import Example
from seqlab.data.out_of_core.cache import made_once

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Texts to ids, many at once."""

CHUNK = 5000
"""Pairs that are encoded at once: encoders give lists of Python numbers, which are many times larger than arrays."""


@dataclass(frozen=True)
class PairBatch:
    """Padded ids with their masks (True = takes part); the target starts with begin-of-sequence."""

    source: Tensor  # (B, S)
    source_mask: Tensor  # (B, S)
    target: Tensor  # (B, T), input of the decoder
    target_mask: Tensor  # (B, T)
    target_index: Tensor  # (N,), the real ones among the B * T places of the target, row after row
    labels: Tensor  # (N,), the ids to predict at these places
    rows: np.ndarray  # (B,), which pairs these are

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a model is called with; a GPU would have to be waited for to learn `target_index` from the mask."""
        return self.source, self.source_mask, self.target, self.target_index

    @property
    def tokens(self) -> int:
        """Number of real target tokens."""
        return len(self.labels)

    @property
    def slots(self) -> int:
        """Number of places for tokens, real or padded, on both sides."""
        return self.source.numel() + self.target.numel()

    def to(self, device: torch.device) -> "PairBatch":
        """The same batch on `device`; the copy to a GPU does not wait."""
        return to_device(self, device)


@dataclass(frozen=True)
class Ragged:
    """Sequences of ids of any lengths, one after the other."""

    ids: np.ndarray  # all ids, int32
    offsets: np.ndarray  # where each sequence starts, and the end of the last

    @classmethod
    def of(cls, sequences: Sequence[list[int]]) -> "Ragged":
        """Packs lists of ids."""
        offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
        ids = np.fromiter(chain.from_iterable(sequences), dtype=np.int32, count=offsets[-1])
        return cls(ids, offsets)

    @classmethod
    def joined(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """The sequences of all parts, one part after the other."""
        lengths = [part.lengths for part in parts]
        offsets = np.concatenate([[0], *lengths]).cumsum(dtype=np.int64)
        return cls(np.concatenate([np.empty(0, dtype=np.int32), *(part.ids for part in parts)]), offsets)

    @classmethod
    def stored(cls, folder: Path, name: str) -> "Ragged":
        """What `append` has written to a folder; read as it is needed."""
        # as plain arrays: every slice of a memmap would be one too, which is slow to make
        ids = np.asarray(np.memmap(folder / f"{name}.ids", dtype=np.int32, mode="r"))
        return cls(ids, np.asarray(np.memmap(folder / f"{name}.offsets", dtype=np.int64, mode="r")))

    def append(self, folder: Path, name: str) -> None:
        """Adds the sequences to those that are stored under a name."""
        with (folder / f"{name}.ids").open("ab") as file:
            before = file.tell() // self.ids.itemsize
            file.write(self.ids.tobytes())
        with (folder / f"{name}.offsets").open("ab") as file:
            file.write((self.offsets[bool(file.tell()) :] + before).tobytes())

    @property
    def lengths(self) -> np.ndarray:
        """Number of ids of every sequence."""
        return np.diff(self.offsets)

    def lengths_of(self, rows: np.ndarray) -> np.ndarray:
        """Number of ids of the chosen sequences."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Where the ids of the chosen sequences are, one sequence after the other."""
        return ranges(self.offsets[rows], self.lengths_of(rows))

    def chosen(self, rows: Sequence[int]) -> "Ragged":
        """The sequences of these rows."""
        index = np.asarray(rows, dtype=np.int64)
        return Ragged(self.ids[self.places(index)], np.append(0, np.cumsum(self.lengths_of(index))))

    def padded(self, rows: np.ndarray, width: int, fill: int, shift: int = 0) -> np.ndarray:
        """The chosen sequences side by side, filled up to `width`, moved `shift` places to the right."""
        table = np.full((len(rows), width), fill, dtype=np.int64)
        for place, row in enumerate(rows):
            sequence = self.ids[self.offsets[row] : self.offsets[row + 1]]
            table[place, shift : shift + len(sequence)] = sequence
        return table


@dataclass(frozen=True)
class EncodedPairs:
    """A corpus as ids: sources, and targets that end with end-of-sequence."""

    sources: Ragged
    targets: Ragged
    pad_id: int
    bos_id: int

    @classmethod
    def encode(
        cls,
        examples: Sequence[Example],
        encode_source: Encode,
        encode_target: Encode,
        *,
        pad_id: int,
        bos_id: int,
        eos_id: int,
        folder: Path | None = None,
    ) -> "EncodedPairs":
        """Turns text into ids, once.

        Args:
            examples: the texts.
            encode_source, encode_target: their encoders.
            pad_id, bos_id, eos_id: the special ids.
            folder: where the ids are kept, on disk; they are taken from there if they are there.
        """
        chunks = _encoded(examples, encode_source, encode_target, eos_id)
        if folder is None:
            sources, targets = ([*sides] for sides in zip(*chunks, strict=True)) if examples else ([], [])
            return cls(Ragged.joined(sources), Ragged.joined(targets), pad_id, bos_id)
        made_once(folder, lambda unfinished: _store(chunks, unfinished))
        return cls(Ragged.stored(folder, "source"), Ragged.stored(folder, "target"), pad_id, bos_id)

    def __len__(self) -> int:
        return len(self.sources.offsets) - 1

    @property
    def shapes(self) -> np.ndarray:
        """(N, 2): source and target length of every pair."""
        return np.stack([self.sources.lengths, self.targets.lengths], axis=1)

    def chosen(self, rows: Sequence[int]) -> "EncodedPairs":
        """The pairs of these rows, in this order."""
        if len(rows) == len(self):
            return self
        return EncodedPairs(self.sources.chosen(rows), self.targets.chosen(rows), self.pad_id, self.bos_id)

    def batch(self, rows: np.ndarray, source_width: int, target_width: int) -> PairBatch:
        """The chosen pairs, padded to the given widths."""
        source_lengths, target_lengths = self.sources.lengths_of(rows), self.targets.lengths_of(rows)
        source_mask = np.arange(source_width) < source_lengths[:, None]
        target_mask = np.arange(target_width) < target_lengths[:, None]
        labels = self.targets.padded(rows, target_width, self.pad_id)
        # The decoder reads what it should have said one place earlier: teacher forcing. The last column of the shifted
        # table is the end mark, which nothing follows.
        shifted = self.targets.padded(rows, target_width + 1, self.pad_id, shift=1)[:, :-1]
        shifted[:, 0] = self.bos_id
        shifted[~target_mask] = self.pad_id
        return PairBatch(
            source=torch.from_numpy(self.sources.padded(rows, source_width, self.pad_id)),
            source_mask=torch.from_numpy(source_mask),
            target=torch.from_numpy(shifted),
            target_mask=torch.from_numpy(target_mask),
            target_index=torch.from_numpy(np.flatnonzero(target_mask)),
            labels=torch.from_numpy(labels[target_mask]),
            rows=rows,
        )


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers from each start on, as many as its length, one range after the other."""
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - before, lengths)


def _encoded(
    examples: Sequence[Example], encode_source: Encode, encode_target: Encode, eos_id: int
) -> Iterator[tuple[Ragged, Ragged]]:
    """Ids of both sides, a chunk of examples at a time."""
    for start in range(0, len(examples), CHUNK):
        sources, targets = zip(*examples[start : start + CHUNK], strict=True)
        yield Ragged.of(encode_source(sources)), Ragged.of([[*ids, eos_id] for ids in encode_target(targets)])


def _store(chunks: Iterable[tuple[Ragged, Ragged]], folder: Path) -> None:
    for sources, targets in chunks:
        sources.append(folder, "source")
        targets.append(folder, "target")
