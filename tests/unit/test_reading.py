"""Bytes become texts: quotes, delimiters, encodings, bounds on memory, and lines that are bad."""

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from seqlab.data.corpora.parallel import ParallelCorpus, ParallelData
from seqlab.data.readers.columns import Columns
from seqlab.data.readers.lines import data_path, find, read_all, read_lines, zstd
from seqlab.data.readers.reading import Reading, ReadingConfig
from seqlab.data.readers.tables import read_aligned, read_table
from seqlab.errors import UserError

GUESSED = Columns(("en", "fr"), guessed=True, names=("en", "fr"))
SMALL = ReadingConfig(max_line_bytes=1000, max_file_bytes=5000)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def texts(path: Path, reading: Reading | None = None) -> list[tuple[str, ...]]:
    return [tuple(row) for _, row in read_table(path, GUESSED, reading=reading)]


def complaint(path: Path, config: ReadingConfig | None = None) -> str:
    with pytest.raises(UserError) as caught:
        texts(path, Reading(config or ReadingConfig()))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    return message.removeprefix(str(path))


# Quotes and delimiters

SPREADSHEET = '\ufeffen\tfr\r\n"He says ""hello"", friend."\tIl dit « bonjour ».\r\nA cat.\t"Un\tchat,\nici."\r\n'


def test_a_tsv_file_of_a_spreadsheet_is_quoted(tmp_path: Path) -> None:
    reading = Reading()
    path = write(tmp_path / "excel.tsv", SPREADSHEET)
    assert texts(path, reading) == [('He says "hello", friend.', "Il dit « bonjour »."), ("A cat.", "Un\tchat,\nici.")]
    assert list(reading.notes) == [
        "excel.tsv: cells in double quotes were read as quoted, as spreadsheets write them "
        "(data.reading.quoted=false keeps the quotation marks)"
    ]


def test_so_is_one_in_utf_16(tmp_path: Path) -> None:
    path = write(tmp_path / "unicode.txt.tsv", SPREADSHEET.removeprefix("\ufeff").encode("utf-16"))
    assert texts(path)[0] == ('He says "hello", friend.', "Il dit « bonjour ».")
    reading = Reading()
    assert texts(write(path, "en\tfr\na\tb\n".encode("utf-16")), reading) == [("a", "b")]
    assert not reading.notes


@pytest.mark.parametrize(
    "line",
    [
        '"Go," he said.\t"Va", dit-il.',  # closed before the end of the cell
        '"Go\tVa"',  # opened in one cell, closed in another
        'a "b\t"c"',  # a spreadsheet would have quoted the first cell too
        '"Go.\tVa.\nHi.\tSalut."',  # over two lines, which leaves one cell where there should be two
    ],
)
def test_quotes_of_speech_stay_in_the_text_and_are_told(tmp_path: Path, line: str) -> None:
    reading = Reading()
    path = write(tmp_path / "a.tsv", f"en\tfr\n{line}\n")
    assert texts(path, reading) == [tuple(row.split("\t")) for row in line.split("\n")]
    (note,) = reading.notes
    assert "begin with a quotation mark, which was kept as a part of the text (data.reading.quoted=true" in note


def test_a_setting_says_what_quotes_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'en\tfr\n"Go."\t"Va."\n')
    assert texts(path) == [("Go.", "Va.")]
    reading = Reading(ReadingConfig(quoted=False))
    assert texts(path, reading) == [('"Go."', '"Va."')]
    assert not reading.notes
    assert complaint(write(path, 'en\tfr\n"Go," I say\tVa\n'), ReadingConfig(quoted=True)).startswith(
        ":2: not valid CSV"
    )


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars"), (",", "commas")]
)
def test_cells_of_csv_stand_between_what_the_header_says(tmp_path: Path, separator: str, name: str) -> None:
    lines = ["en;fr", '"Go, ""now"".";"Va; vite."', "My house, a house.;Ma maison, une maison."]
    text = "\ufeff" + "\r\n".join(lines)
    if separator != ";":
        text = f'en{separator}fr\r\n"Go{separator} ""now"".";"Va; vite."'.replace('";"', f'"{separator}"')
    reading = Reading()
    found = texts(write(tmp_path / "a.csv", text), reading)
    assert found[0] == (f'Go{"," if separator == ";" else separator} "now".', "Va; vite.")
    assert list(reading.notes) == ([] if separator == "," else [f"a.csv: read as cells between {name}"])


