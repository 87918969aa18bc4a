"""Rows of text from tables (TSV, CSV, JSON lines, TMX, Parquet), or from files that are aligned line by line.

Every reader is lazy and yields `(place, texts)`: the line (or record, from 1) and the texts of the columns asked for.
Whatever is wrong is a UserError that names file and place.
"""

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

from pydantic import Field

from seqlab.data.readers.lines import format_suffix, opened, read_lines
from seqlab.data.readers.tmx import read_tmx
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


def read_table(path: Path, columns: Columns, suffix: str | None = None) -> Records:
    """The wanted columns of a file of any format in `FORMATS`: `suffix`, or what its name tells (`.gz`, ... aside).

    Raises UserError: a column that is not there (with those that are), a line that is not as the others, and all that
    `read_lines` raises.
    """
    return FORMATS[suffix or format_suffix(path)](path, columns)


def read_aligned(*paths: Path) -> Records:
    """Line n of the first file with line n of all others; UserError when one of them is longer."""
    files = [read_lines(path) for path in paths]
    for number, texts in enumerate(zip_longest(*files), start=1):
        if None in texts:
            counts = [number - (text is None) + sum(1 for _ in file) for text, file in zip(texts, files, strict=True)]
            other = next(place for place, count in enumerate(counts) if count != counts[0])
            raise UserError(
                f"{paths[0]} has {counts[0]:,} lines, but {paths[other]} has {counts[other]:,}: "
                "in line-aligned files, line n of one translates line n of the other"
            )
        yield number, texts


def _read_tsv(path: Path, columns: Columns) -> Records:
    """Cells between tabs; quotes mean nothing."""
    lines = ((number, line.split("\t")) for number, line in enumerate(read_lines(path), start=1) if line)
    return _select(path, lines, columns)


def _read_csv(path: Path, columns: Columns) -> Records:
    """Cells between commas; a cell in double quotes may hold commas, line breaks and doubled quotes."""
    reader = csv.reader((f"{line}\n" for line in read_lines(path)), strict=True)
    return _select(path, _csv_lines(path, reader), columns)


def _csv_lines(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from ((reader.line_num, cells) for cells in reader if cells)
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not valid CSV ({error})") from None


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
    size = f"{len(first)} column" + "s" * (len(first) > 1)
    if columns.guessed and not {*names} & {*first}:
        if len(first) != len(names):
            numbers = ", ".join(f"{name}={number}" for number, name in enumerate(names, start=1))
            raise UserError(
                f"{place}: the first line names neither {' nor '.join(names)} and has {size}: "
                f"say where they are, for example data.columns={{{numbers}}}"
            )
        return list(range(len(first))), False
    for column in columns.wanted:
        if column not in first if isinstance(column, str) else column > len(first):
            known = f"the columns are {', '.join(first)}" if names else f"the first line has {size}"
            raise UserError(f"{place}: no column {column}; {known}")
    return [first.index(column) if isinstance(column, str) else column - 1 for column in columns.wanted], bool(names)


def _read_jsonl(path: Path, columns: Columns) -> Records:
    """The texts of an object a line."""
    for number, record in read_json_lines(path, columns.wanted):
        yield number, record_texts(record, columns, f"{path}:{number}")


def read_json_lines(path: Path, wanted: Sequence[Column]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line and the object of every line that is not blank; UserError, which shows `wanted` keys, for anything else.

    Whether an object has these keys is left to the caller.
    """
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not valid JSON ({error})") from None
        if not isinstance(record, dict):
            example = json.dumps({str(column): "..." for column in wanted})
            raise UserError(f"{path}:{number}: not a JSON object: write for example {example}")
        yield number, record


def _read_parquet(path: Path, columns: Columns) -> Records:
    """Rows of a Parquet file, a group of them at a time."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise UserError(f"{path}: Parquet files need pyarrow: pip install 'seqlab[hf]'") from None
    with opened(path) as packed, TemporaryFile() as unpacked:
        if isinstance(packed, BufferedReader):
            file = packed
        else:  # the reader jumps about in the file, which an archive can only do from its start
            shutil.copyfileobj(packed, unpacked)
            file = unpacked
        try:
            table = parquet.ParquetFile(file)
            there, wanted = table.schema_arrow.names, {*columns.wanted}
            needed = [name for name in there if name in {*wanted, NESTED}]
            # without a wanted column all are read, for the message that lists them
            batches = table.iter_batches(1024, columns=needed if NESTED in there or wanted <= {*there} else there)
            records = (record for batch in batches for record in batch.to_pylist())
            for number, record in enumerate(records, start=1):
                yield number, record_texts(record, columns, f"{path}: row {number}")
        except pyarrow.ArrowException as error:
            raise UserError(f"{path}: not a sound Parquet file ({str(error).splitlines()[0]})") from None


def _read_tmx(path: Path, columns: Columns) -> Records:
    """Translation units."""
    if not all(isinstance(column, str) for column in columns.wanted) or len(columns.wanted) != 2:
        raise UserError(f"{path}: TMX has languages, but no numbered columns and no groups: leave them out")
    return read_tmx(path, [str(column) for column in columns.wanted])


def record_texts(record: Mapping[str, object], columns: Columns, place: str) -> list[str]:
    """The wanted texts of a record, or of the record under its key `translation`, where the hub has them.

    Nothing (null) is an empty text. Raises UserError for a key that is not there, and for a value that is no text.
    """
    nested = record.get(NESTED)
    known = {**record, **(nested if isinstance(nested, Mapping) else {})}
    return [_record_text(known, column, place) for column in columns.wanted]


def _record_text(record: Mapping[Any, object], column: Column, place: str) -> str:
    if column not in record:
        raise UserError(f"{place}: no column {column}; the columns are {', '.join(record)}")
    value = record[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{place}: {column} is not a text but {json.dumps(value, default=str)[:80]}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f"{place}: {column} holds half of a surrogate pair, which is no character") from None
    return value


NESTED = "translation"
"""Key of a record under which data sets of the hub keep one text a language."""

FORMATS: dict[str, Callable[[Path, Columns], Records]] = {
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".tmx": _read_tmx,
    ".parquet": _read_parquet,
}
"""The reader of each format, by the suffix of the file."""
