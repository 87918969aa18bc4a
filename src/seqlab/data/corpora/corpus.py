"""What every corpus offers: training, validation and test examples, and what there is to say of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, Self, TypeVar

from seqlab.data.readers.reading import quote
from seqlab.runs.statistics import Splits, Unit

AnyExample = TypeVar("AnyExample", covariant=True)

OPTIMISTIC = "its scores will be optimistic (leakage)"
"""What follows for a set whose examples are also trained on."""


class Example(NamedTuple):
    """A source and its target: a sentence and its translation, a question and its answer."""

    source: str
    target: str

    @property
    def references(self) -> tuple[str, ...]:
        """What an output is compared with: the target, and others that are as good."""
        return (self.target,)


class ReferencedExample(Example):
    """An example with several references, the target first."""

    _references: tuple[str, ...]

    def __new__(cls, source: str, target: str, others: Sequence[str]) -> Self:
        """A blank one among the others is left out."""
        example = super().__new__(cls, source, target)
        example._references = (target, *(text for text in others if text.strip()))
        return example

    @property
    def references(self) -> tuple[str, ...]:
        """See `Example`."""
        return self._references


@dataclass(frozen=True)
class CountTable:
    """Counts with a title for every row and column."""

    columns: Sequence[str]
    rows: Mapping[str, Sequence[int]]
    """a count for every column"""
    title: str = ""
    """what the rows are"""
    shares: bool = False
    """show the share of every count in its column too, and the sum of the column"""
    caption: str = ""
    """a line below the table"""


@dataclass(frozen=True)
class Overview:
    """What `seqlab data` shows of a corpus: a table, texts whose lengths are described, or both."""

    table: CountTable | None = None
    texts: Splits | None = None
    """pairs of texts of every set"""
    unit: Unit | None = None
    """what the lengths of texts are counted in; None: in the unit of the run"""
    remarks: Sequence[str] = ()
    """sentences below the tables"""


def shown_rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    """The first of some pairs of texts, for those who want to see that a file was read as they mean it."""
    return [
        f'row {number}: "{quote(a, 60)}" -> "{quote(b, 60)}"' for number, (a, b) in enumerate(rows[:SHOWN], start=1)
    ]


SHOWN = 3
"""Rows of a file that are shown."""


class Corpus(Protocol[AnyExample]):
    """Examples to learn from, to watch and to be judged by."""

    def check_files(self) -> None:
        """Raises UserError when a file is missing, before training starts.

        A trained run predicts without them, on machines that do not have them.
        """
        ...

    def training(self, epoch: int) -> Sequence[AnyExample]:
        """The examples of an epoch, a pure function of its number; the same object where nothing changes."""
        ...

    def validation(self) -> Sequence[AnyExample]:
        """Examples for curves and for choosing a checkpoint."""
        ...

    def test(self) -> Sequence[AnyExample]:
        """Examples for the final score."""
        ...

    def splits(self) -> Mapping[str, Sequence[AnyExample]]:
        """Every set by its name."""
        ...

    def overview(self) -> Overview:
        """What `seqlab data` shows; of pairs of texts, `Overview(texts=self.splits(), remarks=self.remarks())`."""
        ...

    def remarks(self) -> list[str]:
        """What a user should know of the data: how much cleaning removed, what leaks."""
        ...

    def leaks(self) -> list[str]:
        """Those remarks that say which held-out examples are also trained on: scores are then too good."""
        ...

    def read(self, path: Path) -> Sequence[AnyExample]:
        """The examples of a user's file, in any format that this kind of data knows, as the model is to see them."""
        ...


class TextCorpus(Corpus[Example], Protocol):
    """Text on both sides."""

    def texts(self) -> tuple[Iterable[str], Iterable[str]]:
        """The texts of both sides that vocabularies are made from; training examples only."""
        ...

    def scored_text(self, text: str) -> str:
        """The part of a target, or of what a model wrote, that is scored."""
        ...

    @property
    def languages(self) -> tuple[str, str] | None:
        """From which language into which its examples are translations; None where they are something else."""
        ...