def test_the_first_line_of_a_spreadsheet_may_name_the_separator(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.csv", "sep=;\r\nen;fr\r\na, b;c\r\n")) == [("a, b", "c")]


def test_a_csv_without_a_header_has_the_separator_that_all_lines_have(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "Go, now.;Va.\nHi.;Salut, toi, là.\n")
    assert texts(path) == [("Go, now.", "Va."), ("Hi.", "Salut, toi, là.")]


def test_cells_longer_than_the_csv_module_likes_are_read(tmp_path: Path) -> None:
    long = "x" * 200_000
    assert texts(write(tmp_path / "a.csv", f'en,fr\n"{long}",b\n')) == [(long, "b")]
    assert (
        complaint(tmp_path / "a.csv", SMALL)
        == ":2: longer than 1,000 bytes; data.reading.max_line_bytes sets the limit"
    )
    cell = "x" * 400 + "\n"
    assert complaint(write(tmp_path / "b.csv", f'en,fr\n"{cell * 3}",b\n'), SMALL).startswith(":2: longer than 1,000")


def test_a_quote_that_is_never_closed_is_told_where_it_opens(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'en,fr\na,b\n"c,d\ne,f\n')
    captured = ":3: not valid CSV: a quotation mark is never closed"
    assert complaint(path) == captured
    with pytest.raises(UserError, match="never closed"):
        texts(path, Reading(on_error="skip"))  # who knows how many lines it would be


# Formats by content


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.data"])
def test_json_lines_are_told_by_what_they_hold(tmp_path: Path, name: str) -> None:
    lines = [json.dumps({"translation": {"en": f"a{n}", "fr": f"b{n}"}}) for n in range(3)]
    assert texts(write(tmp_path / name, "\n".join(lines))) == [("a0", "b0"), ("a1", "b1"), ("a2", "b2")]


@pytest.mark.parametrize("indent", [None, 2])
def test_json_arrays_are_read_alone_and_inside_a_document(tmp_path: Path, indent: int | None) -> None:
    records = [{"EN": "a", "French": "b"}, {"EN": "c", "French": None}]
    for document in (records, {"version": 1, "rows": records}):
        path = write(tmp_path / "a.json", json.dumps(document, indent=indent))
        assert texts(path) == [("a", "b"), ("c", "")]
    assert complaint(write(tmp_path / "a.json", '[{"en": "a", "fr": "b"}, {"en": 1, "fr": "b"}, 7]')) == (
        ": 2 bad records: record 2: en is not a text but 1; record 3: not a JSON object: write for example "
        '{"en": "...", "fr": "..."}'
    )
    assert complaint(write(tmp_path / "a.json", "[")).startswith(": not valid JSON (")


@pytest.mark.parametrize(
    ("start", "captured"),
    [
        (
            b"PK\x03\x04rest",
            ": is a workbook (XLSX, ODS) or a zip archive: save its table as CSV (UTF-8), or unpack it",
        ),
        (b"\xd0\xcf\x11\xe0rest", ": is a workbook or another document: save its table as CSV (UTF-8)"),
        (b"%PDF-1.4", ": is a PDF document"),
        (b"\x1f\x8b\x08", ": is a gzip archive: add .gz to its name"),
    ],
)
@pytest.mark.parametrize("name", ["a.xlsx", "a.csv", "a.tsv", "a.jsonl", "a.tmx"])
def test_what_is_no_text_is_told_by_its_first_bytes(tmp_path: Path, name: str, start: bytes, captured: str) -> None:
    if name == "a.xlsx" and start.startswith(b"PK"):
        captured = ": not a valid workbook"
    assert complaint(write(tmp_path / name, start + bytes(range(200)))).startswith(captured)


# Encodings

RUSSIAN = "en\tfr\r\nA cat.\tКот.\r\nA house.\tДом.\r\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.tsv", RUSSIAN.encode(encoding))
    assert texts(path) == [("A cat.", "Кот."), ("A house.", "Дом.")]


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "utf-16-le", "gb18030"])
def test_a_setting_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.csv", RUSSIAN.replace("\t", ";").encode(encoding))
    assert texts(path, Reading(ReadingConfig(encoding=encoding))) == [("A cat.", "Кот."), ("A house.", "Дом.")]


