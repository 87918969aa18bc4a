"""Sentence pairs of two languages from files or from the hub, some of them held out of training."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import OPTIMISTIC, Example, Overview, shown_rows
from seqlab.data.corpora.pair_files import FileGroup, HubSplit, Languages, Origin, PairFile, origin
from seqlab.data.corpora.splitting import (
    Cleaning,
    Order,
    Pair,
    Sets,
    check_sizes_are_used,
    held_out_sizes,
    sets_in_memory,
)
from seqlab.data.out_of_core.cache import Interleaved, key_of
from seqlab.data.out_of_core.streaming import sets_on_disk
from seqlab.data.readers.columns import Column, Columns
from seqlab.data.readers.hub import hub_splits
from seqlab.data.readers.lines import folder_hint
from seqlab.data.readers.reading import OnError, Reading, ReadingConfig
from seqlab.errors import UserError
from seqlab.runs.lock import cache_folder
from seqlab.runs.statistics import HELD_OUT

CACHE_FORMAT = "1"
"""Another number makes caches anew, after a change in what they hold."""

VOCABULARY_PAIRS = 200_000
"""Pairs that vocabularies are made from when streaming."""

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
    group: FileGroup | None = None
    """what belongs together in every training file, so that validation and test get all of it or nothing"""
    validation_size: int | None = Field(default=None, ge=1)
    """distinct sources taken from training for validation; when absent one in 20, at most 1000"""
    test_size: int | None = Field(default=None, ge=1)
    """distinct sources taken from training for the test; when absent one in 20, at most 1000"""
    train_size: int | None = Field(default=None, ge=1)
    """pairs to train on, a sample of what is left after cleaning and splitting; smaller samples are part of larger"""
    seed: int = 1
    """picks the sources that are held out, and the sample"""
    cleaning: Cleaning = Cleaning()
    """what is left out of the training pairs"""
    reading: ReadingConfig = ReadingConfig()
    """how files are read: their encoding, and how much of them at once"""
    on_error: OnError = "raise"
    """bad lines of a file: refuse them, and list the first 20 (raise), or leave them out and count them (skip)"""
    streaming: bool = False
    """for files that do not fit in memory: texts and ids are made once and kept in a cache on disk"""
    epoch_size: int = Field(default=500_000, ge=1)
    """streaming: most pairs of an epoch; training is dealt out to parts that take turns, and memory holds one or two"""
    cache: Path | None = None
    """streaming: folder of the cache; when absent, seqlab in XDG_CACHE_HOME or else in ~/.cache"""

    @model_validator(mode="after")
    def _settings_are_used(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"source and target are both {self.source}: name the two languages, or columns")
        check_sizes_are_used(self, [name for name in HELD_OUT if getattr(self, name)], "a set")
        if self.dataset is not None and self.train:
            raise ValueError(f"train names files and dataset is {self.dataset}: leave one of them out")
        if self.subset is not None and self.dataset is None:
            raise ValueError(f"subset is {self.subset}, but no dataset is named that it is a part of")
        entries = [entry for entry in (*self.train, *self.validation, *self.test) if isinstance(entry, PairFile)]
        for columns in (self.columns, *(entry.columns for entry in entries)):
            if columns and not columns.keys() & {self.source, self.target}:
                raise ValueError(
                    f"columns are for {', '.join(columns)}, but source is {self.source}, target {self.target}"
                )
        for name in ("epoch_size", "cache"):
            if not self.streaming and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect without streaming: set streaming=true, or leave it out")
        return self


class ParallelCorpus:
    """Sentence pairs, read and cleaned when they are first asked for.

    Validation and test files are taken as they are, but for pairs with an empty side. Where there are none, distinct
    sources of training are held out, each with the first of its translations; no other pair with these sources is
    trained on.
    """

    config_class = ParallelData
    example = Example

    def __init__(self, config: ParallelData) -> None:
        self.config = config
        self._reading = Reading(config.reading, config.on_error)

    def check_files(self) -> None:
        """Raises UserError when a file is missing, or none is named."""
        if not self._origins("train"):
            raise UserError("data.train names no files: give the training files, for example data.train=my.tsv")
        places = [place for name in ("train", *HELD_OUT) for place in self._origins(name)]
        with folder_hint(self.config.folder or self.config.dataset):
            for place in places:
                place.check()

    def files(self) -> list[Path]:
        """The files of every set."""
        return [file for name in ("train", *HELD_OUT) for place in self._origins(name) for file in place.files()]

    def training(self, epoch: int) -> Sequence[Example]:
        """The same pairs, in the order of the files, for every epoch; when streaming, parts of them that take turns."""
        parts = self._sets.parts
        return parts[epoch % len(parts)]

    def validation(self) -> list[Example]:
        """Pairs to watch while training."""
        return self._held_out("validation")

    def test(self) -> list[Example]:
        """Pairs of the final score."""
        return self._held_out("test")

    def splits(self) -> dict[str, Sequence[Example]]:
        """Training, validation and test pairs."""
        return {"training": self._all_training, "validation": self.validation(), "test": self.test()}

    def texts(self) -> tuple[Iterable[str], Iterable[str]]:
        """Sources and targets of training; when streaming, of some pairs that are evenly spaced."""
        pairs, step = self._all_training, 1
        if self.config.streaming:
            parts = self._sets.parts  # each of them is evenly spaced, so that not all have to be read
            pairs = Interleaved(parts[: -(-VOCABULARY_PAIRS // len(parts[0]))])
            step = -(-len(pairs) // VOCABULARY_PAIRS)
        return (
            (pair.source for pair in islice(pairs, 0, None, step)),
            (pair.target for pair in islice(pairs, 0, None, step)),
        )

    def overview(self) -> Overview:
        """The lengths of both sides, and some pairs."""
        return Overview(texts=self.splits(), remarks=[*self.remarks(), *shown_rows(self.training(0))])

    def remarks(self) -> list[str]:
        """What cleaning left out, what was held out, and which test sources are also trained on."""
        return [*self._remarks(), *self.leaks()]

    def leaks(self) -> list[str]:
        """Which held-out examples are also trained on."""
        return list(self._leaks())

    def scored_text(self, text: str) -> str:
        """All of a translation is scored."""
        return text

    @property
    def languages(self) -> tuple[str, str]:
        """From which language into which."""
        return self.config.source, self.config.target

    def read(self, path: Path) -> list[Example]:
        """The pairs of a file or of line-aligned files; UserError for a pair with an empty side."""
        place = origin(str(path), Path(), self._languages, None, Reading(self.config.reading))
        examples = [pair.example for pair in place.pairs()]
        for number, example in enumerate(examples, start=1):
            if not all(example):
                raise UserError(f"{path}: pair {number} has an empty side: it cannot be scored, remove it")
        return examples

    def input_columns(self) -> list[Columns]:
        """The source; in a table that names no languages, the first of two columns, as in training."""
        source, both = self.config.source, self._languages.asked_for(None)
        return [Columns(both.wanted[:1], names=(source,)), *([both] if both.guessed else [])]

    @cached_property
    def _sets(self) -> Sets:
        if not self.config.streaming:
            return sets_in_memory(self._order)
        cache = self.config.cache or cache_folder()
        return sets_on_disk(self._order, cache.expanduser() / f"pairs-{self._key()}", self.config.epoch_size)

    @cached_property
    def _all_training(self) -> Sequence[Example]:
        parts = self._sets.parts
        return parts[0] if len(parts) == 1 else Interleaved(parts)

    def _key(self) -> str:
        """A name for all that decides the sets: settings, and the contents of the files."""
        settings = self.config.model_dump_json(exclude={"folder", "streaming", "cache"})
        contents = [place.contents() for name in ("train", *HELD_OUT) for place in self._origins(name)]
        return key_of(CACHE_FORMAT, settings, *contents)

    @cached_property
    def _order(self) -> Order:
        config = self.config
        return Order(
            pairs=lambda: self._pairs("train"),
            cleaning=config.cleaning,
            given={name: [e for e in self._given[name] if all(e)] for name in self._given},
            sizes=held_out_sizes(config, self._given),
            seed=config.seed,
            train_size=config.train_size,
        )

    @cached_property
    def _given(self) -> dict[str, list[Example]]:
        """All pairs of the validation and test files, if there are any."""
        given = {name: [pair.example for pair in self._pairs(name)] for name in HELD_OUT if self._origins(name)}
        for name, examples in given.items():
            if not any(map(all, examples)):
                raise UserError(f"the files of data.{name} have no pairs with text on both sides")
        return given

    def _remarks(self) -> Iterator[str]:
        _, held_out, cleaned, left_out, _, available = self._sets
        yield from self._reading.notes
        yield f"training: {cleaned}"
        if held_out:
            taken = " and ".join(f"{len(examples):,} for {name}" for name, examples in held_out.items())
            yield (
                f"held out of training by distinct source: {taken} (data.seed={self.config.seed}); "
                f"{left_out:,} other pairs with these sources left out"
            )
        if (size := self.config.train_size) is not None:
            drawn = f"a sample of {size:,}" if size < available else "all"
            yield f"training: {drawn} of {available:,} pairs (data.train_size={size}, data.seed={self.config.seed})"
        for name, examples in self._order.given.items():
            if empty := len(self._given[name]) - len(examples):
                yield f"{name}: {empty:,} pairs with an empty side left out"

    def _leaks(self) -> Iterator[str]:
        for name, (count, first) in self._sets.leaks.items():
            sources = len({example.source for example in self._order.given[name]})
            yield (f'{name}: {count:,} of {sources:,} sources are also trained on: {OPTIMISTIC}; one is "{first}"')

    def _held_out(self, name: str) -> list[Example]:
        return self._order.given[name] if name in self._given else self._sets.held_out[name]

    def _pairs(self, name: str) -> Iterator[Pair]:
        return chain.from_iterable(place.pairs() for place in self._origins(name))

    def _origins(self, name: str) -> list[Origin]:
        """The places of a set; none if it is to be taken from training. Only training is split, and so has groups."""
        config = self.config
        group = config.group if name == "train" else None
        if files := getattr(config, name):
            return [origin(entry, config.folder, self._languages, group, self._reading) for entry in files]
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
