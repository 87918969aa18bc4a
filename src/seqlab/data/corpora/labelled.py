"""Texts with labels from columns of tables, some of them held out of training."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import OPTIMISTIC, SHOWN, CountTable, Overview, shown_rows
from seqlab.data.corpora.splitting import (
    check_sizes_are_used,
    fingerprint,
    held_out_sizes,
    sizes_of,
    take_units,
)
from seqlab.data.readers.columns import Column, Columns
from seqlab.data.readers.lines import data_path, existing, find, folder_hint
from seqlab.data.readers.reading import OnError, Reading, ReadingConfig, quote
from seqlab.data.readers.tables import read_table, table_format
from seqlab.errors import UserError
from seqlab.runs.statistics import HELD_OUT

SETS = ("train", *HELD_OUT)
TABLES = (".tsv", ".csv", ".xlsx", ".jsonl", ".json", ".parquet")

LISTED = 3
"""Lines that a remark names; all are counted."""

NO_LABEL = {
    "-",
    "--",
    "?",
    "_",
    ".",
    "n/a",
    "na",
    "nan",
    "nil",
    "none",
    "null",
    "no gold",
    "no label",
    "unlabeled",
    "unlabelled",
}
"""What people write where there is no label, in lower case."""

LARGEST = 30
"""Classes of a table."""

MANY = 20
"""Texts of which it is odd that most have a label of their own."""

MOST_DECIMALS = 10
"""Different decimals that may still be classes, such as the half stars of a rating."""


class LabelledData(Config):
    """Texts, or pairs of texts, and the class of each."""

    kind: Literal["labelled"] = "labelled"
    """texts with labels, from tables"""
    train: str | None = None
    """training file: .tsv, .csv, .xlsx, .jsonl, .json or .parquet, perhaps compressed"""
    validation: str | None = None
    """file to watch while training; when absent, texts taken from training"""
    test: str | None = None
    """file of the final score; when absent, texts taken from training"""
    folder: Path | None = None
    """where relative paths start; when absent, the environment variable SEQLAB_DATA, else the current folder"""
    text: Column = "text"
    """column of the text: its name in the header, or its number, from 1, in files without one"""
    second: Column | None = None
    """column of the second text, where pairs are classified"""
    label: Column = "label"
    """column of the label"""
    drop_labels: tuple[str, ...] = ()
    """labels of rows that are left out and counted, as ["-"] where annotators did not agree"""
    validation_size: int | None = Field(default=None, ge=1)
    """distinct texts taken from training for validation; when absent one in 20, at most 1000"""
    test_size: int | None = Field(default=None, ge=1)
    """distinct texts taken from training for the test; when absent one in 20, at most 1000"""
    seed: int = 1
    """picks the texts that are held out"""
    reading: ReadingConfig = ReadingConfig()
    """how files are read: their encoding, and how much of them at once"""
    on_error: OnError = "raise"
    """bad lines of a file: refuse them, and list the first 20 (raise), or leave them out and count them (skip)"""

    @model_validator(mode="after")
    def _settings_are_used(self) -> "LabelledData":
        check_sizes_are_used(self, [name for name in HELD_OUT if getattr(self, name) is not None], "texts")
        columns = [column for column in (self.text, self.second, self.label) if column is not None]
        if len({type(column) for column in columns}) > 1:
            raise ValueError(f"columns are names or numbers, not both: {', '.join(map(str, columns))}")
        if len(set(columns)) < len(columns):
            raise ValueError(f"text, second and label are different columns, not {', '.join(map(str, columns))}")
        return self


class Labelled(NamedTuple):
    """A text, perhaps a second one, and their class."""

    text: str
    second: str | None
    label: str

    @property
    def source(self) -> str:
        """The text, or both with a tab between them."""
        return self.text if self.second is None else f"{self.text}\t{self.second}"


class LabelledCorpus:
    """Texts with labels, read when they are first asked for. No text is on both sides of a split that is made here."""

    config_class = LabelledData
    example = Labelled

    def __init__(self, config: LabelledData) -> None:
        self.config = config
        self._reading = Reading(config.reading, config.on_error)

    def check_files(self) -> None:
        """Raises UserError when a file is missing or of no known format, or none is named."""
        if self.config.train is None:
            raise UserError("data.train names no file: give the training file, for example data.train=train.tsv")
        with folder_hint(self.config.folder):
            for file in self.files():
                _check_format(file)

    def files(self) -> list[Path]:
        """The file of each set that has one."""
        return [existing(path) for path in self._paths.values()]

    def input_columns(self) -> list[Columns]:
        """The text, or both texts."""
        roles = {name: column for name in ("text", "second") if (column := getattr(self.config, name)) is not None}
        return [Columns(tuple(roles.values()), names=tuple(roles), are_languages=False)]

    @property
    def reads_pairs(self) -> bool:
        """Whether an example has two texts."""
        return self.config.second is not None

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels that are trained on, in order. UserError where there is only one."""
        found = sorted({example.label for example in self.training(0)})
        if len(found) < 2:
            raise UserError(f"{self._paths['train']}: every text has the label {found[0]}: there is nothing to learn")
        return tuple(found)

    def training(self, epoch: int) -> Sequence[Labelled]:
        """The same texts every epoch."""
        return self._parts["train"]

    def validation(self) -> Sequence[Labelled]:
        """Texts to watch while training."""
        return self._parts["validation"]

    def test(self) -> Sequence[Labelled]:
        """Texts of the final score."""
        return self._parts["test"]

    def splits(self) -> dict[str, Sequence[Labelled]]:
        """Training, validation and test texts."""
        return {"training": self.training(0), "validation": self.validation(), "test": self.test()}

    def overview(self) -> Overview:
        """The size of every class, the lengths of texts, and some texts with their classes."""
        splits = self.splits()
        counts = {name: Counter(example.label for example in part) for name, part in splits.items()}
        classes = sorted(counts["training"], key=lambda label: -counts["training"][label])[:LARGEST]
        rows = {quote(label): [found[label] for found in counts.values()] for label in classes}
        caption = f"The {LARGEST} largest of {len(counts['training'])}" if len(counts["training"]) > LARGEST else ""
        table = CountTable([*counts], rows, "class", shares=not caption, caption=caption)
        shown = shown_rows([(example.source, example.label) for example in splits["training"][:SHOWN]])
        texts = {name: [(example.source, "") for example in part] for name, part in splits.items()}
        return Overview(table, texts, unit="words", remarks=[*self.remarks(), *shown])

    def remarks(self) -> list[str]:
        """What was left out, what was held out, what contradicts itself and what leaks."""
        return [*self._remarks(), *self.leaks()]

    def leaks(self) -> list[str]:
        """Which held-out examples are also trained on."""
        return list(self._leaks())

    def read(self, path: Path) -> Sequence[Labelled]:
        """The texts of a user's file, in the columns of this data; UserError for a blank text."""
        found = find(path) or path
        _check_format(found)
        file = _read(found, self.config, Reading(self.config.reading))
        if file.blank:
            raise UserError(f"{found}:{file.blank[0]}: the text is blank: it cannot be scored, remove it")
        return file.examples

    @cached_property
    def _files(self) -> dict[str, "_File"]:
        paths = {name: find(path) or path for name, path in self._paths.items()}
        files = {name: _read(path, self.config, self._reading) for name, path in paths.items()}
        for name, file in files.items():
            if not file.examples:
                dropped = f" but for {file.dropped.total():,} with dropped labels" if file.dropped else ""
                raise UserError(f"{paths[name]}: has no text{dropped}")
        _check_classes(paths["train"], files["train"].examples, str(self.config.label))
        return files

    @cached_property
    def _parts(self) -> dict[str, list[Labelled]]:
        parts = hold_out(self._files["train"].examples, held_out_sizes(self.config, self._files), self.config.seed)
        parts |= {name: file.examples for name, file in self._files.items() if name != "train"}
        known = {example.label for example in parts["train"]}
        for name in HELD_OUT:
            if strange := next((example for example in parts[name] if example.label not in known), None):
                raise UserError(
                    f'{name}: the label "{strange.label}" of "{strange.text[:40]}" does not occur in the training set'
                )
        return parts

    def _remarks(self) -> Iterator[str]:
        yield from self._reading.notes
        for name, (_, blank, dropped) in self._files.items():
            if blank:
                yield f"{name}: {len(blank):,} blank texts left out (lines {', '.join(map(str, blank[:LISTED]))} ...)"
            for label, count in dropped.items():
                yield f'{name}: {count:,} texts with the label "{quote(label)}" left out (data.drop_labels)'
        for name in HELD_OUT:
            if name not in self._files:
                yield f"{name}: {len(self._parts[name]):,} texts held out of training (data.seed={self.config.seed})"
        training = self._parts["train"]
        counts = Counter(example.label for example in training)
        yield "training: " + ", ".join(f"{label} {count / len(training):.1%}" for label, count in counts.most_common())
        for label in sorted(label for label in counts if label.casefold() in NO_LABEL):
            setting = json.dumps([*self.config.drop_labels, label], ensure_ascii=False)
            yield (
                f'training: {counts[label]:,} texts have the label "{quote(label)}", which looks like no label: '
                f"data.drop_labels={setting} leaves them out"
            )
        if len(training) >= MANY and len(counts) > len(training) / 2:
            yield f"training: {len(counts):,} labels of {len(training):,} texts: is data.label the right column?"
        first = self._files["train"].examples[0]
        if counts[first.label] == 1 and isinstance(self.config.text, int):
            yield f'only the first line has the label "{first.label}": if it is a header, name the columns instead'
        labels: dict[str, set[str]] = {}
        for example in training:
            labels.setdefault(example.source, set()).add(example.label)
        if torn := [source for source, found in labels.items() if len(found) > 1]:
            yield f'training: {len(torn):,} texts occur with several labels; one is "{torn[0][:60]}"'

    def _leaks(self) -> Iterator[str]:
        trained = {example.source for example in self._parts["train"]}
        for name in HELD_OUT:
            if leaked := sum(example.source in trained for example in self._parts[name]):
                yield f"{name}: {leaked:,} texts are also trained on: {OPTIMISTIC}"

    @property
    def _paths(self) -> dict[str, Path]:
        """Of the sets that have a file."""
        files = {name: getattr(self.config, name) for name in SETS}
        return {name: data_path(file, self.config.folder) for name, file in files.items() if file is not None}


