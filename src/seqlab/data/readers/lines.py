"""Files on disk: where the config means them to be, their bytes and their lines.

Plain, `.gz`, `.xz` and `.zst` files are read alike, as UTF-8. Whatever is wrong with a file is a UserError that names
the file and, where there is one, the line (counted from 1).
"""

import gzip
import hashlib
import lzma
import os
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from seqlab.errors import UserError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSED = (".gz", ".xz", ".zst")

DATA_VARIABLE = "SEQLAB_DATA"
"""Environment variable that names the folder of the data, which so need not be in a recipe."""


def data_path(path: str, folder: Path | None) -> Path:
    """Where a path of `data` leads: a relative one starts at `folder`, else at SEQLAB_DATA, else at the current folder.

    Args:
        path: of a file or a folder, as the config has it.
        folder: `data.folder`; None where it is not set.
    """
    start = folder or Path(os.environ.get(DATA_VARIABLE, "."))
    return start.expanduser() / Path(path).expanduser()


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
            f"{error}; data.folder or {DATA_VARIABLE} names the folder that relative paths start at"
        ) from None


def find(path: Path) -> Path | None:
    """The file, or the same with `.gz`, `.xz` or `.zst` at its end; None when there is none of them."""
    candidates = (path.with_name(path.name + suffix) for suffix in ("", *COMPRESSED))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def format_suffix(path: Path) -> str:
    """What tells the format: `.tsv` of `pairs.TSV.gz`."""
    return Path(path.stem).suffix.lower() if _suffix(path) in COMPRESSED else _suffix(path)


def content_hash(path: Path) -> str:
    """A hash of the bytes of a file as they are on disk."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """The bytes of a file, decompressed. UserError when it is missing, cannot be read or is a broken archive."""
    try:
        with _open(path) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except EOFError:
        raise UserError(f"{path}: the archive is cut off; copy or download it again") from None
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstd.ZstdError) as error:
        raise UserError(f"{path}: not a sound {path.suffix} archive ({error}); copy or download it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends (`\\n` or `\\r\\n`) and without a byte order mark, lazily.

    Raises UserError: the file is missing, unreadable, empty, not UTF-8 (with the line), or a broken archive.
    """
    number = 0
    with opened(path) as file:
        try:
            for number, raw in enumerate(file, start=1):
                line = raw.removeprefix(BOM_UTF8) if number == 1 else raw
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise UserError(f"{path}:{number}: not UTF-8 text (byte 0x{byte:02x}); convert the file to UTF-8") from None
        except EOFError:
            raise UserError(f"{path}: the archive is cut off after line {number}; copy or download it again") from None
    if number == 0:
        raise UserError(f"{path}: the file is empty")


def _open(path: Path) -> BufferedIOBase:
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
