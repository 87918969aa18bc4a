"""Damaged files: every reader gives records or says in one line what is wrong, and nothing else ever happens.

Valid small files are damaged in ways that a number decides, so that an input is known by its reader and its number.
`python tests/property/test_reader_fuzz.py 1000` tries so many for each reader and prints what came of them.
"""

import gzip
import json
import lzma
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zipfile import ZipFile, ZipInfo

import pytest

from seqlab.data.corpora.labelled import LabelledCorpus, LabelledData
from seqlab.data.corpora.passages import read_documents
from seqlab.data.corpora.question_files import read_pairs
from seqlab.data.corpora.squad import read_squad
from seqlab.data.readers.columns import Columns
from seqlab.data.readers.idx import read_idx
from seqlab.data.readers.lines import zstd
from seqlab.data.readers.reading import Reading, ReadingConfig
from seqlab.data.readers.tables import read_aligned, read_table
from seqlab.errors import UserError

INPUTS = 200
"""Damaged files of each reader."""

PATIENCE_S = 120
"""Seconds after which the inputs of a reader are taken for a hang; they need about one."""

PAIRS = [("A man.", "Un homme."), ("“Naïve”, he said", "« Naïf\u202f», dit-il"), ('a "b" & <c>', "x, y"), ("Go", "Va")]
COLUMNS = Columns(("en", "fr"), guessed=True, names=("en", "fr"))
SMALL = ReadingConfig(max_line_bytes=2000, max_file_bytes=20_000)
"""Bounds that damage can reach."""

ODD = [
    *(
        b"\0",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\r",
        b"\n",
        b"\r\n",
    ),
    *(b'"', b"\t", b",", b";", b"\\", b"\\ud800", b"\\u0000", b"[" * 3000, b"{" * 3000, b"9" * 5000, b"-1", b"1e999"),
    *(b"null", b"NaN", b"true", b"{}", b"[]", b'"":', b"<", b"&", b"&eacute;", b"&nope;", b"<seg>", b"</tu>", b"<!--"),
    *(
        b"]]>",
        b'<?xml version="1.0" encoding="gbk"?>',
        b'encoding="utf-7"',
        b"x" * 3000,
        b"\x1b[31m",
        b"PK\x03\x04",
        b"PAR1",
    ),
]
"""What is put into files: bytes that mean something somewhere."""


def table(separator: str, pairs: Sequence[tuple[str, str]] = PAIRS, quote: bool = True) -> bytes:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quote else text

    return "".join(separator.join(map(cell, pair)) + "\r\n" for pair in [("en", "fr"), *pairs]).encode()


def objects() -> list[dict[str, object]]:
    return [{"id": n, "en": en, "fr": fr, "label": n % 2} for n, (en, fr) in enumerate(PAIRS)]


def memory(encoding: str = "utf-8") -> bytes:
    escaped = [(en.replace("&", "&amp;").replace("<", "&lt;"), fr) for en, fr in PAIRS]
    units = "".join(
        f'<tu><tuv xml:lang="en"><seg>{en}</seg></tuv><tuv xml:lang="FR"><seg>{fr}&eacute;<hi>x</hi></seg></tuv></tu>\n'
        for en, fr in escaped
    )
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    return f"{head}<tmx><body>{units}</body></tmx>".encode(encoding, "xmlcharrefreplace")


def parquet() -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files need pyarrow")
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(objects()), sink)
    return sink.getvalue().to_pybytes()


def workbook() -> bytes:
    """Without compression, so that damage reaches the XML, and without the time."""
    openpyxl = pytest.importorskip("openpyxl", reason="XLSX files need openpyxl")
    book, saved, file = openpyxl.Workbook(), BytesIO(), BytesIO()
    for row in [("id", "en", "fr"), *((n, *pair) for n, pair in enumerate(PAIRS))]:
        book.active.append(row)
    book.save(saved)
    with ZipFile(saved) as archive, ZipFile(file, "w") as plain:
        for name in archive.namelist():
            if not name.startswith("docProps"):
                plain.writestr(ZipInfo(name), archive.read(name))
    return file.getvalue()


