"""Tables in workbooks (XLSX): the first sheet that is not empty."""

import datetime
import warnings
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from seqlab.data.readers.lines import BLOCK, refuse_binary
from seqlab.data.readers.reading import Reading, quote
from seqlab.errors import UserError

PARTS = "xl/workbook.xml"
"""The member of an archive that makes it a workbook."""


def is_workbook(path: Path) -> bool:
    """Whether a zip archive is an XLSX workbook."""
    try:
        with ZipFile(path) as archive:
            return PARTS in archive.namelist()
    except (OSError, BadZipFile):
        return False


def read_cells(path: Path, file: IO[bytes], reading: Reading) -> Generator[tuple[int, Sequence[str]]]:
    """The number and the cells of every row that is not empty, up to the last column of the first one.

    Numbers and dates are texts as Python writes them, formulas have the value that was saved. Raises UserError, which
    names `path`, where the file is no workbook, is larger than `max_file_bytes` when unpacked, or openpyxl is not
    installed.
    """
    try:
        import openpyxl
    except ModuleNotFoundError:
        raise UserError(f"{path}: XLSX files need openpyxl: pip install openpyxl, or save the table as CSV") from None
    if not is_zipfile(file):
        file.seek(0)
        if not (start := file.read(BLOCK)).startswith(b"PK"):
            refuse_binary(path, start)
        raise UserError(f"{path}: not a valid workbook: not a zip archive, or truncated")
    file.seek(0)
    try:
        _check_size(path, file, reading)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            yield from _rows(path, book, reading)
    except UserError:
        raise
    except Exception as error:  # damage comes as any of twenty exceptions of three libraries
        raise UserError(f"{path}: not a valid workbook ({quote(str(error) or type(error).__name__, 120)})") from None


def _check_size(path: Path, file: IO[bytes], reading: Reading) -> None:
    with ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > reading.config.max_file_bytes:
        raise UserError(
            f"{path}: {size:,} bytes when unpacked, more than {reading.config.max_file_bytes:,}; "
            "data.reading.max_file_bytes sets the limit"
        )


def _rows(path: Path, book: Any, reading: Reading) -> Iterator[tuple[int, Sequence[str]]]:
    for sheet in book.worksheets:
        width = 0
        for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
            cells = [_text(value) for value in values]
            if not any(cells):
                continue
            if not width:
                width = max(place for place, cell in enumerate(cells, start=1) if cell)
                if len(book.worksheets) > 1:
                    reading.note(f"{path.name}: read from its sheet {quote(sheet.title)}; the others are left out")
            filled = max(place for place, cell in enumerate(cells, start=1) if cell)
            yield number, [*cells, *[""] * (width - len(cells))][: max(width, filled)]
        if width:
            return
    raise UserError(f"{path}: the workbook is empty")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
