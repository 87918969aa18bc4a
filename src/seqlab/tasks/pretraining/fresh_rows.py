"""Rows of running text, new in each epoch and reproducible from seed and epoch alone."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Generic, TypeVar

from seqlab.data.corpora.passages import Document
from seqlab.tasks.pretraining.packing import Sentences
from seqlab.tasks.task import Once

Rows = TypeVar("Rows")


class FreshRows(Generic[Rows]):
    """What is drawn from documents: exact resume rests on it, and so do scores that can be compared."""

    def __init__(
        self,
        encode: Callable[[Sequence[Document]], Sentences],
        draw: Callable[[Sentences, Random], Rows],
        seed: int,
    ) -> None:
        """Documents are encoded once as long as they stay the same; `draw` makes rows of them, and hides something."""
        self._encode, self._draw, self._seed = encode, draw, seed
        self.encoded: Once[Sequence[Document], Sentences] = Once(encode)

    def training(self, documents: Sequence[Document], epoch: int) -> Rows:
        """The rows of an epoch: a pure function of documents, seed and epoch."""
        return self._draw(self.encoded(documents), Random(f"rows {self._seed} {epoch}"))

    def evaluation(self, documents: Sequence[Document]) -> Rows:
        """Rows that depend on the documents only."""
        return self._draw(self._encode(documents), Random("rows 0 evaluation"))
