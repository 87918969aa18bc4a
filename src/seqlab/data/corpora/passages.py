"""Running text: files cut into documents, some of them held out of training."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import CountTable, Overview
from seqlab.data.corpora.splitting import fingerprint, held_out_sizes, take_units
from seqlab.data.corpora.squad import read_squad
from seqlab.data.readers.columns import Columns
from seqlab.data.readers.lines import COMPRESSED, data_path, find, folder_hint, format_suffix, not_found, read_lines
from seqlab.data.readers.reading import DEFAULT, ReadingConfig
from seqlab.errors import UserError

FEWEST = 2
"""Documents of a set: sentences are told apart from those of another document."""

SHARE = 20
"""One document in 20 goes into a held-out set, where nobody says how many."""

LARGEST = 100
"""Documents of such a set at most."""

Paths = Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""One path alone needs no list."""


ParagraphEnds = Literal["blank-line", "line"]


class PassagesData(Config):
    """Running text from files."""

    kind: Literal["passages"] = "passages"
    """running text, from plain text files or from the texts of SQuAD"""
    train: Paths = ()
    """text files, files in the layout of SQuAD (.json), or folders of text files"""
    paragraph_ends: ParagraphEnds = "blank-line"
    """what ends a paragraph of a text file: a blank line, or each line, as where every line is a sentence of its own"""
    folder: Path | None = None
    """where relative paths start; when absent, the environment variable SEQLAB_DATA, else the current folder"""
    document_words: int = Field(default=1000, ge=10)
    """words of a document; a longer file or article is cut into several, where a paragraph ends"""
    validation_size: int | None = Field(default=None, ge=FEWEST)
    """documents taken from training for validation; when absent one in 20, at most 100"""
    test_size: int | None = Field(default=None, ge=FEWEST)
    """documents taken from training for the test; when absent one in 20, at most 100"""
    seed: int = 1
    """picks the documents that are held out"""
    reading: ReadingConfig = ReadingConfig()
    """how files are read: their encoding, and how much of them at once"""


class Document(NamedTuple):
    """Paragraphs that follow each other."""

    name: str
    """of the file, perhaps the article, and which part of it this is"""
    paragraphs: tuple[str, ...]
    """without line breaks"""


class Passages:
    """Documents, read when they are first asked for. No document is on both sides of the split."""

    config_class = PassagesData
    example = Document

    def __init__(self, config: PassagesData) -> None:
        self.config = config

    def input_columns(self) -> list[Columns]:
        """The text."""
        return [Columns(("text",), names=("text",), are_languages=False)]

    def check_files(self) -> None:
        """Raises UserError when a file is missing, or none is named."""
        if not self.config.train:
            raise UserError("data.train names no file: give text files, for example data.train=book.txt")
        with folder_hint(self.config.folder):
            self.files()

    def files(self) -> list[Path]:
        """Every file; those of a folder in the order of their names."""
        return list(self._paths())

    def training(self, epoch: int) -> Sequence[Document]:
        """The same documents every epoch."""
        return self._parts["training"]

    def validation(self) -> Sequence[Document]:
        """Documents to watch while training."""
        return self._parts["validation"]

    def test(self) -> Sequence[Document]:
        """Documents of the final score."""
        return self._parts["test"]

    def splits(self) -> dict[str, Sequence[Document]]:
        """Training, validation and test documents."""
        return dict(self._parts)

    def overview(self) -> Overview:
        """How much text every set has, which is what the remarks say too."""
        rows = {
            name: (len(documents), sum(len(d.paragraphs) for d in documents), sum(map(count_words, documents)))
            for name, documents in self._parts.items()
        }
        return Overview(CountTable(("documents", "paragraphs", "words"), rows))

    def remarks(self) -> list[str]:
        """How much there is, and what was held out."""
        words = {name: sum(map(count_words, documents)) for name, documents in self._parts.items()}
        return [
            f"{name}: {len(documents):,} documents, {words[name]:,} words"
            + ("" if name == "training" else f", held out of training (data.seed={self.config.seed})")
            for name, documents in self._parts.items()
        ]

    def leaks(self) -> list[str]:
        """None are looked for: sets are made of whole documents."""
        return []

    def read(self, path: Path) -> Sequence[Document]:
        """The documents of a user's file."""
        return list(self._read(find(path) or path))

    @cached_property
    def _parts(self) -> dict[str, list[Document]]:
        documents = [document for path in self._paths() for document in self._read(path)]
        return hold_out(documents, held_out_sizes(self.config), self.config.seed)

    def _read(self, path: Path) -> Iterator[Document]:
        config = self.config
        return read_documents(path, config.document_words, config.paragraph_ends, config.reading)

    def _paths(self) -> Iterator[Path]:
        """Every file; those of a folder in the order of their names."""
        for name in self.config.train:
            path = data_path(name, self.config.folder)
            if found := find(path):
                yield found
            elif path.is_dir():
                files = sorted(file for file in path.iterdir() if file.is_file() and format_suffix(file) == ".txt")
                if not files:
                    raise UserError(f"{path}: no text file in this folder (.txt, or .txt{', .txt'.join(COMPRESSED)})")
                yield from files
            else:
                raise not_found(path)


