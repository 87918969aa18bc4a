"""Which sentence pairs are not worth training on, and how many of each sort there were?"""

from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import Field

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.origins import Pair

SHORT = 10
"""Characters added to both lengths of a ratio, so that short texts may differ more, as "Run!" and "Prenez vos jambes à
vos cous !" do. A ratio of 4 then removes four pairs of Multi30k (en-de) and newstest2008-2014 (en-fr), all misaligned,
and none of Tatoeba or the Bible."""


DUPLICATES = "duplicates"


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
        faults = ", ".join(f"{count:,} {fault}" for fault, count in self.faults.most_common())
        return f"{read}, {self.faults.total():,} left out: {faults}"


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
