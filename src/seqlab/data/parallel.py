"""Which sentence pairs does a translation run see, from which files, and which of them are held out?"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from seqlab.config import Config
from seqlab.data.cleaning import Cleaner, Cleaning
from seqlab.data.examples import Example
from seqlab.data.formats import Column
from seqlab.data.hub import hub_splits
from seqlab.data.origins import Group, HubSplit, Languages, Origin, Pair, PairFile, origin
from seqlab.data.splitting import split
from seqlab.errors import UserError

_Entry = Annotated[
    Annotated[str, Tag("path")] | Annotated[PairFile, Tag("table")],
    Discriminator(lambda value: "table" if isinstance(value, dict | PairFile) else "path"),
]
Files = Annotated[
    tuple[_Entry, ...], BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value])
]
"""Paths, or tables with a path and more; one alone needs no list."""


class ParallelData(Config):
    """Sentence pairs from files."""

    kind: Literal["parallel"] = "parallel"
    """sentence pairs of two languages"""
    source: str
    """language to translate from: suffix of line-aligned files, column, key or language code in the others"""
    target: str
    """language to translate into"""
    train: Files = ()
    """training files, each a path, a stem of line-aligned files, or a table {path = , columns = , group = }"""
    validation: Files = ()
    """validation files; when absent, the validation split of the data set, else pairs taken from training"""
    test: Files = ()
    """test files; when absent, the test split of the data set, else pairs taken from training"""
    dataset: str | None = None
    """data set of the hub whose split train is trained on instead of files, such as opus_books, or a folder of one"""
    subset: str | None = None
    """which part of the data set, such as en-fr"""
    folder: Path | None = None
    """where relative paths start; when absent, the environment variable SEQLAB_DATA, else the current folder"""
    columns: dict[str, Column] = Field(default={})
    """columns that are not named for their language, or numbers in files without a header, as in {en = 1, fr = 2}"""
    group: Group | None = None
    """what belongs together in every training file, so that validation and test get all of it or nothing"""
    validation_size: int | None = Field(default=None, ge=1)
    """distinct sources taken from training for validation; when absent one in 20, at most 1000"""
    test_size: int | None = Field(default=None, ge=1)
    """distinct sources taken from training for the test; when absent one in 20, at most 1000"""
    seed: int = 1
    """picks the sources that are held out"""
    cleaning: Cleaning = Cleaning()
    """what is left out of the training pairs"""

    @model_validator(mode="after")
    def _settings_are_used(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"source and target are both {self.source}: name the two languages, or columns")
        for name, files in (("validation", self.validation), ("test", self.test)):
            if files and getattr(self, f"{name}_size") is not None:
                raise ValueError(f"{name}_size is for a set taken from training, but {name} names its files")
        if self.dataset is not None and self.train:
            raise ValueError(f"train names files and dataset is {self.dataset}: leave one of them out")
        if self.subset is not None and self.dataset is None:
            raise ValueError(f"subset is {self.subset}, but no dataset is named that it is a part of")
        return self


class _Sets(NamedTuple):
    training: list[Example]
    validation: list[Example]
    test: list[Example]
    remarks: list[str]


class ParallelCorpus:
    """Sentence pairs, read and cleaned when they are first asked for.

    Validation and test files are taken as they are, but for pairs with an empty side. Where there are none, distinct
    sources of training are held out, each with the first of its translations; no other pair with these sources is
    trained on.
    """

    def __init__(self, config: ParallelData) -> None:
        self.config = config

    def check_files(self) -> None:
        """Raises UserError when a file is missing, or none is named."""
        if not self._origins("train"):
            raise UserError("data.train names no files: give the training files, for example data.train=my.tsv")
        for place in chain(*(self._origins(name) for name in ("train", "validation", "test"))):
            place.check()

    def training(self, epoch: int) -> list[Example]:
        """The same pairs, in the order of the files, for every epoch."""
        del epoch
        return self._sets.training

    def validation(self) -> list[Example]:
        """Pairs to watch while training."""
        return self._sets.validation

    def test(self) -> list[Example]:
        """Pairs of the final score."""
        return self._sets.test

    def splits(self) -> dict[str, Sequence[Example]]:
        """Training, validation and test pairs."""
        return {"training": self.training(0), "validation": self.validation(), "test": self.test()}

    def texts(self) -> tuple[Iterable[str], Iterable[str]]:
        """All sources and all targets of training."""
        training = self.training(0)
        return [example.source for example in training], [example.target for example in training]

    def remarks(self) -> list[str]:
        """What cleaning left out, what was held out, and which test sources are also trained on."""
        return self._sets.remarks

    def answer(self, text: str) -> str:
        """All of a translation is scored."""
        return text

    def shown(self, examples: list[Example]) -> list[Example]:
        """Unchanged: the model sees pairs as they are."""
        return examples

    def read(self, path: Path) -> list[Example]:
        """The pairs of a file or of line-aligned files; UserError for a pair with an empty side."""
        examples = [pair.example for pair in origin(str(path), Path(), self._languages, None).pairs()]
        for number, example in enumerate(examples, start=1):
            if not all(example):
                raise UserError(f"{path}: pair {number} has an empty side: it cannot be scored, take it out")
        return examples

    @cached_property
    def _sets(self) -> _Sets:
        config = self.config
        cleaner = Cleaner(config.cleaning)
        pairs = list(cleaner.keep(self._pairs("train")))
        remarks = [f"training: {cleaner.report()}"]
        if not pairs:
            raise UserError(f"no pairs are left to train on: {cleaner.report()}; data.cleaning has the limits")
        sizes = {"test": config.test_size, "validation": config.validation_size}
        training, sets, left_out = split(pairs, {n: s for n, s in sizes.items() if not self._origins(n)}, config.seed)
        if sets:
            taken = " and ".join(f"{len(examples):,} for {name}" for name, examples in sets.items())
            remarks.append(
                f"held out of training by distinct source: {taken} (data.seed={config.seed}); "
                f"{left_out:,} other pairs with these sources left out"
            )
        for name in [name for name in sizes if name not in sets]:
            sets[name], comments = self._read_given(name, training)
            remarks += comments
        return _Sets(training, sets["validation"], sets["test"], remarks)

    def _read_given(self, name: str, training: list[Example]) -> tuple[list[Example], list[str]]:
        """The pairs of validation or test files, and what there is to say of them."""
        pairs = [pair.example for pair in self._pairs(name)]
        whole = [example for example in pairs if all(example)]
        if not whole:
            raise UserError(f"the files of data.{name} have no pairs with text on both sides")
        remarks = [f"{name}: {len(pairs) - len(whole):,} pairs with an empty side left out"] * (len(whole) < len(pairs))
        return whole, remarks + list(_leak(name, whole, training))

    def _pairs(self, name: str) -> Iterator[Pair]:
        return chain.from_iterable(place.pairs() for place in self._origins(name))

    def _origins(self, name: str) -> list[Origin]:
        """The places of a set; none if it is to be taken from training. Only training is split, and so has groups."""
        config = self.config
        folder = config.folder or Path(os.environ.get("SEQLAB_DATA", "."))
        group = config.group if name == "train" else None
        if files := getattr(config, name):
            return [origin(entry, folder.expanduser(), self._languages, group) for entry in files]
        if config.dataset is None or (name != "train" and not self._hub_has(name)):
            return []
        return [HubSplit(config.dataset, config.subset, name, self._languages.asked_for(group), group)]

    def _hub_has(self, name: str) -> bool:
        """Whether the data set has a split of this name, and no size says that it should be taken from training."""
        return getattr(self.config, f"{name}_size") is None and name in self._hub_splits

    @cached_property
    def _hub_splits(self) -> list[str]:
        assert self.config.dataset is not None
        return hub_splits(self.config.dataset, self.config.subset)

    @property
    def _languages(self) -> Languages:
        return Languages(self.config.source, self.config.target, self.config.columns)


def _leak(name: str, examples: list[Example], training: list[Example]) -> Iterator[str]:
    """A warning if sources of the examples are also trained on."""
    trained = {example.source for example in training}
    sources = {example.source for example in examples}
    if leaked := sources & trained:
        first = next(example.source for example in examples if example.source in leaked)
        yield (
            f"{name}: {len(leaked):,} of {len(sources):,} sources are also trained on, which flatters its scores; "
            f'one is "{first}"'
        )
