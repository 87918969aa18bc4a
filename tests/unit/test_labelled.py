"""Texts with labels: columns of tables, what is wrong with a line, and who is held out."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from seqlab.data.corpora.labelled import Labelled, LabelledCorpus, LabelledData
from seqlab.errors import UserError


def write(path: Path, *lines: str) -> Path:
    text = "".join(f"{line}\n" for line in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def many(path: Path, number: int = 100) -> Path:
    return write(path, "text\tlabel", *(f"text {n}\t{'good' if n % 3 else 'bad'}" for n in range(number)))


def corpus(path: Path, **settings: Any) -> LabelledCorpus:
    return LabelledCorpus(LabelledData(train=str(path), **settings))


def complaint(found: LabelledCorpus) -> str:
    def read() -> None:
        found.check_files()
        found.splits()

    with pytest.raises(UserError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


ROWS = [("It is so.", "1"), ('He "said, no.', "0"), ("Is it?", "1")]


@pytest.mark.parametrize(
    ("name", "lines", "settings"),
    [
        ("cola.tsv", [f"src\t{label}\t*\t{text}" for text, label in ROWS], {"text": 4, "label": 2}),
        ("named.tsv", ["x\tlabel\ttext", *(f"?\t{label}\t{text}" for text, label in ROWS)], {}),
        ("t.csv.gz", ["label,text", *(f'{b},"{a.replace(chr(34), chr(34) * 2)}"' for a, b in ROWS)], {}),
        ("t.jsonl", [json.dumps({"s": text, "y": int(label)}) for text, label in ROWS], {"text": "s", "label": "y"}),
    ],
)
def test_tables_are_read_alike(tmp_path: Path, name: str, lines: list[str], settings: dict[str, Any]) -> None:
    path = write(tmp_path / name, *lines)
    assert corpus(path, **settings).read(path) == [Labelled(text, None, label) for text, label in ROWS]


def test_pairs_have_a_second_text(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", "label\ta\tb", "same\tone\ttwo")
    (example,) = corpus(path, text="a", second="b").read(path)
    assert example == Labelled("one", "two", "same")
    assert example.source == "one\ttwo"


def test_texts_are_held_out_by_what_they_say(tmp_path: Path) -> None:
    path = many(tmp_path / "t.tsv")
    with path.open("a") as file:
        file.write("".join(f"text {n}\tgood\n" for n in range(100)))  # each once more
    found = corpus(path, validation_size=10, test_size=20)
    sets = [{example.text for example in part} for part in found.splits().values()]
    assert [len(part) for part in sets] == [70, 10, 20]
    assert len(set.union(*sets)) == 100
    assert found.classes == ("bad", "good")
    captured = "\n".join(found.remarks())
    assert "validation: 20 texts held out of training (data.seed=1)" in captured
    assert "texts occur with several labels" in captured
    assert corpus(path, validation_size=10, test_size=20, seed=2).test() != found.test()


def test_files_of_held_out_sets_are_taken_as_they_are_and_leaks_are_told(tmp_path: Path) -> None:
    train = many(tmp_path / "t.tsv")
    dev = write(tmp_path / "d.tsv", "text\tlabel", "new\tgood", "text 3\tbad")
    found = corpus(train, validation=str(dev), test=str(dev))
    assert len(found.training(0)) == 100
    assert found.validation() == found.test() == [Labelled("new", None, "good"), Labelled("text 3", None, "bad")]
    assert sum("1 texts are also trained on" in remark for remark in found.remarks()) == 2


def test_blank_texts_are_left_out_and_told(tmp_path: Path) -> None:
    path = many(tmp_path / "t.tsv")
    with path.open("a") as file:
        file.write(" \tgood\n")
    assert "train: 1 blank texts left out (lines 102 ...)" in corpus(path).remarks()
    with pytest.raises(UserError, match="102: the text is blank"):
        corpus(path).read(path)


def test_a_header_that_was_taken_for_an_example_is_told(tmp_path: Path) -> None:
    captured = corpus(many(tmp_path / "t.tsv"), text=1, label=2, validation_size=1, test_size=1, seed=3).remarks()
    assert any('only the first line has the label "label"' in remark for remark in captured)


@pytest.mark.parametrize(
    ("name", "lines", "captured"),
    [
        ("t.tsv", ["text\tlabel", "a\tb", "a"], "t.tsv:3: 1 columns"),
        ("t.tsv", ["words\tlabel", "a\tb"], "no column text; the columns are words, label"),
        ("t.tsv", ["text\tlabel", "a\t "], "t.tsv:2: the label is blank"),
        ("t.tsv", ["text\tlabel"], "has no text"),
        ("t.txt", ["a"], "not one of the formats"),
        ("t.jsonl", ["{"], "t.jsonl:1: not valid JSON"),
        ("t.jsonl", ["[1]"], "t.jsonl:1: not a JSON object"),
        ("t.jsonl", ['{"text": "a"}'], "t.jsonl:1: no column label"),
        ("t.jsonl", ['{"text": [], "label": 1}'], "t.jsonl:1: [] is neither a text nor a number"),
        ("t.tsv", ["text\tlabel", "a\tb"], "too few to hold out"),
    ],
)
def test_damage_is_refused_with_its_place(tmp_path: Path, name: str, lines: list[str], captured: str) -> None:
    assert captured in complaint(corpus(write(tmp_path / name, *lines)))


def test_labels_must_be_trained_on_and_differ(tmp_path: Path) -> None:
    train = many(tmp_path / "t.tsv")
    strange = write(tmp_path / "d.tsv", "text\tlabel", "new\tugly")
    assert 'test: the label "ugly" of "new" is never trained on' in complaint(corpus(train, test=str(strange)))
    alike = write(tmp_path / "a.tsv", "text\tlabel", *(f"text {n}\tgood" for n in range(50)))
    with pytest.raises(UserError, match="nothing to learn"):
        _ = corpus(alike).classes


def test_missing_files_and_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    assert "data.train names no file" in complaint(LabelledCorpus(LabelledData()))
    assert "nowhere.tsv: no such file" in complaint(corpus(tmp_path / "nowhere.tsv"))
    with pytest.raises(ValueError, match="names or numbers, not both"):
        LabelledData(text=1)
    with pytest.raises(ValueError, match="different columns"):
        LabelledData(text="a", label="a")
    with pytest.raises(ValueError, match="test_size is for texts"):
        LabelledData(test="a", test_size=3)


def test_the_reference_files_are_sound(reference_data: Path) -> None:
    folder = reference_data / "cola"
    found = corpus(folder / "in_domain_train.tsv", test=str(folder / "in_domain_dev.tsv"), text=4, label=2)
    assert len(found.test()) == 527
    assert len(found.training(0)) + len(found.validation()) == 8551
    assert found.classes == ("0", "1")