def test_what_is_not_in_the_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "latin1.csv", "en,fr\nsister,s\x9cur\nbrother,frère\n".encode("latin-1"))
    assert complaint(path) == (
        ": 2 bad lines: line 2: not UTF-8 text (byte 0x9c); line 3: not UTF-8 text (byte 0xe8); "
        'convert the file to UTF-8, or name its encoding, for example data.reading.encoding="cp1252"'
    )
    assert texts(path, Reading(ReadingConfig(encoding="cp1252"))) == [("sister", "sœur"), ("brother", "frère")]
    assert complaint(path, ReadingConfig(encoding="ascii")).startswith(":2: not ascii text")
    with pytest.raises(UserError, match=r":2: not UTF-8 text \(byte 0x9c\); convert the file to UTF-8"):
        list(read_lines(path))


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13", "", "utf-8\0"])
def test_encodings_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is not an encoding of text"):
        ReadingConfig(encoding=name)


# Translation memories


def memory(text: str, declared: str, encoding: str | None = None, head: str = "") -> bytes:
    unit = f'<tu><tuv xml:lang="EN-US"><seg>x</seg></tuv><tuv xml:lang="fr"><seg>{text}</seg></tuv></tu>'
    return f'<?xml version="1.0" encoding="{declared}"?>{head}<tmx><body>{unit}</body></tmx>'.encode(
        encoding or declared
    )


@pytest.mark.parametrize("head", ["", '<!DOCTYPE tmx SYSTEM "tmx14.dtd">'])
def test_named_characters_of_html_are_decoded_in_memories(tmp_path: Path, head: str) -> None:
    path = write(
        tmp_path / "a.tmx", memory("caf&eacute;, &nbsp;<hi>&Omega;</hi> &amp; <ph>&eacute;</ph>x", "utf-8", head=head)
    )
    assert texts(path) == [("x", "café, \xa0Ω & x")]
    assert complaint(write(path, memory("a\n&nope;", "utf-8", head=head))) == (
        ':2: the entity "&nope;" is not known: write the character itself'
    )


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gbk", "你好"),
        ("shift_jis", "日本"),
        ("utf-7", "é + ü"),
        ("iso-8859-15", "€"),
        ("windows-1252", "œ"),
        ("utf-16", "é"),
    ],
)
def test_memories_are_read_in_the_encoding_that_they_declare(tmp_path: Path, encoding: str, text: str) -> None:
    assert texts(write(tmp_path / "a.tmx", memory(text, encoding))) == [("x", text)]


def test_memories_of_unknown_encodings_are_refused_in_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tmx", memory("a", "klingon", "utf-8"))
    assert complaint(path).startswith(':1: the encoding "klingon" is not known: convert the file to UTF-8, or name its')
    assert texts(path, Reading(ReadingConfig(encoding="utf-8"))) == [("x", "a")]
    assert complaint(write(path, memory("é", "gbk", "latin-1"))).startswith(":1: not gbk text (")


