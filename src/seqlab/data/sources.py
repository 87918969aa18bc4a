"""How do text files on disk become lines and examples?

Plain, `.gz` and `.xz` files are read alike, as UTF-8. Whatever is wrong with a file is a UserError that names the file
and, where there is one, the line (counted from 1).
"""

import gzip
import lzma
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

from seqlab.data.examples import Example
from seqlab.errors import UserError

COMPRESSED = (".gz", ".xz")


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends (`\\n` or `\\r\\n`) and without a byte order mark, lazily.

    Raises UserError: the file is missing, unreadable, empty, not UTF-8 (with the line), or a broken archive.
    """
    number = 0
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, start=1):
                line = raw.removeprefix(BOM_UTF8) if number == 1 else raw
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(f"{path}:{number}: not UTF-8 text (byte 0x{byte:02x}); convert the file to UTF-8") from None
    except EOFError:
        raise UserError(f"{path}: the archive is cut off after line {number}; copy or download it again") from None
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise UserError(f"{path}: not a sound {path.suffix} archive ({error}); copy or download it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if number == 0:
        raise UserError(f"{path}: the file is empty")


def read_pairs(path: Path) -> list[Example]:
    """The examples of a file: `question<TAB>answer` lines in `.tsv`, `.tsv.gz` or `.tsv.xz`, else alternating lines.

    Raises UserError with file and line for a pair that is not whole, and all that `read_lines` raises.
    """
    uncompressed = path.with_suffix("") if _suffix(path) in COMPRESSED else path
    return _read_columns(path) if _suffix(uncompressed) == ".tsv" else read_questions(path)


def read_questions(path: Path) -> list[Example]:
    """The examples of a file with a question on one line and its answer on the next, strictly alternating.

    Raises UserError with file and line for a question without an answer and for a blank line.
    """
    examples: list[Example] = []
    question: str | None = None
    number = 0
    for number, line in enumerate(read_lines(path), start=1):
        if question is None:
            question = _filled(line, "question", path, number)
        else:
            examples.append(Example(question, _filled(line, "answer", path, number)))
            question = None
    if question is not None:
        raise UserError(f"{path}:{number}: the question has no answer (which stands on the line after it)")
    return examples


def _read_columns(path: Path) -> list[Example]:
    examples: list[Example] = []
    for number, line in enumerate(read_lines(path), start=1):
        columns = line.split("\t")
        if len(columns) != 2:
            raise UserError(f"{path}:{number}: {len(columns) - 1} tabs, not one: write question<TAB>answer")
        question, answer = columns
        examples.append(Example(_filled(question, "question", path, number), _filled(answer, "answer", path, number)))
    return examples


def _filled(text: str, name: str, path: Path, number: int) -> str:
    if not text.strip():
        raise UserError(f"{path}:{number}: the {name} is blank")
    return text


def _open(path: Path) -> BufferedIOBase:
    match _suffix(path):
        case ".gz":
            return gzip.open(path, "rb")
        case ".xz":
            return lzma.open(path, "rb")
        case _:
            return path.open("rb")


def _suffix(path: Path) -> str:
    return path.suffix.lower()