def hold_out(examples: Sequence[Labelled], sizes: dict[str, int | None], seed: int) -> dict[str, list[Labelled]]:
    """Takes sets of distinct texts out of the training examples, which are `train` in the result.

    Args:
        examples: what there is.
        sizes: distinct texts of each set; None: one in 20, at most 1000.
        seed: picks the texts.

    Raises UserError when nothing would be left to train on.
    """
    sources = {example.source for example in examples}
    queue = dict.fromkeys(sorted(sources, key=lambda source: fingerprint(source, seed), reverse=True), 1)
    chosen = take_units(queue, sizes_of(len(queue), sizes))
    place = {source: name for name, taken in zip(sizes, chosen, strict=True) for source in taken}
    parts: dict[str, list[Labelled]] = {name: [] for name in ("train", *sizes)}
    for example in examples:
        parts[place.get(example.source, "train")].append(example)
    if not parts["train"]:
        wanted = [f"{size:,} (data.{name}_size)" for name, size in zip(sizes, sizes_of(len(queue), sizes), strict=True)]
        raise UserError(
            f"the training file has {len(place):,} distinct texts, too few to hold out {', '.join(wanted)}: lower "
            "these, or name files for data.validation and data.test"
        )
    return parts


class _File(NamedTuple):
    examples: list[Labelled]
    blank: list[int]
    """lines whose text is blank"""
    dropped: Counter[str]
    """rows whose label is to be left out"""


