"""The cache on disk: what is made once from files too large for memory, and pairs that are read from there.

A folder of the cache is named for all that decides its contents, so it is never out of date; it is whole or not there.
Any of them may be deleted at any time.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np

from seqlab.data.corpora.corpus import Example

INDEX = np.dtype([("start", "<i8"), ("source", "<i4"), ("target", "<i4")])
"""A stored pair: where its source starts, the bytes of the source, and those of the target, which follows it."""


def key_of(*parts: str) -> str:
    """A name for what these texts decide."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)} {part}".encode())  # with its length, ("a", "bc") and ("ab", "c") differ
    return digest.hexdigest()[:32]


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, made first if it is not there: by one process, while others wait for it.

    `make` fills a folder that is renamed when it is done, so what a killed process leaves is never taken for whole.
    """
    from filelock import FileLock

    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


class StoredPairs(Sequence[Example]):
    """Pairs on disk, read when they are asked for, best many at a time. Nothing of them stays in memory.

    Args:
        folder, name: `name.text` and `name.index` in the folder, as `append_pairs` writes them.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._index, self._text = folder / f"{name}.index", folder / f"{name}.text"
        self._length = self._index.stat().st_size // INDEX.itemsize

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...
    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        if isinstance(place, int):
            number = range(self._length)[place]
            return self._read(number, number + 1)[0]
        start, stop, step = place.indices(self._length)
        return self._read(start, stop) if step == 1 else [self[number] for number in range(start, stop, step)]

    def __iter__(self) -> Iterator[Example]:
        for start in range(0, self._length, 1000):
            yield from self[start : start + 1000]

    def derived_cache_dir(self, *others: str) -> Path:
        """A folder, not made yet, for what follows from these pairs and from the texts `others`."""
        return self.folder / f"{self.name}-{key_of(*others)}"

    def _read(self, start: int, stop: int) -> list[Example]:
        """Neighbours, whose texts are neighbours too."""
        if stop <= start:
            return []
        index = np.fromfile(self._index, dtype=INDEX, count=stop - start, offset=start * INDEX.itemsize)
        first = int(index["start"][0])
        middles = index["start"] - first + index["source"]
        ends = middles + index["target"]
        with self._text.open("rb") as file:
            file.seek(first)
            text = file.read(ends[-1])
        bounds = zip((index["start"] - first).tolist(), middles.tolist(), ends.tolist(), strict=True)
        return [Example(text[start:middle].decode(), text[middle:end].decode()) for start, middle, end in bounds]


class Interleaved(Sequence[Example]):
    """Pairs that were dealt to parts in turn, in their old order: 0 of each part, 1 of each, and so on."""

    def __init__(self, parts: Sequence[Sequence[Example]]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...
    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        if isinstance(place, slice):
            return [self._example(number) for number in range(*place.indices(len(self)))]
        return self._example(range(len(self))[place])

    def __iter__(self) -> Iterator[Example]:
        """The sequence protocol would ask every place for its length."""
        turns = [iter(part) for part in self.parts]
        while turn := [example for part in turns for example in islice(part, 1)]:
            yield from turn

    def _example(self, number: int) -> Example:
        return self.parts[number % len(self.parts)][number // len(self.parts)]


def append_pairs(folder: Path, name: str, texts: Sequence[bytes], lengths: np.ndarray) -> None:
    """Adds pairs to those that are stored under a name.

    Args:
        texts: source and target of each pair, one after the other.
        lengths: bytes of each, in the fields `source` and `target`.
    """
    index = np.empty(len(texts), dtype=INDEX)
    index["source"], index["target"] = lengths["source"], lengths["target"]
    both = lengths["source"] + lengths["target"].astype(np.int64)
    with (folder / f"{name}.text").open("ab") as file:
        index["start"] = file.tell() + both.cumsum() - both
        file.writelines(texts)
    with (folder / f"{name}.index").open("ab") as file:
        file.write(index.tobytes())
