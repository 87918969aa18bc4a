"""Every format gives the texts that were written, and every fault is one line that names file and place."""

import csv
import gzip
import json
import lzma
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.data.readers.columns import Column, Columns
from seqlab.data.readers.lines import COMPRESSED, zstd
from seqlab.data.readers.tables import FORMATS, read_aligned, read_table
from seqlab.errors import UserError

PAIRS = [("A man.", "Un homme."), ("“Naïve”, he said", "« Naïf\u202f», dit-il"), ('a "b" & <c>', "x, y")]
COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstd.compress}
GUESSED = Columns(("en", "fr"), guessed=True)


def tsv(pairs: Sequence[tuple[str, str]]) -> bytes:
    return "".join("\t".join(pair) + "\n" for pair in [("en", "fr"), *pairs]).encode()


def as_csv(pairs: Sequence[tuple[str, str]]) -> bytes:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    return "".join(",".join(map(quoted, pair)) + "\r\n" for pair in [("en", "fr"), *pairs]).encode()


def jsonl(pairs: Sequence[tuple[str, str]]) -> bytes:
    return "".join(json.dumps({"id": 7, "en": en, "fr": fr}) + "\n" for en, fr in pairs).encode()


def tmx(pairs: Sequence[tuple[str, str]]) -> bytes:
    def unit(language: str, text: str) -> str:
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        return f'<tuv xml:lang="{language}"><seg>{text}</seg></tuv>'

    units = "".join(f"<tu>{unit('en-GB', en)}\n{unit('FR', fr)}</tu>\n" for en, fr in pairs)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    return f'{head}<tmx version="1.4"><header segtype="sentence"/><body>{units}</body></tmx>\n'.encode()


def parquet(pairs: Sequence[tuple[str, str]]) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files need pyarrow")
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(
        pyarrow.table({"n": [0] * len(pairs), "fr": [f for _, f in pairs], "en": [e for e, _ in pairs]}), sink
    )
    return sink.getvalue().to_pybytes()


def json_array(pairs: Sequence[tuple[str, str]]) -> bytes:
    return json.dumps([{"id": 7, "en": en, "fr": fr} for en, fr in pairs], indent=0).encode()


def xlsx(pairs: Sequence[tuple[str, str]]) -> bytes:
    openpyxl = pytest.importorskip("openpyxl", reason="XLSX files need openpyxl")
    book, file = openpyxl.Workbook(), BytesIO()
    for row in [("id", "en", "fr"), *((7, *pair) for pair in pairs)]:
        book.active.append(row)
    book.save(file)
    return file.getvalue()


WRITE: dict[str, Callable[[Sequence[tuple[str, str]]], bytes]] = {
    ".tsv": tsv,
    ".csv": as_csv,
    ".jsonl": jsonl,
    ".json": json_array,
    ".tmx": tmx,
    ".parquet": parquet,
    ".xlsx": xlsx,
}


def write(path: Path, content: bytes | str) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(COMPRESS[path.suffix if path.suffix in COMPRESSED else ""](data))
    return path


def texts(path: Path, *wanted: Column) -> list[tuple[str, ...]]:
    columns = Columns(wanted) if wanted else GUESSED
    return [tuple(row) for _, row in read_table(path, columns)]


def complaint(path: Path, *wanted: Column) -> str:
    with pytest.raises(UserError) as caught:
        texts(path, *wanted)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_there_is_a_writer_here_for_every_format() -> None:
    assert WRITE.keys() == FORMATS.keys()
    assert {"", *COMPRESSED} == COMPRESS.keys()


@pytest.mark.parametrize("suffix", WRITE)
@pytest.mark.parametrize("packed", COMPRESS)
def test_pairs_come_back_in_every_format_and_packing(tmp_path: Path, suffix: str, packed: str) -> None:
    path = write(tmp_path / f"pairs{suffix}{packed}", WRITE[suffix](PAIRS))
    assert texts(path) == PAIRS
    assert texts(path, "fr", "en") == [pair[::-1] for pair in PAIRS]


@settings(max_examples=30)
@given(pairs=st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))] * 2)))
def test_csv_and_jsonl_keep_any_text(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("texts")
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("en", "fr"), *pairs])
    (folder / "a.jsonl").write_bytes(jsonl([("en", "fr"), *pairs]))
    assert texts(folder / "a.csv") == pairs
    assert texts(folder / "a.jsonl") == [("en", "fr"), *pairs]


