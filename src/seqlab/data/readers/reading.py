"""How files are read: encoding, bounds on what is held in memory, and what becomes of lines that are bad."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from seqlab.config.settings import Config
from seqlab.errors import UserError

OnError = Literal["raise", "skip"]

LISTED = 20
"""Bad lines that a message names; all are counted."""

ENOUGH = 1000
"""Bad lines after which a file that is to have none is read no further."""


class ReadingConfig(Config):
    """How files are read."""

    encoding: str | None = None
    """of text files; when absent UTF-8, or what the file says: a byte order mark, or the XML declaration of a TMX"""
    quoted: bool | None = None
    """.tsv: cells in double quotes are quoted as in CSV; when absent, they are if all of them are well-formed"""
    max_line_bytes: int = Field(default=1 << 20, ge=1)
    """longest line, cell, text or translation unit; a file with a longer one is refused"""
    max_file_bytes: int = Field(default=1 << 29, ge=1)
    """most bytes, once unpacked, of a file that is read as a whole: JSON, images, a row group of Parquet"""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        if encoding is not None and not is_text_encoding(encoding):
            raise ValueError(f"{encoding} is not an encoding of text; such are utf-8, cp1252, utf-16")
        return encoding


def is_text_encoding(name: str) -> bool:
    """Whether Python decodes it, piece by piece, from bytes to text."""
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return codec._is_text_encoding and codec.incrementaldecoder is not None  # pyright: ignore[reportAttributeAccessIssue]


DEFAULT = ReadingConfig()


NOT_UTF8 = "not UTF-8 text"

ENCODING_ADVICE = '; convert the file to UTF-8, or name its encoding, for example data.reading.encoding="cp1252"'


class Fault(str):
    """Why a line cannot be read; it stands in the place of the line."""

    __slots__ = ()


@dataclass
class Faults:
    """The bad lines of a file: left out, or all told in one message."""

    path: Path
    skip: bool = False
    hint: str = ""
    """what else can be done about them"""
    unit: str = "line"
    """what they are counted in"""
    at_once: bool = False
    """the first one ends the reading"""
    reasons: dict[int, str] = field(default_factory=dict)
    """of the first ones"""
    count: int = 0

    def add(self, number: int, reason: str) -> None:
        """One more; UserError when there are too many to go on."""
        self.count += 1
        if self.count <= LISTED:
            self.reasons[number] = reason
        if self.at_once or (not self.skip and self.count == ENOUGH):
            self.raise_any()

    def place(self, number: int) -> str:
        """`pairs.tsv:7` or `pairs.parquet: row 7`."""
        return f"{self.path}:{number}" if self.unit == "line" else f"{self.path}: {self.unit} {number}"

    def raise_any(self) -> None:
        """UserError that lists what is bad, if anything is."""
        is_encoding = any(reason.startswith(NOT_UTF8) for reason in self.reasons.values())
        advice = (ENCODING_ADVICE if is_encoding else "") + self.hint
        if self.count == 1:
            ((number, reason),) = self.reasons.items()
            raise UserError(f"{self.place(number)}: {reason}{advice}")
        if self.count:
            least = "at least " if self.count == ENOUGH else ""
            raise UserError(f"{self.path}: {least}{self.count:,} bad {self.unit}s: {self.listed()}{advice}")

    def listed(self) -> str:
        """The first ones with their reasons, each reason once."""
        numbers: dict[str, list[int]] = {}
        for number, reason in self.reasons.items():
            numbers.setdefault(reason, []).append(number)
        more = f"; and {self.count - len(self.reasons):,} more" if self.count > len(self.reasons) else ""
        return (
            "; ".join(
                f"{self.unit}{'s' * (len(found) > 1)} {', '.join(map(str, found))}: {reason}"
                for reason, found in numbers.items()
            )
            + more
        )


@dataclass
class Reading:
    """The reading of a user's files: how, and what there was to say of them."""

    config: ReadingConfig = DEFAULT
    on_error: OnError | None = None
    """what becomes of bad lines; None: they are refused, and no setting changes that"""
    at_once: bool = False
    """whether the first bad line ends the reading: what stands before it is used by then"""
    notes: dict[str, None] = field(default_factory=dict)
    """remarks, each once, in order"""

    def note(self, text: str) -> None:
        """A remark for the user."""
        self.notes[text] = None

    @contextmanager
    def faults(self, path: Path, unit: str = "line") -> Iterator[Faults]:
        """Where the bad lines of a file go. On leaving they are noted when they are left out, else a UserError."""
        hint = "; data.on_error=skip leaves such lines out" if self.on_error == "raise" else ""
        found = Faults(path, self.on_error == "skip", hint, unit, self.at_once)
        yield found
        if found.count and found.skip:
            self.note(f"{path.name}: {found.count:,} bad {unit}{'s' * (found.count > 1)} left out: {found.listed()}")
        elif found.count:
            found.raise_any()


def quote(text: str, length: int = 40) -> str:
    """A text of a file inside a message: on one line, without control characters, and not too long."""
    plain = "".join(character if character.isprintable() else " " for character in text[: length + 1])
    return plain if len(text) <= length else plain[: length - 3] + "..."


def text_fault(text: str) -> str | None:
    """What is in a text that is no character of one."""
    if "\0" in text:
        return "contains a NUL byte, which is not a character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "contains half of a surrogate pair, which is not a character"
    return None
