"""How do the pairs of the training files become training, validation and test sets, in memory?"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from seqlab.data.cleaning import Cleaner, Cleaning
from seqlab.data.examples import Example
from seqlab.data.origins import Pair
from seqlab.data.splitting import sample, split
from seqlab.errors import UserError


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
    """training, in parts that take turns, one an epoch; in memory it is one part"""
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


def some_left(count: int, cleaner: Cleaner) -> None:
    """Raises UserError when cleaning has let nothing through."""
    if not count:
        raise UserError(f"no pairs are left to train on: {cleaner.report()}; data.cleaning has the limits")


def _leak(examples: list[Example], trained: set[str]) -> Leak | None:
    leaked = [example.source for example in examples if example.source in trained]
    return Leak(len({*leaked}), leaked[0]) if leaked else None
