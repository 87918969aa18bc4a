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
    lines = ["words\tkind", *(f"text {n}\t{'good' if n % 3 else 'bad'}" for n in range(100))]
    captured = corpus(write(tmp_path / "t.tsv", *lines), text=1, label=2, validation_size=1, test_size=1).remarks()
    assert any('only the first line has the label "kind"' in remark for remark in captured)


@pytest.mark.parametrize("header", ["text\tlabel", "Sentence\tClass", "words\tkind"])
def test_a_header_above_numbered_columns_is_left_out_and_told(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "t.tsv", header, *(f"text {n}\t{n % 2}" for n in range(100)))
    found = corpus(path, text=1, label=2)
    assert sum(map(len, found.splits().values())) == 100
    assert found.classes == ("0", "1")
    assert f"t.tsv: the first line ({header.replace(chr(9), ', ')}) is a header and was left out" in found.remarks()


SNLI = ["gold_label\tsentence1\tsentence2", *(f"{'-yn'[n % 3]}\ta {n}\tb {n}" for n in range(60))]


def test_labels_that_are_none_are_told_and_may_be_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "snli.tsv", *SNLI)
    columns = {"text": "sentence1", "second": "sentence2", "label": "gold_label"}
    found = corpus(path, **columns)
    assert found.classes == ("-", "n", "y")
    looks = 'texts have the label "-", which looks like no label: data.drop_labels=["-"] leaves them out'
    assert any(looks in remark for remark in found.remarks())
    found = corpus(path, **columns, drop_labels=["-"])
    assert found.classes == ("n", "y")
    assert sum(map(len, found.splits().values())) == 40
    assert 'train: 20 texts with the label "-" left out (data.drop_labels)' in found.remarks()
    assert not any("looks like no label" in remark for remark in found.remarks())
    assert len(found.read(path)) == 40


def test_blank_labels_may_be_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "text\tlabel", *(f"text {n}\t{' ab'[n % 3]}" for n in range(60)))
    assert "t.tsv: 20 bad lines: lines 2, 5, 8, 11, " in complaint(corpus(path))
    assert 'the label is blank (data.drop_labels=[""] leaves such rows out)' in complaint(corpus(path))
    assert corpus(path, drop_labels=[""]).classes == ("a", "b")


def test_decimals_are_no_classes_unless_they_are_few(tmp_path: Path) -> None:
    scores = write(tmp_path / "s.tsv", "text\tscore", *(f"text {n}\t{n / 8}" for n in range(60)))
    captured = complaint(corpus(scores, label="score"))
    assert captured.startswith(
        f"{scores}: the labels in column score are 60 different decimals (0.0, 0.125, 0.25, ...)"
    )
    assert "regression is not supported: map them" in captured
    assert "name it in data.label" in captured
    german = write(tmp_path / "de.tsv", "text\tlabel", *(f"text {n}\t{n // 10},{n % 10}" for n in range(60)))
    assert "60 different decimals" in complaint(corpus(german))
    stars = write(tmp_path / "h.tsv", "text\tlabel", *(f"text {n}\t{n % 5 / 2}" for n in range(60)))
    assert corpus(stars).classes == ("0.0", "0.5", "1.0", "1.5", "2.0")
    ids = write(tmp_path / "i.tsv", "text\tlabel", *(f"text {n}\t{n}" for n in range(60)))
    captured = corpus(ids, validation=str(ids), test=str(ids)).remarks()
    assert "training: 60 labels of 60 texts: is data.label the right column?" in captured


def test_bad_lines_are_told_together_or_left_out(tmp_path: Path) -> None:
    lines = [f"text {n}\t{'ab'[n % 2]}" for n in range(40)]
    lines[6] += "\textra"
    lines[19] = "no tab"
    path = write(tmp_path / "glue.tsv", "text\tlabel", *lines)
    assert complaint(corpus(path)) == (
        f"{path}: 2 bad lines: line 8: 3 columns, but the first line has 2; line 21: 1 columns, but the first line "
        "has 2; data.on_error=skip leaves such lines out"
    )
    found = corpus(path, on_error="skip")
    assert sum(map(len, found.splits().values())) == 38
    assert (
        "glue.tsv: 2 bad lines left out: line 8: 3 columns, but the first line has 2; "
        "line 21: 1 columns, but the first line has 2"
    ) in found.remarks()
    with pytest.raises(UserError, match=r"2 bad lines: line 8: 3 columns.*first line has 2$"):
        found.read(path)  # whatever training left out: scores are for all lines


@pytest.mark.parametrize("name", ["glue.json", "glue.txt", "glue.jsonl"])
def test_json_lines_of_any_name_are_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, *(json.dumps({"sentence": f"text {n}", "label": n % 2}) for n in range(40)))
    found = corpus(path, text="sentence")
    found.check_files()
    assert found.classes == ("0", "1")
    assert "no column words; the columns are sentence, label; say where they are, perhaps " in complaint(
        corpus(path, text="words")
    )


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
        ("t.jsonl", ['{"text": [], "label": 1}'], "t.jsonl:1: text: [] is neither a text nor a number"),
        ("t.tsv", ["text\tlabel", "a\tb"], "too few to hold out"),
    ],
)
def test_damage_is_refused_with_its_place(tmp_path: Path, name: str, lines: list[str], captured: str) -> None:
    assert captured in complaint(corpus(write(tmp_path / name, *lines)))


def test_labels_must_be_trained_on_and_differ(tmp_path: Path) -> None:
    train = many(tmp_path / "t.tsv")
    strange = write(tmp_path / "d.tsv", "text\tlabel", "new\tugly")
    assert 'test: the label "ugly" of "new" does not occur in the training set' in complaint(
        corpus(train, test=str(strange))
    )
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
