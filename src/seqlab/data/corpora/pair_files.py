"""The places that sentence pairs come from: tables, line-aligned files, splits of a data set of the hub.

An entry of a list of files names one file with both sides (a table), or the stem of two files that are aligned line by
line.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Literal, NamedTuple, Protocol, Self

from pydantic import Field, field_validator, model_validator

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.splitting import Pair
from seqlab.data.readers.columns import Column, Columns
from seqlab.data.readers.hub import hub_fingerprint, hub_splits, read_hub
from seqlab.data.readers.lines import COMPRESSED, content_hash, data_path, existing, find, format_suffix, not_found
from seqlab.data.readers.reading import Reading
from seqlab.data.readers.tables import FORMATS, Records, read_aligned, read_table, table_format
from seqlab.errors import UserError

LANGUAGE = "{lang}"
"""Stands in the name of line-aligned files where the language is not the suffix."""

_LINE_BREAK = re.compile(r"[\r\n]+")


class FileGroup(Config):
    """What belongs together when training data is split, such as the verses of a chapter."""

    column: Column
    """column that names the group: its name, or its number in a file without a header"""
    key: str = ".+"
    """regular expression; what it finds in the column is the group"""

    @field_validator("key")
    @classmethod
    def _is_regular_expression(cls, key: str) -> str:
        try:
            re.compile(key)
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        return key


class Label(Config):
    """Which rows of a table are pairs, where a column says so, as in collections of true and false paraphrases."""

    column: Column
    """column of the label: its name, or its number in a file without a header"""
    value: str = "1"
    """label of the rows that are kept"""


class PairFile(Config):
    """One entry of a list of files that says more than a path."""

    path: str
    """file, stem of line-aligned files, or their name with {lang} in place of the language"""
    columns: dict[str, Column] = Field(default={})
    """columns of the languages, as in {en = 2, fr = 3}, where they differ from data.columns"""
    group: FileGroup | None = None
    """what belongs together in this file"""
    label: Label | None = None
    """keep only the rows with this label"""
    format: Literal["tsv", "csv", "xlsx", "jsonl", "json", "tmx", "parquet"] | None = None
    """what the file is, where its name does not tell"""
    versions: Annotated[tuple[str | int, ...], Field(min_length=2)] | None = None
    """line-aligned files that say the same in other words, by what stands for {lang}, as in [1, 2, 3]"""
    pairs: Literal["all", "one"] = "all"
    """versions: every two texts of a line in both orders, or one such pair of each line, always the same"""

    @model_validator(mode="after")
    def _versions_stand_alone(self) -> Self:
        if self.versions is None:
            if self.pairs != "all":
                raise ValueError(f"pairs={self.pairs} has no effect without versions: leave it out")
            return self
        if LANGUAGE not in self.path:
            raise ValueError(f"versions stand for {LANGUAGE} in the path, but {self.path} does not have it")
        if len({*map(str, self.versions)}) < len(self.versions):
            raise ValueError("versions names a file twice: a line would be a paraphrase of itself")
        if self.columns or self.group or self.label or self.format:
            raise ValueError("versions are line-aligned files, which have no columns, group, label or format")
        return self


class Origin(Protocol):
    """One place that pairs come from."""

    def check(self) -> None:
        """Raises UserError when there is no such place."""
        ...

    def pairs(self) -> Iterator[Pair]:
        """All pairs, lazily and in order, as they are but for white space at both ends and line breaks inside."""
        ...

    def contents(self) -> str:
        """A text that is another when the contents are."""
        ...

    def files(self) -> Sequence[Path]:
        """The files that pairs are read from; UserError when one is missing."""
        ...


class Languages(NamedTuple):
    """What is translated into what, and the columns that hold it where they are not named for the language."""

    source: str
    target: str
    columns: dict[str, Column]

    def asked_for(self, group: FileGroup | None, label: Label | None = None) -> Columns:
        """The columns of source, target, label and group; guessed where nothing is said of them."""
        sides = (self.source, self.target)
        wanted = [self.columns.get(language, language) for language in sides]
        others = [asked.column for asked in (label, group) if asked is not None]
        guessed = not others and not any(language in self.columns for language in sides)
        return Columns((*wanted, *others), guessed, names=sides)


@dataclass(frozen=True)
class Table:
    """Both sides in one file."""

    path: Path
    columns: Columns
    group: FileGroup | None
    label: Label | None = None
    suffix: str | None = None
    """tells the format where the name does not"""
    reading: Reading = field(default_factory=Reading, compare=False)

    def check(self) -> None:
        """Raises UserError when the file is missing."""
        self.files()

    def pairs(self) -> Iterator[Pair]:
        """The pairs of the file."""
        file = existing(self.path)
        return _pairs(file, read_table(file, self.columns, self.suffix, self.reading), self.group, self.label)

    def contents(self) -> str:
        """The hash of the file."""
        return " ".join(map(content_hash, self.files()))

    def files(self) -> list[Path]:
        """The file."""
        return [existing(self.path)]


@dataclass(frozen=True)
class Aligned:
    """Each side in a file of its own; line n of one translates line n of the other."""

    path: Path
    """with `{lang}` where the language stands"""
    languages: Languages
    reading: Reading = field(default_factory=Reading, compare=False)

    def check(self) -> None:
        """Raises UserError when the file of a side is missing."""
        self.files()

    def pairs(self) -> Iterator[Pair]:
        """The pairs of the two files."""
        source, target = self.files()
        return _pairs(source, read_aligned(source, target, reading=self.reading), None)

    def contents(self) -> str:
        """The hashes of both files."""
        return " ".join(map(content_hash, self.files()))

    def files(self) -> tuple[Path, Path]:
        """The file of each side."""
        source, target = (_aligned_file(self.path, language) for language in self.languages[:2])
        return source, target


@dataclass(frozen=True)
class Versions:
    """Several line-aligned files that say the same in other words. A line is what a split must not tear apart."""

    path: Path
    """with `{lang}` where the name of a version stands"""
    names: tuple[str, ...]
    only_one: bool
    """a pair of each line, not all of them"""
    reading: Reading = field(default_factory=Reading, compare=False)

    def check(self) -> None:
        """Raises UserError when a file is missing."""
        self.files()

    def pairs(self) -> Iterator[Pair]:
        """Of each line its texts with the next version, with the one after that, and so on; empty ones aside."""
        for number, texts in read_aligned(*self.files(), reading=self.reading):
            texts = [text for text in map(_one_line, texts) if text]
            found = [
                Example(source, texts[(place + step) % len(texts)])
                for step in range(1, len(texts))
                for place, source in enumerate(texts)
            ]
            unit = f"\0{self.path.name} {number}"
            chosen = [Random(unit).choice(found)] if self.only_one and found else found
            yield from (Pair(example, unit) for example in chosen)

    def contents(self) -> str:
        """The hashes of all files."""
        return " ".join(map(content_hash, self.files()))

    def files(self) -> list[Path]:
        """The file of each version."""
        return [_aligned_file(self.path, name) for name in self.names]


@dataclass(frozen=True)
class HubSplit:
    """A split of a data set of the hub."""

    name: str
    subset: str | None
    split: str
    columns: Columns
    group: FileGroup | None

    def check(self) -> None:
        """Raises UserError when the data set has no such split."""
        if self.split not in (splits := hub_splits(self.name, self.subset)):
            raise UserError(f"data.dataset={self.name}: no split {self.split}; there are {', '.join(splits)}")

    def pairs(self) -> Iterator[Pair]:
        """The pairs of the split."""
        return _pairs(self.name, read_hub(self.name, self.subset, self.split, self.columns), self.group)

    def contents(self) -> str:
        """The fingerprint of the split."""
        return hub_fingerprint(self.name, self.subset, self.split)

    def files(self) -> list[Path]:
        """Those of a folder; none where `datasets` looks after them."""
        folder = Path(self.name)
        return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []


def origin(
    entry: str | PairFile,
    folder: Path | None,
    languages: Languages,
    group: FileGroup | None,
    reading: Reading | None = None,
) -> Origin:
    """The place that an entry means, whose relative path starts where `data_path` says; its group replaces `group`.

    Raises UserError when line-aligned files are to have columns or groups, and where nothing tells what a file is.
    """
    entry = PairFile(path=entry) if isinstance(entry, str) else entry
    reading = reading or Reading()
    group = entry.group or group
    languages = languages._replace(columns={**languages.columns, **entry.columns})
    path = data_path(entry.path, folder)
    if entry.versions is not None:
        if group is not None:
            raise UserError(f"{path}: each line of versions is already a group: leave out data.group")
        return Versions(path, tuple(map(str, entry.versions)), entry.pairs == "one", reading)
    suffix = f".{entry.format}" if entry.format else None
    if suffix or (LANGUAGE not in entry.path and _is_table(path, languages)):
        return Table(path, languages.asked_for(group, entry.label), group, entry.label, suffix, reading)
    if entry.columns or group is not None or entry.label is not None:
        raise UserError(f"{path}: line-aligned files have no columns, groups or labels: leave these out of its entry")
    return Aligned(path if LANGUAGE in entry.path else path.with_name(f"{path.name}.{LANGUAGE}"), languages, reading)


def _is_table(path: Path, languages: Languages) -> bool:
    """Whether a path means a file with both sides, not the stem of line-aligned files that are there; UserError for a
    file of no known format."""
    if format_suffix(path) in FORMATS:
        return True
    file = find(path)
    if file is None or not path.name or find(path.with_name(f"{path.name}.{languages.source}")):
        return False
    if table_format(file) is None:
        raise UserError(
            f"{path}: unknown format, by its name and its first line: name the format (tsv, csv, ...), for "
            f'example data.train=[{{path="{path.name}", format="csv"}}]; as the stem of line-aligned files it lacks '
            f"{path.name}.{languages.source}"
        )
    return True


def _aligned_file(path: Path, name: str) -> Path:
    """The file with a name in place of `{lang}`; UserError where there is none."""
    wanted = Path(str(path).replace(LANGUAGE, name))
    if file := find(wanted):
        return file
    stem = Path(str(path).removesuffix(f".{LANGUAGE}"))
    if stem != path and stem.is_dir():
        raise not_found(stem)
    raise UserError(f"{wanted}: no such file (nor with {', '.join(COMPRESSED)})")


def _pairs(place: object, records: Records, group: FileGroup | None, label: Label | None = None) -> Iterator[Pair]:
    key = re.compile(group.key) if group else None
    for number, (source, target, *rest) in records:
        if label is not None and rest.pop(0).strip() != label.value:
            continue
        example = Example(_one_line(source), _one_line(target))
        if key is None:
            yield Pair(example, example.source)
        elif found := key.search(rest[0]):
            yield Pair(example, "\0" + found[0])
        else:
            raise UserError(
                f'{place}:{number}: the pattern of data.group, "{key.pattern}", matches nothing in "{rest[0]}"'
            )


def _one_line(text: str) -> str:
    """Texts stand on one line wherever the project writes them."""
    return _LINE_BREAK.sub(" ", text).strip()