def read_documents(
    path: Path, words: int, ends: ParagraphEnds = "blank-line", reading: ReadingConfig = DEFAULT
) -> Iterator[Document]:
    """The documents of a file, each of about so many words; UserError, which names the file, where it has no text."""
    is_squad = format_suffix(path) == ".json"
    texts = _articles(path, reading) if is_squad else [(path.name, list(_paragraphs(path, ends, reading)))]
    if not any(paragraphs for _, paragraphs in texts):
        raise UserError(f"{path}: has no text")
    for name, paragraphs in texts:
        for number, part in enumerate(_cut(paragraphs, words), start=1):
            yield Document(f"{name} {number}", tuple(part))


def count_words(document: Document) -> int:
    """Words between white space."""
    return sum(len(paragraph.split()) for paragraph in document.paragraphs)


def hold_out(documents: Sequence[Document], sizes: dict[str, int | None], seed: int) -> dict[str, list[Document]]:
    """Takes sets of documents out of `training`; a document that is there twice goes wholly to one side.

    In every set the documents stand in the order of a hash, so that the first ones stand for all.

    Raises UserError when too few are left to train on.
    """
    hashes = {document.paragraphs: fingerprint("\n".join(document.paragraphs), seed) for document in documents}
    queue = dict.fromkeys(sorted(hashes, key=hashes.__getitem__, reverse=True), 1)
    usual = max(FEWEST, min(LARGEST, -(-len(queue) // SHARE)))
    wanted = {name: usual if size is None else size for name, size in sizes.items()}
    if len(queue) < sum(wanted.values()) + FEWEST:
        raise UserError(
            f"the training files have {len(queue):,} documents, too few to hold out {sum(wanted.values()):,}: give "
            "more text, or lower data.document_words, data.validation_size and data.test_size"
        )
    chosen = take_units(queue, wanted.values())
    place = {paragraphs: name for name, taken in zip(wanted, chosen, strict=True) for paragraphs in taken}
    parts: dict[str, list[Document]] = {"training": [], "validation": [], "test": []}
    for document in sorted(documents, key=lambda document: hashes[document.paragraphs]):
        parts[place.get(document.paragraphs, "training")].append(document)
    return parts


def _paragraphs(path: Path, ends: ParagraphEnds, reading: ReadingConfig) -> Iterator[str]:
    """Each line that has words, or all of them up to a blank line, joined by spaces."""
    lines = (line.split() for line in read_lines(path, reading))
    if ends == "line":
        yield from (" ".join(words) for words in lines if words)
        return
    for is_text, paragraph in groupby(lines, key=bool):
        if is_text:
            yield " ".join(word for words in paragraph for word in words)


def _articles(path: Path, reading: ReadingConfig) -> list[tuple[str, list[str]]]:
    """Title and paragraphs of the articles of a file in the layout of SQuAD, each paragraph once."""
    found: dict[str, dict[str, None]] = {}
    for question in read_squad(path, reading)[0]:
        found.setdefault(question.article, {})[" ".join(question.context.split())] = None
    return [(f"{path.name} {title}", list(paragraphs)) for title, paragraphs in found.items()]


def _cut(paragraphs: Sequence[str], words: int) -> Iterator[list[str]]:
    """Neighbours until there are enough words."""
    part: list[str] = []
    number = 0
    for paragraph in paragraphs:
        part.append(paragraph)
        number += len(paragraph.split())
        if number >= words:
            yield part
            part, number = [], 0
    if part:
        yield part
