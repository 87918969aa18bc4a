"""Which pairs are held out for validation and test, so that no source is also trained on?

The unit is the distinct source, or a group of sources such as a chapter. Units are put in the order of a hash of their
text and of a seed, and the first ones are held out: a pure function of what the files hold, whatever their order. Of
the other pairs a sample may be wanted, which is drawn in the same way.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from seqlab.data.examples import Example
from seqlab.data.origins import Pair
from seqlab.errors import UserError

LARGEST = 1000
"""Sources of a held-out set, where nobody says how many."""

SHARE = 20
"""Of fewer than 20,000 sources, one in 20 goes into such a set."""


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
    chosen = _choose(num_sources, sizes_of(num_sources.total(), sizes), seed)
    held_out: dict[str, list[Example]] = {}
    known: set[str] = set()
    for name, units in zip(sizes, chosen, strict=True):
        held_out[name] = list(new_sources((pair.example for pair in pairs if pair.unit in units), known))
    units = set[str]().union(*chosen)
    training = [pair.example for pair in pairs if pair.unit not in units and pair.example.source not in known]
    if not training:
        raise too_few(num_sources.total(), sizes)
    return Split(training, held_out, len(pairs) - len(training) - sum(map(len, held_out.values())))


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


def _choose(num_sources: Mapping[str, int], sizes: Sequence[int], seed: int) -> list[set[str]]:
    """For every size, units that have as many sources together; no unit twice."""
    queue = sorted(num_sources, key=lambda unit: fingerprint(unit, seed), reverse=True)
    chosen: list[set[str]] = []
    for size in sizes:
        units: set[str] = set()
        missing = size
        while missing > 0 and queue:
            units.add(unit := queue.pop())
            missing -= num_sources[unit]
        chosen.append(units)
    return chosen
