"""Files on disk: where the config means them to be, their bytes and their lines.

Plain, `.gz`, `.xz` and `.zst` files are read alike. Every reader gets its bytes here, and no more of them at once than
`ReadingConfig` allows: an archive of a few megabytes may hold gigabytes. Whatever is wrong with a file is a UserError
that names the file and, where there is one, the line (counted from 1).
"""

import codecs
import gzip
import lzma
import os
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from io import BufferedIOBase
from itertools import chain
from pathlib import Path

from seqlab.data.readers.reading import DEFAULT, ENCODING_ADVICE, NOT_UTF8, Fault, ReadingConfig, quote, text_fault
from seqlab.errors import UserError
from seqlab.runs.checksums import sha256

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSED = (".gz", ".xz", ".zst")

BLOCK = 1 << 16
"""Bytes that are read at once of a file that has no lines."""

MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Byte order marks; that of UTF-32 begins like one of UTF-16."""

WORKBOOK = "a workbook or another document: save its table as CSV (UTF-8)"

BINARY = {
    b"\x1f\x8b": "a gzip archive: add .gz to its name",
    b"\xfd7zXZ\0": "an xz archive: add .xz to its name",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive: add .zst to its name",
    b"BZh": "a bzip2 archive: unpack it",
    b"PK\x03\x04": "a workbook (XLSX, ODS) or a zip archive: save its table as CSV (UTF-8), or unpack it",
    b"\xd0\xcf\x11\xe0": WORKBOOK,
    b"%PDF": "a PDF document: save its text, or its table as CSV (UTF-8)",
    b"PAR1": "a Parquet file: end its name in .parquet",
}
"""What files are that are no text, by their first bytes, and what to do with them."""

DATA_VARIABLE = "SEQLAB_DATA"
"""Environment variable that names the folder of the data, which so need not be in a recipe."""


def data_path(path: str, folder: Path | None) -> Path:
    """Where a path of `data` leads: a relative one starts at `folder`, else at SEQLAB_DATA, else at the current folder.

    Args:
        path: of a file or a folder, as the config has it.
        folder: `data.folder`; None where it is not set.
    """
    start = folder or Path(os.environ.get(DATA_VARIABLE, "."))
    try:
        return start.expanduser() / Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: no such home folder") from None


@contextmanager
def folder_hint(named: object) -> Iterator[None]:
    """Adds to a UserError that is raised inside how to say where relative paths start.

    Not where that would not help: `named` or SEQLAB_DATA says it, or the path that the message begins with is absolute.
    """
    try:
        yield
    except UserError as error:
        if named or DATA_VARIABLE in os.environ or Path(str(error)).is_absolute():
            raise
        raise UserError(
            f"{error}; set data.folder or {DATA_VARIABLE} to the folder that relative paths start at"
        ) from None


def find(path: Path) -> Path | None:
    """The file, or the same with `.gz`, `.xz` or `.zst` at its end; None when there is none of them."""
    candidates = (path.parent / (path.name + suffix) for suffix in ("", *COMPRESSED))
    return next((candidate for candidate in candidates if is_file(candidate)), None)


def existing(path: Path) -> Path:
    """The file that `find` finds; UserError when there is none."""
    if found := find(path):
        return found
    raise not_found(path)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def not_found(path: Path) -> UserError:
    """What is said of a path where a file should be and is not."""
    is_folder = os.path.isdir(path)  # noqa: PTH112 - a name that no file can have is no folder, and no error
    return UserError(f"{quote(str(path), 300)}: {'a folder, not a file' if is_folder else 'no such file'}")


def format_suffix(path: Path) -> str:
    """What tells the format: `.tsv` of `pairs.TSV.gz`."""
    return Path(path.stem).suffix.lower() if _suffix(path) in COMPRESSED else _suffix(path)


def content_hash(path: Path) -> str:
    """A hash of the bytes of a file as they are on disk."""
    try:
        return sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """The bytes of a file, decompressed. UserError when it is missing, cannot be read or is a broken archive."""
    try:
        with _open(path) as file:
            yield file
    except (FileNotFoundError, IsADirectoryError):
        raise not_found(path) from None
    except EOFError:
        raise UserError(f"{path}: the archive is truncated; copy or download it again") from None
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstd.ZstdError) as error:
        raise UserError(f"{path}: not a valid {path.suffix} archive ({error}); copy or download it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_all(path: Path, config: ReadingConfig = DEFAULT) -> bytes:
    """All bytes of a file that can only be read as a whole; UserError when there are more than `max_file_bytes`."""
    with opened(path) as file:
        content = bytearray()
        while block := file.read(min(BLOCK, config.max_file_bytes + 1 - len(content))):
            content += block
    if len(content) > config.max_file_bytes:
        raise UserError(
            f"{path}: more than {config.max_file_bytes:,} bytes, and this format is read into memory: "
            "JSON lines (.jsonl) are not; data.reading.max_file_bytes sets the limit"
        )
    return bytes(content)


def read_lines(path: Path, config: ReadingConfig = DEFAULT) -> Iterator[str]:
    """The lines of a text file without their ends (`\\n` or `\\r\\n`) and without a byte order mark, lazily.

    Raises UserError: the file is missing, unreadable, empty, not text (with the line), or a broken archive.
    """
    with closing(scan_lines(path, config)) as lines:
        for number, line in enumerate(lines, start=1):
            if isinstance(line, Fault):
                raise UserError(f"{path}:{number}: {line}{ENCODING_ADVICE * line.startswith(NOT_UTF8)}")
            yield line


def scan_lines(path: Path, config: ReadingConfig = DEFAULT) -> Generator[str]:
    """The same, with a `Fault` in the place of every line that is no text, for those who can do without it.

    Raises UserError for what ends the reading: the file is missing, empty, an archive by mistake or a broken one, or
    has a line longer than `max_line_bytes`. Who may stop before the end closes it: the file is open until then.
    """
    with opened(path) as file:
        blocks = iter(partial(file.readline, config.max_line_bytes + 1), b"")
        try:
            first = next(blocks, b"")
        except EOFError:
            raise _cut_off(path, 0) from None
        if not first:
            raise UserError(f"{path}: the file is empty")
        refuse_binary(path, first)
        encoding = config.encoding or marked_encoding(first)
        if encoding is None:
            yield from _lines_of_utf8(path, chain([first], blocks), config)
        else:
            yield from _lines(path, chain([first], blocks), encoding, config)


def _lines_of_utf8(path: Path, lines: Iterator[bytes], config: ReadingConfig) -> Iterator[str]:
    number, longest = 0, config.max_line_bytes
    try:
        for number, raw in enumerate(lines, start=1):
            if len(raw) > longest and not raw.endswith(b"\n"):
                raise too_long(f"{path}:{number}", config)
            if number == 1:
                raw = raw.removeprefix(BOM_UTF8)
            try:
                text = raw.removesuffix(b"\n").removesuffix(b"\r").decode()
            except UnicodeDecodeError as error:
                yield Fault(f"{NOT_UTF8} (byte 0x{error.object[error.start]:02x})")
                continue
            yield Fault("holds a NUL byte: is this a text file?") if "\0" in text else text
    except EOFError:
        raise _cut_off(path, number) from None


def _lines(path: Path, blocks: Iterator[bytes], encoding: str, config: ReadingConfig) -> Iterator[str]:
    """Lines in any encoding. What comes after bytes that are not in it is unknown, so these end the reading."""
    number, rest = 0, ""
    try:
        for text in decoded(path, blocks, encoding):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                number += 1
                yield _checked(line.removesuffix("\r"))
            if len(rest) > config.max_line_bytes:
                raise too_long(f"{path}:{number + 1}", config)
    except EOFError:
        raise _cut_off(path, number) from None
    if rest:
        yield _checked(rest)


def _cut_off(path: Path, number: int) -> UserError:
    return UserError(f"{path}: the archive is truncated after line {number}; copy or download it again")


def _checked(line: str) -> str:
    fault = text_fault(line)
    return Fault(fault) if fault else line


def decoded(path: Path, blocks: Iterator[bytes], encoding: str) -> Iterator[str]:
    """The text of blocks of bytes, without a byte order mark; UserError with the line that was reached."""
    decoder = codecs.getincrementaldecoder(encoding)()
    number, start = 1, True
    for block in chain(blocks, [None]):
        try:
            text = decoder.decode(block or b"", block is None)
        except UnicodeError as error:
            raise UserError(f"{path}:{number}: not {quote(encoding)} text ({quote(str(error), 100)})") from None
        yield text.removeprefix("\ufeff") if start else text
        start = start and not text
        number += text.count("\n")


def too_long(place: str, config: ReadingConfig) -> UserError:
    """What is said of a line, or what stands for one, over the bound."""
    return UserError(
        f"{place}: longer than {config.max_line_bytes:,} bytes; data.reading.max_line_bytes sets the limit"
    )


def marked_encoding(start: bytes) -> str | None:
    """The encoding that a byte order mark at the start of a file tells; None for UTF-8 or no mark."""
    return next((name for mark, name in MARKS.items() if start.startswith(mark)), None)


def refuse_binary(path: Path, start: bytes) -> None:
    """Raises UserError for a file whose first bytes tell that it is no text, and what to do with it."""
    for magic, what in BINARY.items():
        if start.startswith(magic):
            raise UserError(f"{path}: is {what}")


def _open(path: Path) -> BufferedIOBase:
    if "\0" in str(path):
        raise not_found(path)
    match _suffix(path):
        case ".gz":
            return gzip.open(path, "rb")
        case ".xz":
            return lzma.open(path, "rb")
        case ".zst":
            return zstd.open(path, "rb")
        case _:
            return path.open("rb")


def _suffix(path: Path) -> str:
    return path.suffix.lower()