def test_a_memory_with_other_names_of_the_languages(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tmx", memory("y", "utf-8"))
    for source, target in (("en", "fr"), ("English", "French"), ("EN-us", "fr-CA"), ("eng", "fra")):
        columns = Columns((source, target), names=(source, target))
        assert [tuple(row) for _, row in read_table(path, columns)] == [("x", "y")]
    by_number = Columns((1, 2), names=("en", "fr"))
    assert [tuple(row) for _, row in read_table(path, by_number)] == [("x", "y")]
    with pytest.raises(UserError, match=r"no text in en-GB; the languages are EN-US, fr: name them in data\.source"):
        list(read_table(path, Columns(("en-GB", "fr"), names=("en-GB", "fr"))))


# Bounds


@pytest.mark.parametrize("packing", COMPRESS)
@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.json", "a.tmx"])
def test_a_line_without_end_is_refused(tmp_path: Path, name: str, packing: str) -> None:
    path = write(tmp_path / f"{name}{packing}", COMPRESS[packing](b"<!-- " * (name == "a.tmx") + b"x" * 2_000_000))
    captured = complaint(path)
    if name == "a.json":
        assert captured.startswith(": not valid JSON")
    else:
        assert captured.endswith("longer than 1,048,576 bytes; data.reading.max_line_bytes sets the limit")


@pytest.mark.parametrize("packing", COMPRESS)
def test_a_file_that_is_read_as_a_whole_is_no_longer_than_the_bound(tmp_path: Path, packing: str) -> None:
    path = write(tmp_path / f"a.json{packing}", COMPRESS[packing](b"[" + b" " * 4999))
    with pytest.raises(UserError, match=r"more than 5,000 bytes.*data\.reading\.max_file_bytes sets the limit"):
        read_all(write(tmp_path / f"b.json{packing}", COMPRESS[packing](b"[" + b" " * 5000)), SMALL)
    assert len(read_all(path, SMALL)) == 5000


@pytest.mark.parametrize(
    "inside",
    [
        "y" * 3000,
        "<hi>y</hi>" * 300,
        '<hi x="' + "y" * 200_000 + '"/>',
        "<hi>" * 1500,
    ],
)
def test_a_translation_unit_is_no_longer_than_a_line(tmp_path: Path, inside: str) -> None:
    captured = complaint(write(tmp_path / "a.tmx", memory(inside, "utf-8")), SMALL)
    assert "longer than 1,000 bytes" in captured


def test_memories_are_not_nested_for_ever(tmp_path: Path) -> None:
    captured = complaint(write(tmp_path / "a.tmx", "<a>" * 100_000))
    assert captured == ":1: more than 1,000 elements inside each other"


def test_parquet_is_bounded_too(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files need pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"en": ["x" * 2000] * 1000, "fr": ["y"] * 1000}), path)
    long = ReadingConfig(max_line_bytes=1000, max_file_bytes=50_000)
    assert complaint(path, long) == ": longer than 1,000 bytes; data.reading.max_line_bytes sets the limit"
    parquet.write_table(pyarrow.table({"translation": [{"en": "x" * 2000, "fr": "y"}]}), path)
    assert complaint(path, long) == ": longer than 1,000 bytes; data.reading.max_line_bytes sets the limit"
    parquet.write_table(pyarrow.table({"en": [f"{n}" for n in range(1000)], "fr": ["y"] * 1000}), path)
    assert complaint(path, SMALL).startswith(": row group 1 has more than 5,000 bytes: write smaller ones;")
    packed = write(tmp_path / "a.parquet.gz", gzip.compress(path.read_bytes()))
    assert complaint(packed, SMALL).startswith(": more than 5,000 bytes")
    assert len(texts(packed)) == len(texts(path)) == 1000


def test_rows_of_parquet_that_are_no_text(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files need pyarrow")
    from pyarrow import parquet

    bad = pyarrow.array([b"a", b"\xff", b"c"]).view(pyarrow.utf8())
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"en": bad, "fr": ["x", "y", "z\0"]}), path)
    assert complaint(path) == (
        ": 2 bad rows: row 2: a text that is not UTF-8; row 3: fr contains a NUL byte, which is not a character"
    )
    assert texts(path, Reading(on_error="skip")) == [("a", "x")]


# Odd texts and paths


