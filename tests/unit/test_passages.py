"""Running text from files: paragraphs, documents, what is held out, and which files are refused."""

import gzip
import json
from pathlib import Path

import pytest

from seqlab.data.corpora.passages import Document, Passages, PassagesData, hold_out, read_documents
from seqlab.errors import UserError


def corpus(folder: Path, *names: str, words: int = 10, **more: int) -> Passages:
    return Passages(PassagesData(train=names, folder=folder, document_words=words, **more))


def documents(number: int) -> list[Document]:
    return [Document(f"d{n}", (f"text {n}",)) for n in range(number)]


def test_paragraphs_end_at_blank_lines_and_documents_at_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("\ufeff\n one  two\nthree\n\n \nfour five six seven eight\r\nnine ten\n\neleven\n")
    assert list(read_documents(path, 10)) == [
        Document("book.txt 1", ("one two three", "four five six seven eight nine ten")),
        Document("book.txt 2", ("eleven",)),
    ]


def test_every_line_may_be_a_paragraph(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("\ufeff\n one  two\nthree\n\n \nfour\r\n")
    assert list(read_documents(path, 3, "line")) == [
        Document("captions.txt 1", ("one two", "three")),
        Document("captions.txt 2", ("four",)),
    ]
    data = PassagesData(train=(path.name,), folder=tmp_path, paragraph_ends="line", document_words=10)
    assert list(Passages(data).read(path)) == list(read_documents(path, 10, "line"))


def test_articles_in_the_layout_of_squad_give_each_paragraph_once(tmp_path: Path) -> None:
    answer = [{"text": "ada", "answer_start": 0}]
    qas = [{"id": str(n), "question": "who?", "answers": answer} for n in range(2)]
    later = [{**qa, "id": f"{qa['id']}b"} for qa in qas]
    paragraphs = [{"context": "ada\nwrote", "qas": qas}, {"context": "ada  read", "qas": later}]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"title": "T", "paragraphs": paragraphs}]}))
    assert list(read_documents(path, 100)) == [Document("squad.json T 1", ("ada wrote", "ada read"))]


def test_a_folder_means_its_text_files_and_compressed_ones_are_found(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "b.txt").write_text("\n\n".join(f"b {n}" for n in range(50)))
    with gzip.open(tmp_path / "books" / "a.txt.gz", "wt") as file:
        file.write("\n\n".join(f"a {n}" for n in range(50)))
    (tmp_path / "books" / "README.md").write_text("not this")
    found = corpus(tmp_path, "books", "books/a.txt")
    names = {document.name.split()[0] for part in found.splits().values() for document in part}
    assert names == {"a.txt.gz", "b.txt"}
    assert len(found.remarks()) == 3


def test_no_document_is_on_both_sides_and_the_seed_decides() -> None:
    given = [*documents(60), *documents(5)]
    parts = hold_out(given, {"test": 4, "validation": None}, seed=1)
    assert [len({document.paragraphs for document in part}) for part in parts.values()] == [53, 3, 4]
    texts = [{document.paragraphs for document in part} for part in parts.values()]
    assert len(set.union(*texts)) == sum(map(len, texts))
    assert sum(map(len, parts.values())) == 65
    assert hold_out(given[::-1], {"test": 4, "validation": None}, seed=1) == parts
    assert hold_out(given, {"test": 4, "validation": None}, seed=2)["test"] != parts["test"]


def test_faults_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "short.txt").write_text("one two\n")
    (tmp_path / "latin.txt").write_bytes(b"one\ncaf\xe9\n")
    (tmp_path / "none").mkdir()
    cases = {
        "blank.txt": "blank.txt: has no text",
        "short.txt": "1 documents, too few to hold out 4",
        "latin.txt": "latin.txt:2: not UTF-8",
        "gone.txt": "gone.txt: no such file",
        "none": "none: no text file in this folder",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=message):
            corpus(tmp_path, name).training(0)
    with pytest.raises(UserError, match=r"data\.train names no file"):
        corpus(tmp_path).check_files()
