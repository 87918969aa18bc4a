"""Lines of cells: between tabs, commas or semicolons, in quotes or not."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import chain, islice
from pathlib import Path

from seqlab.data.readers.columns import SAMPLE, Columns, find_column, locate
from seqlab.data.readers.lines import BLOCK, marked_encoding, opened, scan_lines, too_long
from seqlab.data.readers.reading import Fault, Faults, Reading, ReadingConfig, quote
from seqlab.errors import UserError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

QUOTE = '"'

INVALID = "not valid CSV"

Cells = Iterator[tuple[int, Sequence[str]]]
"""The number of a line, and its cells."""


def read_tsv(path: Path, columns: Columns, reading: Reading) -> Cells:
    """The wanted cells between tabs.

    Double quotes are part of a text, unless every cell that begins with one is quoted as spreadsheets do: closed at its
    end, and doubled inside.
    """
    with reading.faults(path) as faults:
        quoted = _is_quoted_tsv(path, reading)
        cells = _quoted_cells(path, "\t", reading, faults) if quoted else _plain_cells(path, reading, faults)
        yield from select(path, cells, columns, reading, faults)


def read_csv(path: Path, columns: Columns, reading: Reading) -> Cells:
    """The wanted cells between commas (or semicolons, or tabs); those in double quotes may hold anything."""
    with reading.faults(path) as faults:
        delimiter = _delimiter(path, columns, reading)
        if delimiter != ",":
            reading.note(f"{path.name}: read as cells between {DELIMITERS[delimiter]}")
        yield from select(path, _quoted_cells(path, delimiter, reading, faults), columns, reading, faults)


def _plain_cells(path: Path, reading: Reading, faults: Faults) -> Cells:
    stray = width = 0
    with closing(scan_lines(path, reading.config)) as lines:
        for number, line in enumerate(lines, start=1):
            if isinstance(line, Fault):
                faults.add(number, line)
            elif line or width == 1:  # a blank line is a row of a single column
                cells = line.split("\t")
                width = width or len(cells)
                if QUOTE in line:
                    stray += sum(cell.startswith(QUOTE) for cell in cells)
                yield number, cells
    if stray and reading.config.quoted is None:
        reading.note(
            f"{path.name}: {stray:,} cells begin with a quotation mark, which was kept as a part of the text "
            "(data.reading.quoted=true reads them as quoted cells)"
        )


def _quoted_cells(path: Path, delimiter: str, reading: Reading, faults: Faults) -> Cells:
    """Records of CSV with the number of the line that they end on.

    A record that is not valid is a bad line, but for a quote that is never closed: nobody can tell where it should be.
    """
    config = reading.config
    number = begin = width = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(scan, start=1):
            if isinstance(line, Fault):
                faults.add(number, line)
            elif not (number == 1 and line.casefold().startswith("sep=") and len(line) == len("sep=;")):
                yield f"{line}\n"

    csv.field_size_limit(config.max_line_bytes)  # of the module, for every reader
    with closing(scan_lines(path, config)) as scan:
        reader = csv.reader(lines(), delimiter=delimiter, strict=True)
        while True:
            begin = number + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                if "field limit" in str(error):
                    raise too_long(f"{path}:{begin}", config) from None
                if "unexpected end" in str(error):
                    raise UserError(f"{path}:{begin}: {INVALID}: a quotation mark is never closed") from None
                faults.add(number, f"{INVALID} ({quote(str(error), 100)})")
                continue
            if cells is None:
                return
            width = width or len(cells)
            if cells or width == 1:  # a blank line is a row of a single column
                yield number, cells or [""]


def select(path: Path, lines: Cells, columns: Columns, reading: Reading, faults: Faults) -> Cells:
    """The wanted cells of every line below the header, if there is one."""
    number, first = next(lines, (1, [""]))
    sample = list(islice(lines, SAMPLE))
    layout = locate(f"{path}:{number}", first, [cells for _, cells in sample], columns)
    if layout.note:
        reading.note(f"{path.name}: {layout.note}")
    if not layout.has_header:
        yield number, [first[position] for position in layout.positions]
    for number, cells in chain(sample, lines):
        if len(cells) != len(first):
            faults.add(number, f"{len(cells)} columns, but the first line has {len(first)}")
        else:
            yield number, [cells[position] for position in layout.positions]


def _delimiter(path: Path, columns: Columns, reading: Reading) -> str:
    """What stands between the cells of a CSV file: what gives all of the first lines the same number of cells, at least
    two, with the names of the wanted columns if possible; a comma where nothing does."""
    with closing(scan_lines(path, reading.config)) as scan:
        lines = [line for line in islice(scan, SAMPLE) if not isinstance(line, Fault)]
    if (
        lines
        and len(lines[0]) == len("sep=;")
        and lines[0].casefold().startswith("sep=")
        and lines[0][-1] in DELIMITERS
    ):
        return lines[0][-1]
    fits = []
    for delimiter in DELIMITERS:
        try:
            rows = [row for row in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter) if row]
        except csv.Error:
            continue
        if rows and len(rows[0]) > 1:
            names = sum(_is_there(name, rows[0], columns) for name in columns.by_name)
            whole = rows[:-1] if len(lines) == SAMPLE else rows  # the last one may continue below
            fits.append((names, all(len(row) == len(rows[0]) for row in whole), delimiter))
    return max(fits, key=lambda fit: fit[:2])[2] if fits else ","


def _is_there(name: str, first: Sequence[str], columns: Columns) -> bool:
    try:
        return find_column(name, first, "", languages=columns.are_languages) is not None
    except UserError:
        return True


def _is_quoted_tsv(path: Path, reading: Reading) -> bool:
    """Whether cells of a TSV file are quoted: there is one that begins with a quote, and all such are well-formed.

    Two cells that begin and end a piece of direct speech look like one that holds a tab or a line break, but that line
    has too few cells then.
    """
    if reading.config.quoted is not None:
        return reading.config.quoted
    if not _may_have_quoted_cells(path, reading.config):
        return False
    if not _is_well_quoted(path, reading):
        return False
    reading.note(
        f"{path.name}: cells in double quotes were read as quoted, as spreadsheets write them "
        "(data.reading.quoted=false keeps the quotation marks)"
    )
    return True


def _may_have_quoted_cells(path: Path, config: ReadingConfig) -> bool:
    """A quick look at the bytes: whether a cell begins with a double quote; True in an encoding that hides it."""
    if config.encoding is not None:
        return True
    last, run = b"\n", 0
    with opened(path) as file:
        while block := file.read(BLOCK):
            if run == 0 and marked_encoding(block):
                return True
            piece = last + block
            if b'\n"' in piece or b'\t"' in piece or piece.startswith(b'\n\xef\xbb\xbf"'):
                return True
            end = block.rfind(b"\n")
            run = run + len(block) if end < 0 else len(block) - end
            if run > config.max_line_bytes:
                return False  # what it will be refused for
            last = block[-1:]
    return False


def _is_well_quoted(path: Path, reading: Reading) -> bool:
    quotes, width, any_quoted = 0, None, False

    def lines() -> Iterator[str]:
        nonlocal quotes
        for line in scan:
            if not isinstance(line, Fault):
                quotes += line.count(QUOTE)
                yield f"{line}\n"

    csv.field_size_limit(reading.config.max_line_bytes)
    with closing(scan_lines(path, reading.config)) as scan, suppress(csv.Error):
        for cells in csv.reader(lines(), delimiter="\t", strict=True):
            width = width or len(cells)
            if len(cells) != width and any("\t" in cell or "\n" in cell for cell in cells):
                return False
            # a cell with quotes inside has each of them twice, and two around it; a cell without has two or none
            inside = [cell.count(QUOTE) for cell in cells]
            if quotes < sum(2 * count + 2 for count in inside if count):
                return False
            any_quoted |= quotes > 0
            quotes = 0
        return any_quoted
    return False