def test_tables_with_and_without_a_header(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.tsv", "Go.\tVa !\n\nHi.\tSalut !\n")
    assert texts(plain) == [("Go.", "Va !"), ("Hi.", "Salut !")]
    assert texts(plain, 2, 1) == [("Va !", "Go."), ("Salut !", "Hi.")]
    verses = write(tmp_path / "verses.tsv", "GEN 1:1\tIn\tAu\n")
    assert texts(verses, 2, 3, 1) == [("In", "Au", "GEN 1:1")]
    headed = write(tmp_path / "headed.tsv", "\ufefffr\tnote\ten\nVa !\t\tGo.\n")
    assert texts(headed) == [("Go.", "Va !")]
    assert texts(headed, "en", 1) == [("Go.", "Va !")]


def test_tsv_knows_no_quotes(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "q.tsv", 'en\tfr\n"Go\tVa"\n')) == [('"Go', 'Va"')]


def test_csv_cells_may_hold_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path / "q.csv", 'en,fr\r\n"one\r\ntwo","un, ""deux"""\r\n\r\nx,y\r\n')
    assert list(read_table(path, GUESSED)) == [(3, ["one\ntwo", 'un, "deux"']), (5, ["x", "y"])]


@pytest.mark.parametrize(
    ("name", "content", "wanted", "message"),
    [
        (
            "a.tsv",
            "a\tb\tc\n",
            (),
            ":1: the first line names neither en nor fr and has 3 columns: a, b, c; say where they are, ",
        ),
        ("a.tsv", "a\n", (), ":1: the first line names neither en nor fr and has 1 column:"),
        ("a.tsv", "en\tde\na\tb\n", (), ":1: no column fr; the columns are en, de"),
        ("a.tsv", "a\tb\n", ("en", "fr"), ":1: no column en; the columns are a, b"),
        ("a.tsv", "a\tb\n", (1, 3), ":1: no column 3; the first line has 2 columns"),
        ("a.tsv", "en\tfr\na\tb\nc\n", (), ":3: 1 columns, but the first line has 2"),
        ("a.tsv", "a\tb\nc\td\te\n", (), ":2: 3 columns, but the first line has 2"),
        ("a.csv", 'en,fr\na,"b\n', (), ":2: not valid CSV"),
        ("a.csv", 'en,fr\na,"b"c\n', (), ":2: not valid CSV"),
        ("a.jsonl", '{"en": "a", "fr": "b"}\n{"en"\n', (), ":2: not valid JSON"),
        ("a.jsonl", "[1]\n", (), ":1: not a JSON object"),
        ("a.jsonl", '\n{"en": "a", "de": "b"}\n', (), ":2: no column fr; the columns are en, de"),
        ("a.jsonl", '{"en": "a", "fr": ["b"]}\n', (), ':1: fr is not a text but ["b"]'),
        ("a.jsonl", '{"en": "a", "fr": "\\ud800"}\n', (), ":1: fr contains half of a surrogate pair"),
        ("a.jsonl", '{"en": "a", "fr": "b"}\n', (1, 2), ":1: no column 1; the columns are en, fr"),
        ("a.tsv", b"en\tfr\nx\t\xff\n", (), ":2: not UTF-8 text"),
        ("a.tsv", b"", (), ": the file is empty"),
        ("a.parquet", b"PAR1 and no more", (), ": not a valid Parquet file"),
        ("a.parquet", b"", (), ": not a valid Parquet file"),
    ],
)
def test_faults_of_tables(
    tmp_path: Path, name: str, content: bytes | str, wanted: tuple[Column, ...], message: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="Parquet files need pyarrow")
    assert complaint(write(tmp_path / name, content), *wanted).startswith(message)


def test_missing_columns_of_parquet_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", parquet(PAIRS))
    assert complaint(path, "en", "de") == ": row 1: no column de; the columns are n, fr, en"


def test_parquet_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert complaint(tmp_path / "a.parquet") == ": Parquet files need pyarrow: pip install pyarrow"