@pytest.mark.parametrize(
    ("name", "content", "captured"),
    [
        (
            "a.jsonl",
            '{"en": "\\ud800", "fr": "b"}',
            ":1: en contains half of a surrogate pair, which is not a character",
        ),
        ("a.jsonl", '{"en": "a\\u0000", "fr": "b"}', ":1: en contains a NUL byte, which is not a character"),
        ("a.jsonl", "[" * 100_000, ":1: not valid JSON (nested too deep)"),
        ("a.json", "[" * 100_000, ": not valid JSON (nested too deep)"),
        ("a.json", '{"a":' * 100_000, ": not valid JSON (nested too deep)"),
        ("a.jsonl", '{"en": ' + "9" * 5000 + "}", ":1: not valid JSON (Exceeds the limit"),
        ("a.tsv", "en\tfr\na\0\tb\n", ":2: holds a NUL byte: is this a text file?"),
        ("a.tsv", "e\x1b[31mn\tx\ty\n", ":1: the first line names neither en nor fr and has 3 columns: e [31mn, x, y"),
    ],
)
def test_odd_texts_are_told_in_one_line(tmp_path: Path, name: str, content: str, captured: str) -> None:
    assert complaint(write(tmp_path / name, content)).startswith(captured)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a folder, not a file"):
        texts(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        list(read_lines(Path("a\0b.tsv")))
    assert find(Path("x" * 300)) is None
    assert find(tmp_path) is None
    with pytest.raises(UserError, match="File name too long"):
        list(read_lines(tmp_path / ("x" * 300)))
    with pytest.raises(UserError, match="no such home folder"):
        data_path("~nobody-has-this-name/a.tsv", None)


# Bad lines


def pairs(path: Path) -> Path:
    lines = [f"sentence number {n}\tphrase numéro {n}" for n in range(40)]
    lines[4] = "no tab"
    lines[30] += "\tone too many"
    return write(path, "\n".join(["en\tfr", *lines]))


def corpus(path: Path, **settings: object) -> ParallelCorpus:
    return ParallelCorpus(ParallelData.model_validate({"source": "en", "target": "fr", "train": str(path), **settings}))


BAD = "line 6: 1 columns, but the first line has 2; line 32: 3 columns, but the first line has 2"


def test_all_bad_lines_are_told_in_one_message(tmp_path: Path) -> None:
    path = pairs(tmp_path / "pairs.tsv")
    with pytest.raises(UserError) as caught:
        corpus(path).splits()
    assert str(caught.value) == f"{path}: 2 bad lines: {BAD}; data.on_error=skip leaves such lines out"


@pytest.mark.parametrize("streaming", [False, True])
def test_bad_lines_are_left_out_and_counted_where_that_is_wanted(tmp_path: Path, streaming: bool) -> None:
    more = {"streaming": True, "cache": tmp_path / "cache"} if streaming else {}
    found = corpus(pairs(tmp_path / "pairs.tsv"), on_error="skip", **more)
    assert sum(map(len, found.splits().values())) == 38
    assert f"pairs.tsv: 2 bad lines left out: {BAD}" in found.remarks()


def test_the_first_twenty_bad_lines_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "en\tfr\na\tb\n" + "bad\n" * 50)
    listed = ", ".join(map(str, range(3, 23)))
    assert complaint(path) == f": 50 bad lines: lines {listed}: 1 columns, but the first line has 2; and 30 more"
    assert complaint(write(path, "en\tfr\na\tb\n" + "bad\n" * 5000)).startswith(
        ": at least 1,000 bad lines: lines 3, 4"
    )


def test_a_bad_line_is_left_out_of_all_line_aligned_files(tmp_path: Path) -> None:
    source = write(tmp_path / "a.en", "one\ntwo\nthree\n")
    target = write(tmp_path / "a.fr", b"un\n\xff\ntrois\n")
    reading = Reading(on_error="skip")
    assert list(read_aligned(source, target, reading=reading)) == [(1, ("one", "un")), (3, ("three", "trois"))]
    assert list(reading.notes) == ["a.en: 1 bad line left out: line 2: not UTF-8 text (byte 0xff) (in a.fr)"]
    with pytest.raises(UserError, match=r"a.en:2: not UTF-8 text \(byte 0xff\) \(in a.fr\); convert"):
        list(read_aligned(source, target))