def questions(flat: bool) -> bytes:
    qa = {"id": "q", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    context = "Ada wrote notes in 1843."
    if flat:
        answers = {"text": ["Ada"], "answer_start": [0]}
        lines = [json.dumps({**qa, "id": str(n), "context": context, "answers": answers}) for n in range(4)]
        return "\n".join(lines).encode()
    qas = [{**qa, "id": str(n)} for n in range(4)]
    data = [{"title": "T", "paragraphs": [{"context": context, "qas": qas}]}]
    return json.dumps({"version": "1.1", "data": data}).encode()


def read_pairs_of(path: Path, reading: Reading) -> Iterable[object]:
    return (list(texts) for _, texts in read_table(path, COLUMNS, reading=reading))


def read_labelled(path: Path, reading: Reading) -> Iterable[object]:
    config = LabelledData(text="en", label="fr", train=str(path), reading=reading.config)
    return (list(example[::2]) for example in LabelledCorpus(config).read(path))


def read_questions_of(path: Path, reading: Reading) -> Iterable[object]:
    return ([question.id, question.question, question.context] for question in read_squad(path, reading.config)[0])


def read_text(path: Path, reading: Reading) -> Iterable[object]:
    return (list(document.paragraphs) for document in read_documents(path, 10, reading=reading.config))


def read_beside(path: Path, reading: Reading) -> Iterable[object]:
    other = path.with_suffix(".other")
    other.unlink(missing_ok=True)
    other.write_text("x\n" * 8, encoding="utf-8")
    return (list(texts) for _, texts in read_aligned(path, other, reading=reading))


def read_question_lines(path: Path, reading: Reading) -> Iterable[object]:
    return (list(example) for example in read_pairs(path))


def read_images(path: Path, reading: Reading) -> Iterable[object]:
    return read_idx(path, 3).tolist()


class Target(NamedTuple):
    """A reader, and a file that it reads."""

    name: str
    """of the file"""
    content: Callable[[], bytes]
    read: Callable[[Path, Reading], Iterable[object]] = read_pairs_of


def text() -> bytes:
    return "".join(f"{en}\n\n" for en, _ in PAIRS).encode()


TARGETS = {
    "tsv": Target("a.tsv", lambda: table("\t", quote=False)),
    "quoted-tsv": Target("a.tsv", lambda: table("\t")),
    "utf-16-tsv": Target("a.tsv", lambda: table("\t", quote=False).decode().encode("utf-16")),
    "csv": Target("a.csv", lambda: table(",")),
    "semicolon-csv": Target("a.csv", lambda: table(";")),
    "jsonl": Target("a.jsonl", lambda: "\n".join(map(json.dumps, objects())).encode()),
    "json": Target("a.json", lambda: json.dumps(objects(), indent=0).encode()),
    "unnamed": Target("a.txt", lambda: "\n".join(map(json.dumps, objects())).encode()),
    "tmx": Target("a.tmx", memory),
    "tmx-gbk": Target("a.tmx", lambda: memory("gbk")),
    "parquet": Target("a.parquet", parquet),
    "xlsx": Target("a.xlsx", workbook),
    "gz": Target("a.tsv.gz", lambda: gzip.compress(table("\t"), mtime=0)),
    "xz": Target("a.tsv.xz", lambda: lzma.compress(table("\t"))),
    "zst": Target("a.tsv.zst", lambda: zstd.compress(table("\t"))),
    "aligned": Target("a.en", text, read_beside),
    "labelled": Target("a.csv", lambda: table(","), read_labelled),
    "labelled-json": Target("a.json", lambda: json.dumps(objects()).encode(), read_labelled),
    "squad": Target("a.json", lambda: questions(flat=False), read_questions_of),
    "flat-squad": Target("a.jsonl", lambda: questions(flat=True), read_questions_of),
    "passages": Target("a.txt", text, read_text),
    "question-lines": Target("a.txt", lambda: b"What?\nThis.\nWho?\nAda.\n", read_question_lines),
    "idx": Target("a", lambda: struct.pack(">4B3I", 0, 0, 8, 3, 2, 3, 4) + bytes(24), read_images),
}


def damaged(content: bytes, random: Random) -> bytes:
    """The file with one to four kinds of damage."""
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(data) + 1)
        length = random.choice([1, 2, 10, 100, len(data)])
        match random.randrange(6):
            case 0 if data:
                data[place % len(data)] ^= 1 << random.randrange(8)
            case 1:
                del data[place:]
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + length]
            case 4:
                data[place:place] = random.choice(ODD)
            case _:
                data[place : place + 1] = bytes([random.randrange(256)])
    return bytes(data)


def outcome(target: Target, content: bytes, folder: Path, on_error: bool) -> str:
    """`read` or `refused`; anything else fails the test or raises."""
    path = folder / target.name
    path.unlink(missing_ok=True)  # some file systems wait for the disk when a file is overwritten
    path.write_bytes(content)
    try:
        records = list(target.read(path, Reading(SMALL, "skip" if on_error else None)))
    except UserError as error:
        message = str(error)
        assert message.isprintable(), message
        assert message.startswith(str(folder)), message
        return "refused"
    for record in records:
        for value in record if isinstance(record, list) else []:
            assert not isinstance(value, str) or "\0" not in value
            assert not isinstance(value, str) or value.encode() is not None
    return "read"


def outcomes(name: str, inputs: int, folder: Path) -> Iterator[str]:
    target = TARGETS[name]
    content = target.content()
    assert outcome(target, content, folder, False) == "read"
    for number in range(inputs):
        try:
            yield outcome(target, damaged(content, Random(f"{name} {number}")), folder, bool(number % 2))
        except Exception as error:
            raise AssertionError(f"input {number} of {name}: {type(error).__name__}: {error}") from error


@contextmanager
def patience(seconds: int) -> Iterator[None]:
    """Breaks off what hangs, where the system has such an alarm."""

    def raise_hang(*_: object) -> None:
        raise TimeoutError(f"no end after {seconds} seconds")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, raise_hang)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    with patience(PATIENCE_S):
        counts = Counter(outcomes(name, INPUTS, tmp_path))
    assert counts.total() == INPUTS
    assert counts["refused"] > 0


if __name__ == "__main__":
    for each in TARGETS:
        begin = time.perf_counter()
        with TemporaryDirectory() as directory, patience(100 * PATIENCE_S):
            found = Counter(outcomes(each, int(sys.argv[1]), Path(directory)))
        print(f"{each:15} {found['read']:6} read {found['refused']:6} refused {time.perf_counter() - begin:6.1f} s")