def test_nothing_is_an_empty_text(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.jsonl", '{"en": null, "fr": "b"}\n')) == [("", "b")]


def test_translations_of_the_hub_are_found_one_level_down(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": "1", "translation": {"en": "a", "fr": "b"}}\n')
    assert texts(path) == [("a", "b")]
    assert texts(path, "en", "fr", "id") == [("a", "b", "1")]
    assert complaint(path, "en", "de") == ":1: no column de; the columns are id, translation, en, fr"
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files need pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"translation": [{"en": "a", "fr": "b"}]}), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet", "fr", "en") == [("b", "a")]


def segment(inside: str, language: str = "en") -> str:
    return f'<tuv xml:lang="{language}"><seg>{inside}</seg></tuv>'


def memory(path: Path, body: str, head: str = "") -> Path:
    return write(path, f"{head}<tmx><body>{body}</body></tmx>")


def test_markup_in_segments_is_left_out_and_highlighted_text_kept(tmp_path: Path) -> None:
    inside = 'A <bpt i="1">&lt;b><sub>x</sub></bpt><hi>big <ph/>red</hi><ept i="1">&lt;/b></ept> house<it>&lt;br></it>.'
    path = memory(tmp_path / "a.tmx", f"<tu>{segment(inside)}{segment('b', 'fr-CA')}</tu>")
    assert texts(path) == [("A big red house.", "b")]


def test_units_that_lack_a_language_have_an_empty_side(tmp_path: Path) -> None:
    units = f"<tu>{segment('1')}</tu><tu>{segment('2')}{segment('zwei', 'de')}{segment('deux', 'fr')}</tu>"
    path = memory(tmp_path / "a.tmx", units + f"<tu>{segment('3')}{segment('III')}{segment('trois', 'fr_FR')}</tu>")
    assert list(read_table(path, GUESSED)) == [(1, ["1", ""]), (2, ["2", "deux"]), (3, ["3", "trois"])]


def test_a_memory_in_utf_16(tmp_path: Path) -> None:
    body = f"<tu>{segment('é')}{segment('ß', 'fr')}</tu>"
    text = f'<?xml version="1.0" encoding="UTF-16"?><tmx><body>{body}</body></tmx>'
    assert texts(write(tmp_path / "a.tmx", text.encode("utf-16"))) == [("é", "ß")]


def test_a_memory_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    unit = f"<tu>{segment('x' * 1000)}{segment('y', 'fr')}</tu>\n"
    path = memory(tmp_path / "a.tmx", unit * 200 + "<broken")
    assert next(iter(read_table(path, GUESSED)))[0] == 1
    assert complaint(path).startswith(":201: not well-formed XML (")


def test_faults_of_memories(tmp_path: Path) -> None:
    unit = f"<tu>{segment('a')}{segment('b', 'fr')}</tu>"
    path = memory(tmp_path / "a.tmx", unit)
    assert complaint(path, "en", "de").startswith(": no text in de; the languages are en, fr: name them in")
    assert complaint(path, "en", "fr", "n").startswith(": TMX files have two languages, but no other columns")
    assert complaint(write(path, "")).startswith(":1: not well-formed XML (no element found)")
    bomb = '<!DOCTYPE tmx [<!ENTITY a "aaaaaaaaaa">\n<!ENTITY b "&a;&a;&a;">]>'
    assert complaint(memory(path, unit, bomb)) == ':1: declares the entity "a", which is not allowed: write it out'


def test_line_aligned_files(tmp_path: Path) -> None:
    source = write(tmp_path / "a.en.gz", "one\n\nthree\n")
    assert list(read_aligned(source, write(tmp_path / "a.fr", "un\n\ntrois"))) == [
        (1, ("one", "un")),
        (2, ("", "")),
        (3, ("three", "trois")),
    ]


@pytest.mark.parametrize(("of_source", "of_target"), [(3, 1), (1, 3), (2, 1), (4, 5)])
def test_line_aligned_files_of_different_lengths(tmp_path: Path, of_source: int, of_target: int) -> None:
    source = write(tmp_path / "a.en", "x\n" * of_source)
    target = write(tmp_path / "a.fr", "y\n" * of_target)
    with pytest.raises(UserError, match=rf"a\.en has {of_source} lines, but .*a\.fr has {of_target}: in line-aligned"):
        list(read_aligned(source, target))
