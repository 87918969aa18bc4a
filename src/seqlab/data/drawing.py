"""How are the sets of a drawn corpus kept apart? A seed for each, and examples that no other set holds."""

import hashlib
from collections.abc import Iterator, Set
from itertools import islice

from seqlab.data.examples import Example
from seqlab.errors import UserError


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
    raise UserError(f"found only {len(chosen)} distinct examples of {size}: lower validation_size and test_size")


def take(examples: Iterator[Example], size: int, exclude: Set[str]) -> list[Example]:
    """The next `size` examples, some perhaps alike; UserError when nearly all that can be drawn are excluded."""
    chosen = list(islice((e for e in islice(examples, _patience(size)) if e.source not in exclude), size))
    if len(chosen) < size:
        raise UserError("nearly all that can be drawn is held out: lower validation_size and test_size")
    return chosen


def _patience(size: int) -> int:
    """Draws before giving up: ten for each example, and enough to find a few among many."""
    return 10 * size + 1000
