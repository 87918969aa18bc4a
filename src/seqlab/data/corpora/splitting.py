"""Training, validation and test sets that share no source: cleaned and split off from pairs of files, or drawn.

The unit of a split is the distinct source, or a group of sources such as a chapter. Units are put in the order of a
hash of their text and of a seed, and the first ones are held out: a pure function of what the files hold, whatever
their order. Of the other pairs a sample may be wanted, which is drawn in the same way.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

from pydantic import Field

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import Example
from seqlab.errors import UserError
from seqlab.runs.statistics import HELD_OUT

LARGEST = 1000
"""Sources of a held-out set, where nobody says how many."""

SHARE = 20
"""Of fewer than 20,000 sources, one in 20 goes into such a set."""

SHORT = 10
"""Characters added to both lengths of a ratio, so that short texts may differ more, as "Run!" and "Prenez vos jambes à
vos cous !" do. A ratio of 4 then removes four pairs of Multi30k (en-de) and newstest2008-2014 (en-fr), all misaligned,
and none of Tatoeba or the Bible."""

DUPLICATES = "duplicates"

Unit = TypeVar("Unit", bound=Hashable)


class Pair(NamedTuple):
    """A sentence pair, and what a split must not tear apart."""

    example: Example
    unit: str
    """the source; or the group that the pair belongs to, after a character that no text starts with"""


class Cleaning(Config):
    """What is left out of the training pairs; pairs with an empty side always are."""

    max_characters: int | None = Field(default=1000, ge=1)
    """longest side, in characters"""
    max_ratio: float | None = Field(default=4.0, ge=1)
    """largest ratio of the longer to the shorter side, in characters, after adding ten to both"""
    drop_identical: bool = True
    """leave out pairs whose sides are the same text: mostly sentences that were never translated"""
    drop_duplicates: bool = True
    """keep the first of several pairs that are the same on both sides"""


@dataclass(frozen=True)
class Order:
    """What sets are wanted, from which pairs."""

    pairs: Callable[[], Iterable[Pair]]
    """the pairs of the training files"""
    cleaning: Cleaning
    given: dict[str, list[Example]]
    """sets that have files of their own, by name"""
    sizes: dict[str, int | None]
    """distinct sources of the sets that are taken out of the training pairs, by name"""
    seed: int
    """picks these sources, and the sample"""
    train_size: int | None = None
    """pairs to train on, a sample of all; None: all"""


class Leak(NamedTuple):
    """Sources of a given set that are also trained on."""

    sources: int
    """how many"""
    first: str


class Sets(NamedTuple):
    """The sets, and what was found on the way."""

    parts: Sequence[Sequence[Example]]
    """training, in parts that take turns, one per epoch; in memory it is one part"""
    held_out: dict[str, list[Example]]
    """the sets that were taken out of training"""
    cleaned: str
    """what cleaning left out"""
    left_out: int
    """pairs that are in no set because their source is held out"""
    leaks: dict[str, Leak]
    """of the given sets that have any"""
    available: int
    """pairs that could be trained on, before a sample of them was drawn"""


def sets_in_memory(order: Order) -> Sets:
    """Reads, cleans and splits; UserError when nothing is left to train on."""
    cleaner = Cleaner(order.cleaning)
    pairs = list(cleaner.distinct(cleaner.sound(order.pairs())))
    some_left(len(pairs), cleaner)
    everything, held_out, left_out = split(pairs, order.sizes, order.seed)
    training = everything if order.train_size is None else sample(everything, order.train_size, order.seed)
    trained = {example.source for example in training}
    leaks = {name: leak for name, examples in order.given.items() if (leak := _leak(examples, trained))}
    return Sets([training], held_out, cleaner.report(), left_out, leaks, len(everything))


def _leak(examples: list[Example], trained: set[str]) -> Leak | None:
    leaked = [example.source for example in examples if example.source in trained]
    return Leak(len({*leaked}), leaked[0]) if leaked else None


# Cleaning


class Cleaner:
    """Lets the good pairs through and counts the others by their fault."""

    def __init__(self, config: Cleaning) -> None:
        self.config = config
        self.read = 0
        self.faults: Counter[str] = Counter()

    def sound(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The pairs that have no fault by themselves, in order."""
        for pair in pairs:
            self.read += 1
            if fault := _fault(pair.example, self.config):
                self.faults[fault] += 1
            else:
                yield pair

    def distinct(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The first of several that are the same on both sides; all, if duplicates are to be kept."""
        seen: set[Example] = set()
        for pair in pairs:
            if pair.example in seen:
                self.faults[DUPLICATES] += 1
            else:
                yield pair
            if self.config.drop_duplicates:
                seen.add(pair.example)

    def report(self) -> str:
        """`1,000 pairs read, 7 left out: 4 with an empty side, 3 duplicates`."""
        read = f"{self.read:,} pairs read"
        if not self.faults:
            return f"{read}, none left out"
        # equal counts by name: memory and disk find the faults in another order
        found = sorted(self.faults.items(), key=lambda item: (-item[1], item[0]))
        faults = ", ".join(f"{count:,} {fault}" for fault, count in found)
        return f"{read}, {self.faults.total():,} left out: {faults}"


def some_left(count: int, cleaner: Cleaner) -> None:
    """Raises UserError when cleaning has let nothing through."""
    if not count:
        raise UserError(f"no pairs are left to train on: {cleaner.report()}; data.cleaning has the limits")


def _fault(example: Example, config: Cleaning) -> str | None:
    """What is wrong with a pair, seen by itself."""
    source, target = example
    shorter, longer = sorted((len(source), len(target)))
    if not shorter:
        return "with an empty side"
    if config.max_characters is not None and longer > config.max_characters:
        return f"longer than {config.max_characters:,} characters"
    if config.max_ratio is not None and longer + SHORT > config.max_ratio * (shorter + SHORT):
        return f"with a length ratio over {config.max_ratio:g}"
    if config.drop_identical and source == target:
        return "with identical sides"
    return None


# Holding out


class HeldOutSizes(Protocol):
    """A config that says how much is taken out of training."""

    @property
    def validation_size(self) -> int | None:
        """Of the validation set; None where the config leaves it open."""
        ...

    @property
    def test_size(self) -> int | None:
        """Of the test set; None where the config leaves it open."""
        ...


class Split(NamedTuple):
    """Pairs to train on, and the sets that were taken out of them."""

    training: list[Example]
    held_out: dict[str, list[Example]]
    left_out: int
    """pairs in none of these: their source is held out, with another translation or from another unit"""


def split(pairs: Sequence[Pair], sizes: Mapping[str, int | None], seed: int) -> Split:
    """Takes sets out of `pairs`, by name; no source is in two of them, or in one and in training.

    Args:
        pairs: what there is; the first translation of a source is the one that is held out.
        sizes: distinct sources of each set, which gets whole units and so may get more; None: one in 20, at most 1000.
        seed: picks the units.

    Raises UserError when nothing would be left to train on.
    """
    if not sizes:
        return Split([pair.example for pair in pairs], {}, 0)
    num_sources = Counter(unit for unit, _ in {(pair.unit, pair.example.source) for pair in pairs})
    queue = {unit: num_sources[unit] for unit in sorted(num_sources, key=lambda unit: fingerprint(unit, seed))}
    chosen = [set(units) for units in take_units(queue, sizes_of(num_sources.total(), sizes))]
    held_out: dict[str, list[Example]] = {}
    known: set[str] = set()
    for name, units in zip(sizes, chosen, strict=True):
        held_out[name] = list(new_sources((pair.example for pair in pairs if pair.unit in units), known))
    units = set[str]().union(*chosen)
    training = [pair.example for pair in pairs if pair.unit not in units and pair.example.source not in known]
    if not training:
        raise too_few(num_sources.total(), sizes)
    return Split(training, held_out, len(pairs) - len(training) - sum(map(len, held_out.values())))


def take_units(queue: Mapping[Unit, int], sizes: Iterable[int]) -> list[list[Unit]]:
    """For every size, the next units of the queue that have as many examples together, or those that are left.

    Args:
        queue: what stays together when a set is taken out, in the order in which it is taken, with its examples.
        sizes: examples of every set, at least.
    """
    left = iter(queue)
    chosen: list[list[Unit]] = []
    for size in sizes:
        units: list[Unit] = []
        missing = size
        while missing > 0 and (unit := next(left, None)) is not None:
            units.append(unit)
            missing -= queue[unit]
        chosen.append(units)
    return chosen


def held_out_sizes(config: HeldOutSizes, given: Container[str] = ()) -> dict[str, int | None]:
    """The sizes that a config sets for the sets to be taken out of training: those that are not given."""
    sizes = {"test": config.test_size, "validation": config.validation_size}
    return {name: size for name, size in sizes.items() if name not in given}


def check_sizes_are_used(config: HeldOutSizes, given: Container[str], what: str) -> None:
    """Raises ValueError for a size of a set that is given, and so not taken out of training; `what` would be taken."""
    for name in HELD_OUT:
        if name in given and getattr(config, f"{name}_size") is not None:
            raise ValueError(f"{name}_size is for {what} taken from training, but {name} names a file")


def sizes_of(num_sources: int, sizes: Mapping[str, int | None]) -> list[int]:
    """How many of the distinct sources each set is to have."""
    usual = min(LARGEST, -(-num_sources // SHARE))
    return [usual if size is None else size for size in sizes.values()]


def too_few(num_sources: int, sizes: Mapping[str, int | None]) -> UserError:
    """What is to be said when holding out so many leaves nothing to train on."""
    return UserError(
        f"the training files have {num_sources:,} distinct sources, too few to hold out "
        f"{sum(sizes_of(num_sources, sizes)):,} of them: lower data.validation_size and data.test_size, "
        "or split into smaller groups"
    )


def new_sources(examples: Iterable[Example], known: set[str]) -> Iterator[Example]:
    """The first example of each source that is not in `known`, which grows."""
    for example in examples:
        if example.source not in known:
            known.add(example.source)
            yield example


# Hashes


def fingerprint(text: str, seed: int) -> int:
    """64 bits of a text; another order of all texts for every seed."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=str(seed).encode()).digest(), "big")


def fingerprint_of_pair(example: Example, seed: int) -> int:
    """The same of both texts; with its length, the source "a" with the target "bc" is not "ab" with "c"."""
    return fingerprint(f"{len(example.source)} {example.source}{example.target}", seed)


def sample(examples: Sequence[Example], size: int, seed: int) -> list[Example]:
    """`size` of the examples, in their order: those with the smallest hashes, so that smaller samples are in larger."""
    hashes = [fingerprint_of_pair(example, seed) for example in examples]
    chosen = sorted(range(len(examples)), key=hashes.__getitem__)[:size]
    return [examples[number] for number in sorted(chosen)]


# Sets that are drawn


def set_seed(seed: int, name: str, epoch: int) -> int:
    """A seed for one set of examples: SHA-256 keeps apart all (seed, name, epoch), however near they are."""
    digest = hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def take_distinct(examples: Iterator[Example], size: int, exclude: Set[str]) -> list[Example]:
    """The next `size` examples with new sources; UserError when there are too few to be found by drawing."""
    chosen: dict[str, Example] = {}
    for example in islice(examples, _patience(size)):
        if example.source not in exclude:
            chosen.setdefault(example.source, example)
        if len(chosen) == size:
            return list(chosen.values())
    raise UserError(f"found only {len(chosen)} of {size} distinct examples: lower validation_size and test_size")


def take(examples: Iterator[Example], size: int, exclude: Set[str]) -> list[Example]:
    """The next `size` examples, some perhaps alike; UserError when nearly all that can be drawn are excluded."""
    chosen = list(islice((e for e in islice(examples, _patience(size)) if e.source not in exclude), size))
    if len(chosen) < size:
        raise UserError("nearly all possible examples are held out: lower validation_size and test_size")
    return chosen


def _patience(size: int) -> int:
    """Draws before giving up: ten for each example, and enough to find a few among many."""
    return 10 * size + 1000
