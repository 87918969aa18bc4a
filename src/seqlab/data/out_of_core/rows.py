"""Rows of numbers on disk that stand for the pairs of a corpus that does not fit in memory.

Texts go to one file. For every pair a row of numbers goes to another: where its text is, and hashes that tell what is
equal to what. Memory holds a block of rows at a time, or one of 256 buckets of rows whose hashes start alike.
"""

from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.splitting import Pair, fingerprint, fingerprint_of_pair

BLOCK = 50_000
"""Pairs that are in memory at once."""

BUCKETS = 256
"""A bucket of a corpus of 500 million pairs has two million rows of 48 bytes."""

ROW = np.dtype(
    [
        ("row", "<i8"),  # number of the pair, from 0
        ("start", "<i8"),  # first byte of the source
        ("source", "<i4"),  # bytes of the source
        ("target", "<i4"),  # bytes of the target, which follows it
        ("pair", "<u8"),  # hash of both texts
        ("text", "<u8"),  # hash of the source
        ("unit", "<u8"),  # hash of what splits keep together
    ]
)


class Rows:
    """Rows of pairs in a folder; its length is the number of those that were not dropped."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._dropped = np.empty(0, dtype=bool)
        self._num_dropped = 0

    def __len__(self) -> int:
        return len(self._dropped) - self._num_dropped

    def add(self, pairs: Iterable[Pair]) -> None:
        """Writes texts and rows of all the pairs."""
        count = 0
        pairs = iter(pairs)
        with self._path("texts").open("wb") as texts, self._path("rows").open("wb") as rows:
            while block := list(islice(pairs, BLOCK)):
                encoded = [(pair.example.source.encode(), pair.example.target.encode()) for pair in block]
                table = np.empty(len(block), dtype=ROW)
                table["row"] = np.arange(count, count + len(block))
                table["source"], table["target"] = zip(*((len(s), len(t)) for s, t in encoded), strict=True)
                lengths = table["source"] + table["target"].astype(np.int64)
                table["start"] = texts.tell() + lengths.cumsum() - lengths
                table[["pair", "text", "unit"]] = [self._hashes(pair) for pair in block]
                texts.writelines(source + target for source, target in encoded)
                rows.write(table.tobytes())
                count += len(block)
        if count:
            self._dropped = np.memmap(self._path("dropped"), dtype=bool, mode="w+", shape=count)

    def drop(self, rows: np.ndarray) -> None:
        """Takes rows out, each once."""
        self._dropped[rows["row"]] = True
        self._num_dropped += len(rows)

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows, in order."""
        with self._path("rows").open("rb") as file:
            while len(block := np.fromfile(file, dtype=ROW, count=BLOCK)):
                yield block[~self._dropped[block["row"]]]

    def buckets(self, field: str, until: int | None = None) -> Iterator[np.ndarray]:
        """All rows, those together whose hashes in the field start alike; in order of these starts, then of rows.

        Args:
            field: pair, text or unit.
            until: end with the bucket of this hash.
        """
        folder = self._path(field)
        if not folder.exists():
            folder.mkdir()
            self._deal(field, folder)
        last = BUCKETS - 1 if until is None else until >> 56
        for number in range(last + 1):
            if (path := folder / str(number)).exists():
                bucket = np.fromfile(path, dtype=ROW)
                yield bucket[~self._dropped[bucket["row"]]]

    def texts(self, rows: np.ndarray) -> list[bytes]:
        """Source and target of each row, one after the other; the rows are some of a block."""
        if not len(rows):
            return []
        first = rows["start"][0]
        starts = rows["start"] - first
        ends = starts + rows["source"] + rows["target"]
        with self._path("texts").open("rb") as file:
            file.seek(first)
            data = file.read(ends[-1])
        return [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def examples(self, rows: np.ndarray) -> Iterator[Example]:
        """The pairs of any rows."""
        with self._path("texts").open("rb") as file:
            for row in rows:
                file.seek(row["start"])
                yield Example(file.read(row["source"]).decode(), file.read(row["target"]).decode())

    def _deal(self, field: str, folder: Path) -> None:
        for block in self.blocks():
            number = (block[field] >> np.uint64(56)).astype(np.int64)
            order = np.argsort(number, kind="stable")
            bounds = np.searchsorted(number[order], np.arange(BUCKETS + 1))
            for bucket, (start, end) in enumerate(pairwise(bounds)):
                if end > start:
                    with (folder / str(bucket)).open("ab") as file:
                        file.write(block[order[start:end]].tobytes())

    def _hashes(self, pair: Pair) -> tuple[int, int, int]:
        source, unit = pair.example.source, pair.unit
        text = fingerprint(source, self._seed)
        both = fingerprint_of_pair(pair.example, self._seed)
        return both, text, text if unit == source else fingerprint(unit, self._seed)

    def _path(self, name: str) -> Path:
        return self._folder / name