def _read(path: Path, config: LabelledData, reading: Reading) -> _File:
    """The examples of a file. A blank label is a bad line, unless it is one of those to be dropped."""
    roles = {name: column for name in ("text", "second", "label") if (column := getattr(config, name)) is not None}
    columns = Columns(tuple(roles.values()), names=tuple(roles), are_languages=False)
    found = _File([], [], Counter())
    with reading.faults(path) as faults:
        for number, (*texts, label) in read_table(path, columns, reading=reading):
            label = label.strip()
            if label in config.drop_labels:
                found.dropped[label] += 1
            elif not all(text.strip() for text in texts):
                found.blank.append(number)
            elif not label:
                faults.add(number, 'the label is blank (data.drop_labels=[""] leaves such rows out)')
            else:
                found.examples.append(Labelled(texts[0], texts[1] if len(texts) > 1 else None, label))
    return found


def _check_classes(path: Path, examples: Sequence[Labelled], column: str) -> None:
    """Raises UserError when labels are decimals, too many of them to be classes."""
    labels = {example.label for example in examples}
    try:
        decimals = {float(label.replace(",", ".")) for label in labels}
    except ValueError:
        return
    if len(decimals) > MOST_DECIMALS and not all(value.is_integer() for value in decimals):
        shown = ", ".join(sorted(labels)[:LISTED])
        raise UserError(
            f"{path}: the labels in column {column} are {len(decimals):,} different decimals ({shown}, ...), and "
            "regression is not supported: map them to a few classes in a new column, and name it "
            "in data.label"
        )


def _check_format(path: Path) -> None:
    if table_format(path) not in TABLES:
        raise UserError(f"{path}: not one of the formats {', '.join(TABLES)}, by its name or its first line")
