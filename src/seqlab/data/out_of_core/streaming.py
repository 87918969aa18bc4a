"""Training, validation and test sets of files that do not fit in memory: those of `sets_in_memory`, made once, on disk.

The files are read once. Every pair leaves its text and a row of numbers: where the text is, and hashes of 64 bits of
the pair, of its source and of the unit that splits keep together. `Rows` brings together those that may be equal. Two
texts with the same hash are taken for one: among n pairs that is to be expected n^2 / 2^65 times, less than once in a
million corpora of five million pairs.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.splitting import (
    DUPLICATES,
    Cleaner,
    Leak,
    Order,
    Sets,
    fingerprint,
    new_sources,
    sizes_of,
    some_left,
    too_few,
)
from seqlab.data.out_of_core.cache import StoredPairs, append_pairs, made_once
from seqlab.data.out_of_core.rows import Rows


def sets_on_disk(order: Order, folder: Path, epoch_size: int) -> Sets:
    """The sets of an order, in `folder`, which is made once; parts of training have at most `epoch_size` pairs.

    Raises UserError when nothing is left to train on.
    """
    made_once(folder, lambda unfinished: _make(unfinished, order, epoch_size))
    facts = json.loads((folder / "sets.json").read_text(encoding="utf-8"))
    return Sets(
        parts=[StoredPairs(folder, name) for name in facts["parts"]],
        held_out={name: [Example(*texts) for texts in examples] for name, examples in facts["held_out"].items()},
        cleaned=facts["cleaned"],
        left_out=facts["left_out"],
        leaks={name: Leak(*leak) for name, leak in facts["leaks"].items()},
        available=facts["available"],
    )


@dataclass(frozen=True)
class _HeldOut:
    """What was taken out of training, and how to tell what stays there."""

    sets: dict[str, list[Example]]
    num_sources: int
    """distinct sources of everything, those of two units twice"""
    limit: int
    """largest hash of a unit that is held out; -1: none is"""
    sources: np.ndarray
    """hashes of the sources that are held out"""

    def rest(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The rows to train on."""
        for rows in blocks:
            yield rows[(rows["unit"] > self.limit) & ~np.isin(rows["text"], self.sources)]


def _make(folder: Path, order: Order, epoch_size: int) -> None:
    with TemporaryDirectory(dir=folder) as work:
        cleaner = Cleaner(order.cleaning)
        rows = Rows(Path(work), order.seed)
        rows.add(cleaner.sound(order.pairs()))
        some_left(len(rows), cleaner)
        if order.cleaning.drop_duplicates and (duplicates := _drop_duplicates(rows)):
            cleaner.faults[DUPLICATES] += duplicates
        held_out = _hold_out(rows, order)
        available = sum(len(block) for block in held_out.rest(rows.blocks()))
        if not available:
            raise too_few(held_out.num_sources, order.sizes)
        left_out = len(rows) - available - sum(map(len, held_out.sets.values()))
        size = available if order.train_size is None else _sample(rows, held_out, order.train_size)
        parts = [f"part-{number}" for number in range(-(-size // epoch_size))]
        leaks = _write(rows, held_out, order, folder, parts)
        facts = {
            "parts": parts,
            "held_out": held_out.sets,
            "cleaned": cleaner.report(),
            "left_out": left_out,
            "leaks": leaks,
            "available": available,
        }
    (folder / "sets.json").write_text(json.dumps(facts), encoding="utf-8")


def _drop_duplicates(rows: Rows) -> int:
    """Drops all but the first of equal pairs; how many they were."""
    before = len(rows)
    for bucket in rows.buckets("pair"):
        _, first = np.unique(bucket["pair"], return_index=True)
        rows.drop(np.delete(bucket, first))
    return before - len(rows)


def _hold_out(rows: Rows, order: Order) -> _HeldOut:
    """Units in order of their hashes, until every set has as many distinct sources as it is to have."""
    if not order.sizes:
        return _HeldOut({}, 0, -1, np.empty(0, dtype=np.uint64))
    num_sources = sum(len(_sources(bucket)) for bucket in rows.buckets("unit"))
    limits = _limits(_units(rows), sizes_of(num_sources, order.sizes))
    chosen = [bucket[bucket["unit"] <= limits[-1]] for bucket in rows.buckets("unit", until=limits[-1])]
    held = np.sort(np.concatenate(chosen), order="row")
    number = np.searchsorted(np.array(limits, dtype=np.uint64), held["unit"])
    known: set[str] = set()
    sets = {
        name: list(new_sources(rows.examples(held[number == place]), known)) for place, name in enumerate(order.sizes)
    }
    return _HeldOut(sets, num_sources, limits[-1], _hashes(known, order.seed))


def _sample(rows: Rows, held_out: _HeldOut, size: int) -> int:
    """Drops all training pairs but the `size` ones with the smallest hashes; how many stay."""
    kept = 0
    for bucket in held_out.rest(rows.buckets("pair")):
        surplus = np.sort(bucket, order=["pair", "row"])[size - kept :]
        rows.drop(surplus)
        kept += len(bucket) - len(surplus)
    return kept


def _limits(units: Iterator[tuple[int, int]], counts: list[int]) -> list[int]:
    """For every set, the largest hash of its units; they have `count` sources together, or all that there are."""
    limits: list[int] = []
    last = -1
    for count in counts:
        while count > 0 and (unit := next(units, None)):
            last, sources = unit
            count -= sources
        limits.append(last)
    return limits


def _units(rows: Rows) -> Iterator[tuple[int, int]]:
    """Hash and number of distinct sources of every unit, in order of the hash."""
    for bucket in rows.buckets("unit"):
        hashes, counts = np.unique(_sources(bucket)["unit"], return_counts=True)
        yield from zip(hashes.tolist(), counts.tolist(), strict=True)


def _sources(bucket: np.ndarray) -> np.ndarray:
    """One row for every distinct source of a unit."""
    bucket = bucket[np.lexsort((bucket["text"], bucket["unit"]))]
    again = (bucket["unit"][1:] == bucket["unit"][:-1]) & (bucket["text"][1:] == bucket["text"][:-1])
    return bucket[np.concatenate([[True], ~again])] if len(bucket) else bucket


def _write(rows: Rows, held_out: _HeldOut, order: Order, folder: Path, parts: list[str]) -> dict[str, Leak]:
    """Deals the training pairs to the parts in turn; which sources of the given sets are among them."""
    given = {name: [example.source for example in examples] for name, examples in order.given.items()}
    hashes = {name: _hashes(sources, order.seed) for name, sources in given.items()}
    trained = {name: np.zeros(len(sources), dtype=bool) for name, sources in given.items()}
    written = 0
    for block in held_out.rest(rows.blocks()):
        texts = rows.texts(block)
        for place, name in enumerate(parts):
            turn = slice((place - written) % len(parts), None, len(parts))
            append_pairs(folder, name, texts[turn], block[turn])
        for name in given:
            trained[name] |= np.isin(hashes[name], block["text"])
        written += len(block)
    leaked = {name: [sources[row] for row in np.flatnonzero(trained[name])] for name, sources in given.items()}
    return {name: Leak(len({*sources}), sources[0]) for name, sources in leaked.items() if sources}


def _hashes(texts: Iterable[str], seed: int) -> np.ndarray:
    return np.array([fingerprint(text, seed) for text in texts], dtype=np.uint64)
