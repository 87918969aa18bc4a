"""Rows of text from tables (TSV, CSV, XLSX, JSON, TMX, Parquet), or from files that are aligned line by line.

Every reader is lazy and yields `(place, texts)`: the line (or record, from 1) and the texts of the columns asked for.
Whatever is wrong is a UserError that names file and place.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from io import BufferedReader
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from seqlab.data.readers.columns import Columns, missing, proposed
from seqlab.data.readers.delimited import read_csv, read_tsv, select
from seqlab.data.readers.json_records import holds_lines, read_json_array, read_json_lines
from seqlab.data.readers.languages import language_of
from seqlab.data.readers.lines import format_suffix, opened, read_all, refuse_binary, scan_lines, too_long
from seqlab.data.readers.reading import Fault, Faults, Reading, quote, text_fault
from seqlab.data.readers.tmx import read_tmx
from seqlab.data.readers.workbook import is_workbook, read_cells
from seqlab.errors import UserError

Records = Iterator[tuple[int, Sequence[str]]]
"""Line or record number, and the texts of the columns asked for."""


def read_table(path: Path, columns: Columns, suffix: str | None = None, reading: Reading | None = None) -> Records:
    """The wanted columns of a file of any format in `FORMATS`: `suffix`, or what `table_format` tells.

    Bad lines go where `reading` says. Raises UserError: a column that is not there (with those that are), bad lines
    (the first of them listed), and all that `scan_lines` raises.
    """
    reading = reading or Reading()
    suffix = suffix or table_format(path, reading)
    if suffix is None:
        raise UserError(
            f"{path}: unknown format, by its name and its first line; known formats are {', '.join(FORMATS)}"
        )
    return FORMATS[suffix](path, columns, reading)


def table_format(path: Path, reading: Reading | None = None) -> str | None:
    """The suffix that tells the format of a table: that of its name, or what goes with its first line; None if nothing.

    Raises UserError for a file that is no table, such as an archive.
    """
    suffix = format_suffix(path)
    if suffix in FORMATS:
        return suffix
    with opened(path) as file:
        first = file.readline(1 << 16)
    if first.startswith(b"PAR1"):
        return ".parquet"
    if first.startswith(b"PK") and is_workbook(path):
        return ".xlsx"
    refuse_binary(path, first)
    start = first.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] in (b"{", b"["):
        found = ".json"
    elif start.startswith((b"<?xml", b"<!DOCTYPE tmx", b"<tmx")):
        found = ".tmx"
    else:
        found = ".tsv" if b"\t" in first else None
    if reading is not None and found is not None:
        reading.note(f"{path.name}: read as {found.removeprefix('.').upper()}, by its first line")
    return found


def read_aligned(*paths: Path, reading: Reading | None = None) -> Records:
    """Line n of the first file with line n of all others; UserError when one of them is longer.

    A line that is bad in one file is left out, or told, with those that it is aligned with.
    """
    reading = reading or Reading()
    with reading.faults(paths[0]) as faults, ExitStack() as stack:
        files = [stack.enter_context(closing(scan_lines(path, reading.config))) for path in paths]
        for number, texts in enumerate(zip_longest(*files), start=1):
            if None in texts:
                counts = [
                    number - (text is None) + sum(1 for _ in file) for text, file in zip(texts, files, strict=True)
                ]
                other = next(place for place, count in enumerate(counts) if count != counts[0])
                raise UserError(
                    f"{paths[0]} has {counts[0]:,} lines, but {paths[other]} has {counts[other]:,}: "
                    "in line-aligned files, line n of one translates line n of the other"
                )
            bad = next((place for place, text in enumerate(texts) if isinstance(text, Fault)), None)
            if bad is None:
                yield number, texts
            else:
                faults.add(number, texts[bad] if bad == 0 else f"{texts[bad]} (in {paths[bad].name})")


def _read_jsonl(path: Path, columns: Columns, reading: Reading) -> Records:
    """The texts of an object a line."""
    with reading.faults(path) as faults:
        records = read_json_lines(path, columns.by_name, reading.config, faults)
        yield from _record_texts(records, columns, faults)


def _read_json(path: Path, columns: Columns, reading: Reading) -> Records:
    """The texts of the objects of an array, or of those on the lines of a file that is JSON lines by what it holds."""
    if holds_lines(path, reading.config):
        yield from _read_jsonl(path, columns, reading)
        return
    with reading.faults(path, "record") as faults:
        yield from _record_texts(read_json_array(path, columns.by_name, reading.config, faults), columns, faults)


def _record_texts(records: Iterator[tuple[int, dict[str, Any]]], columns: Columns, faults: Faults) -> Records:
    """The wanted texts of records. What the first of them lacks is a wrong setting, what another lacks a bad line."""
    for place, (number, record) in enumerate(records):
        try:
            yield number, record_texts(record, columns, faults.place(number))
        except RecordError as error:
            if place == 0 and error.is_missing:
                raise
            faults.add(number, error.reason)


def _read_parquet(path: Path, columns: Columns, reading: Reading) -> Records:
    """Rows of a Parquet file, some of them at a time."""
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise UserError(f"{path}: Parquet files need pyarrow: pip install pyarrow") from None
    with reading.faults(path, "row") as faults, _seekable(path, reading) as file:
        try:
            records = (row for row in enumerate(_parquet_rows(file, path, columns, reading), start=1))
            yield from _record_texts(_without_faults(records, faults), columns, faults)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = quote(str(error) or type(error).__name__, 120)
            raise UserError(f"{path}: not a valid Parquet file ({reason})") from None


@contextmanager
def _seekable(path: Path, reading: Reading) -> Iterator[IO[bytes]]:
    """A file to jump about in, which in an archive is only possible from its start."""
    with opened(path) as packed:
        if isinstance(packed, BufferedReader):
            yield packed
            return
    with TemporaryFile() as unpacked:
        unpacked.write(read_all(path, reading.config))
        yield unpacked


def _parquet_rows(file: IO[bytes], path: Path, columns: Columns, reading: Reading) -> Iterator[dict[str, Any] | Fault]:
    """The rows of a Parquet file, each a record, or a fault where a text is not UTF-8."""
    from pyarrow import parquet

    schema = parquet.ParquetFile(file).schema
    texts = [column.path for column in map(schema.column, range(len(schema))) if column.physical_type == "BYTE_ARRAY"]
    # as dictionaries, so that a long text that is repeated is in memory once, before its length is known
    table = parquet.ParquetFile(file, read_dictionary=texts)
    there, wanted = table.schema_arrow.names, {*columns.by_name}
    needed = [name for name in there if name in {*wanted, NESTED}]
    for group in range(table.metadata.num_row_groups):
        if table.metadata.row_group(group).total_byte_size > reading.config.max_file_bytes:
            raise UserError(
                f"{path}: row group {group + 1} has more than {reading.config.max_file_bytes:,} bytes: write smaller "
                "ones; data.reading.max_file_bytes sets the limit"
            )
    # without a wanted column all are read, for the message that lists them
    for batch in table.iter_batches(PARQUET_ROWS, columns=needed if NESTED in there or wanted <= {*there} else there):
        if any(_longest(column) > reading.config.max_line_bytes for column in batch.columns):
            raise too_long(str(path), reading.config)
        try:
            yield from batch.to_pylist()
        except UnicodeDecodeError:
            yield from (_row(batch, number) for number in range(batch.num_rows))


def _longest(column: Any) -> int:
    """Bytes of the longest text of a column of texts, those of a struct one level down too; 0 for other columns."""
    import pyarrow
    from pyarrow import compute as compute_functions

    compute: Any = compute_functions  # its functions are made when it is imported

    if pyarrow.types.is_struct(column.type):
        return max((_longest(part) for part in column.flatten()), default=0)
    texts = column.dictionary if pyarrow.types.is_dictionary(column.type) else column
    is_text = pyarrow.types.is_string(texts.type) or pyarrow.types.is_large_string(texts.type)
    is_text = is_text or pyarrow.types.is_binary(texts.type) or pyarrow.types.is_large_binary(texts.type)
    return (compute.max(compute.binary_length(texts)).as_py() or 0) if is_text else 0


def _row(batch: Any, number: int) -> dict[str, Any] | Fault:
    try:
        return batch.slice(number, 1).to_pylist()[0]
    except UnicodeDecodeError:
        return Fault("a text that is not UTF-8")


def _without_faults(
    rows: Iterator[tuple[int, dict[str, Any] | Fault]], faults: Faults
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, row in rows:
        if isinstance(row, Fault):
            faults.add(number, row)
        else:
            yield number, row


def _read_xlsx(path: Path, columns: Columns, reading: Reading) -> Records:
    """Rows of a workbook."""
    with (
        reading.faults(path, "row") as faults,
        _seekable(path, reading) as file,
        closing(read_cells(path, file, reading)) as rows,
    ):
        yield from select(path, rows, columns, reading, faults)


def _read_tmx(path: Path, columns: Columns, reading: Reading) -> Records:
    """Translation units."""
    if len(columns.by_name) > 2 or not columns.are_languages:
        raise UserError(f"{path}: TMX files have two languages, but no other columns or groups: leave these out")
    languages = [
        name if language_of(name) is not None or place >= len(columns.names) else columns.names[place]
        for place, name in enumerate(columns.by_name)
    ]
    return read_tmx(path, languages, reading)


class RecordError(UserError):
    """What is wrong with one record of many."""

    def __init__(self, place: str, reason: str, *, is_missing: bool = False) -> None:
        super().__init__(f"{place}: {reason}")
        self.reason = reason
        self.is_missing = is_missing


def record_texts(record: Mapping[str, object], columns: Columns, place: str) -> list[str]:
    """The wanted texts of a record, or of the record under its key `translation`, where the hub has them.

    Nothing (null) is an empty text. Raises RecordError for a key that is not there, and for a value that is no text.
    """
    nested = record.get(NESTED)
    known = {**record, **(nested if isinstance(nested, Mapping) else {})}
    exact = columns.by_name
    found = exact if all(name in known for name in exact) else columns.find(known, place)
    if None in found:
        values = [value if isinstance(value, str) else json.dumps(value, default=str)[:80] for value in known.values()]
        proposal = proposed(list(known), [values], columns, header=True) if columns.names else ""
        raise RecordError(place, missing(exact[found.index(None)], known) + proposal, is_missing=True)
    return [_record_text(known[column], column, columns, place) for column in found if column is not None]


def _record_text(value: object, column: str, columns: Columns, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and not columns.are_languages:
        return str(value)
    if not isinstance(value, str):
        shown = quote(json.dumps(value, default=str), 80)
        is_wrong = (
            f" is not a text but {shown}" if columns.are_languages else f": {shown} is neither a text nor a number"
        )
        raise RecordError(place, f"{quote(column)}{is_wrong}")
    if fault := text_fault(value):
        raise RecordError(place, f"{quote(column)} {fault}")
    return value


NESTED = "translation"
"""Key of a record under which data sets of the hub keep one text a language."""

PARQUET_ROWS = 256
"""Rows that are in memory at once."""

FORMATS: dict[str, Callable[[Path, Columns, Reading], Records]] = {
    ".tsv": read_tsv,
    ".csv": read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".tmx": _read_tmx,
    ".parquet": _read_parquet,
    ".xlsx": _read_xlsx,
}
"""The reader of each format, by the suffix of the file."""
