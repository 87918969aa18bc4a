"""Where do the examples of a run come from? The kinds of data there are, and what all of them offer."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import Field

from seqlab.data.examples import Example
from seqlab.data.mathematics import Mathematics, MathematicsData
from seqlab.data.numbers import Numbers, NumbersData
from seqlab.data.parallel import ParallelCorpus, ParallelData

CorpusConfig = Annotated[MathematicsData | NumbersData | ParallelData, Field(discriminator="kind")]
"""One config class a kind; `build_corpus` is the one place that takes the union apart."""


class Corpus(Protocol):
    """Examples to learn from, to watch and to be judged by; text on both sides."""

    def check_files(self) -> None:
        """Raises UserError when a file is missing, before training starts.

        A trained run answers without them, on machines that do not have them.
        """
        ...

    def texts(self) -> tuple[Iterable[str], Iterable[str]]:
        """The texts of both sides that vocabularies are made from; training examples only."""
        ...

    def training(self, epoch: int) -> Sequence[Example]:
        """The examples of an epoch, a pure function of its number; the same object where nothing changes."""
        ...

    def validation(self) -> Sequence[Example]:
        """Examples for curves and for choosing a checkpoint."""
        ...

    def test(self) -> Sequence[Example]:
        """Examples for the final score."""
        ...

    def splits(self) -> dict[str, Sequence[Example]]:
        """Every set by its name, for the table of the data."""
        ...

    def remarks(self) -> list[str]:
        """What a user should know of the data: how much cleaning removed, what leaks."""
        ...

    def answer(self, text: str) -> str:
        """The part of a target, or of what a model wrote, that is scored."""
        ...

    def shown(self, examples: list[Example]) -> list[Example]:
        """Examples of a user's file as the model is to see them."""
        ...

    def read(self, path: Path) -> list[Example]:
        """The examples of a user's file, in any format that this kind of data knows."""
        ...


def build_corpus(config: CorpusConfig) -> Corpus:
    """The corpus that a config describes; files are read when they are needed, not here."""
    match config:
        case MathematicsData():
            return Mathematics(config)
        case NumbersData():
            return Numbers(config)
        case ParallelData():
            return ParallelCorpus(config)
