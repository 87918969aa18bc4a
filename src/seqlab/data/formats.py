"""How do files of sentence pairs become rows of text: tables in one file, or two files that are aligned line by line?

Every reader is lazy and yields `(place, texts)`: the line (or record, from 1) and the texts of the columns asked for.
Whatever is wrong is a UserError that names file and place.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

from pydantic import Field

from seqlab.data.sources import format_suffix, read_lines
from seqlab.errors import UserError

Column = str | Annotated[int, Field(ge=1)]
"""A column by its name in the header, or by its number (from 1) in a file without a header."""

Records = Iterator[tuple[int, Sequence[str]]]
"""Line or record number, and the texts of the columns asked for."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are asked for."""

    wanted: tuple[Column, ...]
    guessed: bool = False
    """nobody said where they are, so a table of exactly two columns without a header has them in this order"""


def read_table(path: Path, columns: Columns) -> Records:
    """The wanted columns of a file of any format in `FORMATS`, which its name tells (`.gz`, `.xz`, `.zst` aside).

    Raises UserError: a column that is not there (with those that are), a line that is not as the others, and all that
    `read_lines` raises.
    """
    return FORMATS[format_suffix(path)](path, columns)


def read_aligned(source: Path, target: Path) -> Records:
    """Line n of one file with line n of the other; UserError when one of them is longer."""
    sides = read_lines(source), read_lines(target)
    for number, (left, right) in enumerate(zip_longest(*sides), start=1):
        if left is None or right is None:
            longer = sides[left is None]
            counts = [number - 1, number + sum(1 for _ in longer)]
            of_source, of_target = counts if left is None else reversed(counts)
            raise UserError(
                f"{source} has {of_source:,} lines, but {target} has {of_target:,}: "
                "in line-aligned files, line n of one translates line n of the other"
            )
        yield number, (left, right)


def _read_tsv(path: Path, columns: Columns) -> Records:
    """Cells between tabs; quotes mean nothing."""
    lines = ((number, line.split("\t")) for number, line in enumerate(read_lines(path), start=1) if line)
    return _select(path, lines, columns)


def _select(path: Path, lines: Iterator[tuple[int, list[str]]], columns: Columns) -> Records:
    """The wanted cells of every line below the header, if there is one."""
    number, first = next(lines, (1, [""]))
    positions, is_header = _positions(f"{path}:{number}", first, columns)
    if not is_header:
        yield number, [first[position] for position in positions]
    for number, cells in lines:
        if len(cells) != len(first):
            raise UserError(f"{path}:{number}: {len(cells)} columns, but the first line has {len(first)}")
        yield number, [cells[position] for position in positions]


def _positions(place: str, first: list[str], columns: Columns) -> tuple[list[int], bool]:
    """Where the wanted columns stand, and whether the first line is a header.

    It is one if a column is asked for by name; unless nobody said where the columns are, and it names none of them.
    """
    names = [column for column in columns.wanted if isinstance(column, str)]
    if columns.guessed and not set(names) & set(first):
        if len(first) != len(columns.wanted):
            raise UserError(
                f"{place}: the first line names neither {' nor '.join(names)} and has {_number(first)}: "
                "say where they are, for example data.columns={"
                + ", ".join(f"{n}={i}" for i, n in _from_one(names))
                + "}"
            )
        return list(range(len(first))), False
    for column in columns.wanted:
        if column not in first if isinstance(column, str) else column > len(first):
            known = f"the columns are {', '.join(first)}" if names else f"there are {_number(first)}"
            raise UserError(f"{place}: no column {column}; {known}")
    return [first.index(c) if isinstance(c, str) else c - 1 for c in columns.wanted], bool(names)


def _number(cells: list[str]) -> str:
    return f"{len(cells)} column" + "s" * (len(cells) != 1)


def _from_one(names: list[str]) -> Iterator[tuple[int, str]]:
    return enumerate(names, start=1)


FORMATS: dict[str, Callable[[Path, Columns], Records]] = {".tsv": _read_tsv}
"""The reader of each format, by the suffix of the file."""
