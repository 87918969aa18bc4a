"""Files become lines and examples, and every fault of a file is one line that names it."""

import gzip
import lzma
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.images import ImageCorpus, ImagesData
from seqlab.data.corpora.labelled import LabelledCorpus, LabelledData
from seqlab.data.corpora.parallel import ParallelCorpus, ParallelData
from seqlab.data.corpora.passages import Passages, PassagesData
from seqlab.data.corpora.question_files import read_pairs, read_questions
from seqlab.data.corpora.squad import Squad, SquadData
from seqlab.data.readers.lines import (
    COMPRESSED,
    content_hash,
    data_path,
    find,
    folder_hint,
    format_suffix,
    read_lines,
    zstd,
)
from seqlab.errors import UserError

CHECKED = {zstd.CompressionParameter.checksum_flag: 1}  # as the command zstd does
COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": partial(zstd.compress, options=CHECKED)}
LINES = st.lists(st.text(st.characters(exclude_characters="\r\n\ufeff\0", exclude_categories=["Cs"])), min_size=1)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(COMPRESS.get(path.suffix, bytes)(content))
    return path


def complaint(read, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(read(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lines")


@pytest.mark.parametrize("suffix", COMPRESS)
@settings(deadline=None, derandomize=True, max_examples=50)
@given(lines=LINES, end=st.sampled_from(["\n", "\r\n"]))
def test_lines_come_back_as_they_were_written(folder, suffix, lines, end):
    path = write(folder / f"text{suffix}", "".join(line + end for line in lines).encode())
    assert list(read_lines(path)) == lines


def test_only_the_line_end_and_the_byte_order_mark_are_stripped(tmp_path):
    path = write(tmp_path / "a.txt", "\ufeff  one\t \r\n\ufefftwo\x85\u2028 \rx\n\nlast".encode())
    assert list(read_lines(path)) == ["  one\t ", "\ufefftwo\x85\u2028 \rx", "", "last"]


def test_where_relative_paths_start(monkeypatch):
    monkeypatch.setenv("HOME", "/ada")
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    assert data_path("a/b.tsv", None) == Path("a/b.tsv")
    assert data_path("~/b.tsv", Path("there")) == Path("/ada/b.tsv")
    monkeypatch.setenv("SEQLAB_DATA", "~/corpora")
    assert data_path("a/b.tsv", None) == Path("/ada/corpora/a/b.tsv")
    assert data_path("a/b.tsv", Path("there")) == Path("there/a/b.tsv")
    assert data_path("/a/b.tsv", Path("there")) == Path("/a/b.tsv")


def test_the_folder_of_relative_paths_is_told_where_nobody_has_named_it(monkeypatch):
    def captured(message, named=None):
        with pytest.raises(UserError) as caught, folder_hint(named):
            raise UserError(message)
        return str(caught.value)

    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    hint = "; set data.folder or SEQLAB_DATA to the folder that relative paths start at"
    assert captured("a.tsv: no such file") == f"a.tsv: no such file{hint}"
    assert captured("a.tsv: no such file", Path("there")) == "a.tsv: no such file"
    assert captured("/a.tsv: no such file") == "/a.tsv: no such file"
    monkeypatch.setenv("SEQLAB_DATA", "there")
    assert captured("there/a.tsv: no such file") == "there/a.tsv: no such file"


@pytest.mark.parametrize(
    "corpus",
    [
        ImageCorpus(ImagesData(source="gone")),
        LabelledCorpus(LabelledData(train="gone.tsv")),
        ParallelCorpus(ParallelData(source="en", target="fr", train=("gone.tsv",))),
        Passages(PassagesData(train=("gone.txt",))),
        Squad(SquadData(train="gone.json")),
    ],
    ids=lambda corpus: corpus.config.kind,
)
def test_every_corpus_looks_for_its_files_in_the_folder_and_tells_of_it(corpus, monkeypatch, tmp_path):
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    with pytest.raises(UserError, match=r"^gone.* to the folder that relative paths start at$"):
        corpus.check_files()
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    with pytest.raises(UserError, match=rf"^{tmp_path}/gone.*: no such (file|folder)") as caught:
        corpus.check_files()
    assert "SEQLAB_DATA" not in str(caught.value)


def test_lines_are_read_lazily(tmp_path):
    path = write(tmp_path / "a.txt", b"fine\n\xff\n")
    assert next(read_lines(path)) == "fine"


def test_the_line_of_a_wrong_encoding_is_named(tmp_path):
    path = write(tmp_path / "latin.txt", "eins\nzwei\nfünf\n".encode("latin-1"))
    assert complaint(read_lines, path).startswith(":3: not UTF-8 text (byte 0xfc)")


def test_missing_empty_and_unreadable_files(tmp_path):
    assert complaint(read_lines, tmp_path / "none.txt") == ": no such file"
    assert complaint(read_lines, write(tmp_path / "empty.txt", b"")) == ": the file is empty"
    assert complaint(read_lines, write(tmp_path / "empty.xz", b"")) == ": the file is empty"
    assert complaint(read_lines, tmp_path) == ": a folder, not a file"


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_broken_archives(tmp_path, suffix):
    whole = COMPRESS[suffix]("".join(f"line {i} {i * i}\n" for i in range(20_000)).encode())
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    assert ": the archive is truncated after line" in complaint(read_lines, path)
    path.write_bytes(b"plain text under a wrong name\n")
    assert complaint(read_lines, path).startswith(f": not a valid {suffix} archive")
    path.write_bytes(whole[:5000] + b"\xff" * 2000 + whole[7000:])
    assert complaint(read_lines, path).startswith(f": not a valid {suffix} archive")


@pytest.mark.parametrize("name", ["q.txt", "q.txt.gz", "Q.TXT.XZ", "q"])
def test_questions_and_answers_alternate(tmp_path, name):
    path = write(tmp_path / name, b"1 + 1?\n2\n 2 + 2? \n4")
    if name.endswith(".XZ"):
        path.write_bytes(lzma.compress(path.read_bytes()))
    assert read_questions(path) == read_pairs(path) == [Example("1 + 1?", "2"), Example(" 2 + 2? ", "4")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"q\na\nq\n", ":3: the question has no answer"),
        (b"q\na\n\na\n", ":3: the question is blank"),
        (b"q\n \nq\na\n", ":2: the answer is blank"),
        (b"q\na\n\n", ":3: the question is blank"),
    ],
)
def test_a_question_file_that_is_not_whole(tmp_path, content, message):
    assert complaint(read_questions, write(tmp_path / "q.txt", content)).startswith(message)


@pytest.mark.parametrize("name", ["p.tsv", "p.tsv.gz", "p.tsv.xz", "p.tsv.zst", "P.TSV"])
def test_tables_hold_one_pair_a_line(tmp_path, name):
    path = write(tmp_path / name, b"ein Haus\ta house\r\nzwei\ttwo\r\n")
    assert read_pairs(path) == [Example("ein Haus", "a house"), Example("zwei", "two")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tb\nno tab\n", ":2: 0 tabs, not one"),
        (b"a\tb\tc\n", ":1: 2 tabs, not one"),
        (b"a\tb\n\t c\n", ":2: the question is blank"),
        (b"a\t\n", ":1: the answer is blank"),
    ],
)
def test_a_table_that_is_not_whole(tmp_path, content, message):
    assert complaint(read_pairs, write(tmp_path / "p.tsv", content)).startswith(message)


def test_the_file_that_a_name_means(tmp_path):
    packed = write(tmp_path / "a.en.xz", b"x\n")
    assert find(tmp_path / "a.en") == find(packed) == packed
    plain = write(tmp_path / "a.en", b"x\n")
    assert find(tmp_path / "a.en") == plain
    assert find(tmp_path / "a.fr") is None
    assert find(tmp_path) is None


def test_the_format_is_told_by_the_suffix_before_the_packing():
    names = ["a.tsv", "a.TSV.gz", "a.b.jsonl.zst", "a.gz", "a", "newstest.de-en"]
    assert [format_suffix(Path(name)) for name in names] == [".tsv", ".tsv", ".jsonl", "", "", ".de-en"]


def test_contents_are_told_apart(tmp_path):
    """As `sha256sum` does."""
    path = write(tmp_path / "a.txt", b"abc")
    assert content_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert complaint(lambda missing: [content_hash(missing)], tmp_path / "none").startswith(": cannot be read (No such")
