"""Inputs of predictions from users' files: one for every row, whatever else the file holds."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqlab.data.corpora.labelled import LabelledCorpus, LabelledData
from seqlab.data.corpora.mathematics import Mathematics, MathematicsData
from seqlab.data.corpora.parallel import ParallelCorpus, ParallelData
from seqlab.data.corpora.squad import asked
from seqlab.data.readers.lines import read_lines
from seqlab.errors import UserError
from seqlab.inference.inputs import read_inputs, with_references


def task_of(corpus: Any, **more: Any) -> Any:
    return SimpleNamespace(corpus=corpus, inputs=read_lines, **more)


TRANSLATION = task_of(ParallelCorpus(ParallelData(source="en", target="fr")))
SINGLE = task_of(LabelledCorpus(LabelledData(text="review", label="sentiment")))
PAIRS = task_of(LabelledCorpus(LabelledData(text="premise", second="hypothesis")))
NUMBERED = task_of(ParallelCorpus(ParallelData(source="en", target="fr", columns={"en": 2, "fr": 3})))
QUESTIONS = task_of(Mathematics(MathematicsData(module="numbers__place_value")))


def lines(task: Any, path: Path, *named: str) -> list[str]:
    return list(read_inputs(task, path, named)[0])


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("task", "name", "content", "expected"),
    [
        # the column of the training, wherever it stands
        (TRANSLATION, "t.tsv", "id\tfr\ten\n1\tun\tone\n2\t\t\n3\ttrois\tthree\n", ["one", "", "three"]),
        (TRANSLATION, "t.csv", 'EN,fr\n"one, two",x\n"a\n b",y\n', ["one, two", "a  b"]),
        (TRANSLATION, "t.csv", "en;fr\none;x\n", ["one"]),
        (TRANSLATION, "t.jsonl", '{"fr": "x", "en": "one"}\n{"en": "two"}\n', ["one", "two"]),
        (TRANSLATION, "t.json", '[{"en": "one"}, {"en": null}]', ["one", ""]),
        # nothing names a language: two columns are those of the training
        (TRANSLATION, "t.tsv", "one\tun\ntwo\tdeux\n", ["one", "two"]),
        (TRANSLATION, "t.tsv", "src\ttgt\none\tun\n", ["one"]),
        (NUMBERED, "t.tsv", "7\tone\tun\n8\ttwo\tdeux\n9\tthree\ttrois\n", ["one", "two", "three"]),
        # a table of one column has a row on every line, a blank one too
        (TRANSLATION, "t.tsv", "en\none\n\nthree\n", ["one", "", "three"]),
        (TRANSLATION, "t.csv", "en\none\n\nthree\n", ["one", "", "three"]),
        (
            SINGLE,
            "t.csv",
            'review,sentiment\n"Good, ""really"".",pos\nbad\tor not,neg\n',
            ['Good, "really".', "bad or not"],
        ),
        (PAIRS, "t.tsv", "hypothesis\tpremise\tid\nb\ta\t1\n\ta\t2\n", ["a\tb", ""]),
        (QUESTIONS, "t.tsv", "What is 1 + 1?\t2\nWhat is 2 + 2?\t4\n", ["What is 1 + 1?", "What is 2 + 2?"]),
        (QUESTIONS, "t.csv", "answer,question\n2,What is 1 + 1?\n", ["What is 1 + 1?"]),
        # a text has an input on every line
        (TRANSLATION, "t.txt", "en\none\n\n{three}\n", ["en", "one", "", "{three}"]),
    ],
)
def test_a_row_is_an_input(
    task: Any, name: str, content: str, expected: list[str], file: Callable[[str, str], Path]
) -> None:
    assert lines(task, file(name, content)) == expected


def test_columns_may_be_named(file: Callable[[str, str], Path]) -> None:
    table = file("t.csv", "id,deutsch\n1,eins\n2,zwei\n3,drei\n")
    assert lines(TRANSLATION, table, "deutsch") == ["eins", "zwei", "drei"]
    assert lines(TRANSLATION, table, "2") == ["eins", "zwei", "drei"]
    assert lines(PAIRS, table, "deutsch", "id") == ["eins\t1", "zwei\t2", "drei\t3"]
    # whatever the name of the file says
    assert lines(TRANSLATION, file("t.txt", "id\tx\n1\teins\n"), "x") == ["eins"]


@pytest.mark.parametrize(
    ("task", "content", "named", "complaint"),
    [
        (TRANSLATION, "x,y,z\n1,2,3\n", (), r"t\.csv:1: no column en; the columns are x, y, z"),
        (SINGLE, "id,body\n1,I like it.\n", (), r'no column review; .* id, body; .* --column "body" \("I like it\."\)'),
        (TRANSLATION, "en,fr\none,un\n", ("en", "fr"), "--column names 2 columns, but an input of this run has 1"),
        (TRANSLATION, "en,fr\none,un\ntwo\n", (), r"t\.csv:3: 1 columns, but the first line has 2"),
    ],
)
def test_what_does_not_fit_is_refused(
    task: Any, content: str, named: tuple[str, ...], complaint: str, file: Callable[[str, str], Path]
) -> None:
    with pytest.raises(UserError, match=complaint):
        lines(task, file("t.csv", content), *named)


def test_a_bad_line_ends_the_reading_before_anything_shifts(file: Callable[[str, str], Path]) -> None:
    rows, _ = read_inputs(TRANSLATION, file("t.csv", "en,fr\none,un\ntwo\nthree,trois\n"))
    assert next(rows) == "one"
    with pytest.raises(UserError, match=r"t\.csv:3"):
        next(rows)


CONTEXT = "Ada Lovelace met Charles Babbage in 1833."


@pytest.mark.parametrize(
    "answers",
    [
        [[], [], []],
        [None, None, None],
        [[{"text": "Ada Lovelace", "answer_start": 0}], [], None],
        [[{"text": "nobody", "answer_start": 7}], [], []],
    ],
)
def test_every_question_of_a_squad_file_is_asked(answers: list[Any], file: Callable[[str, str], Path]) -> None:
    questions = [
        {"id": "same", "question": f"Who met whom, {number}?", **({} if found is None else {"answers": found})}
        for number, found in enumerate(answers)
    ]
    document = {"data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]}
    expected = [(f"Who met whom, {number}?", CONTEXT) for number in range(3)]
    assert list(asked(file("q.json", json.dumps(document)))) == expected
    flat = [{"context": CONTEXT, **question} for question in questions]
    assert list(asked(file("q.jsonl", "\n".join(map(json.dumps, flat))))) == expected
    assert list(asked(file("flat.json", json.dumps(flat)))) == expected


class TestWorkbook:
    @pytest.fixture
    def book(self) -> Any:
        return pytest.importorskip("openpyxl", reason="XLSX files need openpyxl").Workbook()

    def test_a_row_is_an_input(self, book: Any, tmp_path: Path) -> None:
        sheet = book.active
        for row in (
            ["id", "English", None],
            [1, "one", None],
            [2, None, None],
            [3, "three\nfour", None],
            [4, 7.5, None],
        ):
            sheet.append(row)
        book.create_sheet("other").append(["x"])
        book.save(tmp_path / "t.xlsx")
        found, reading = read_inputs(TRANSLATION, tmp_path / "t.xlsx")
        assert list(found) == ["one", "", "three four", "7.5"]
        assert list(reading.notes) == ["t.xlsx: read from its sheet Sheet; the others are left out"]

    def test_an_empty_sheet_is_passed_over(self, book: Any, tmp_path: Path) -> None:
        book.create_sheet("texts").append(["en"])
        book["texts"].append(["one"])
        book.save(tmp_path / "t.xlsx")
        assert lines(TRANSLATION, tmp_path / "t.xlsx") == ["one"]

    def test_damage_and_size_are_one_line(self, book: Any, tmp_path: Path) -> None:
        book.active.append(["en"])
        book.save(tmp_path / "t.xlsx")
        content = (tmp_path / "t.xlsx").read_bytes()
        (tmp_path / "cut.xlsx").write_bytes(content[: len(content) // 2])
        (tmp_path / "text.xlsx").write_text("en\none\n")
        for name in ("cut", "text"):
            with pytest.raises(UserError, match=rf"{name}\.xlsx: not a valid workbook"):
                lines(TRANSLATION, tmp_path / f"{name}.xlsx")
        small = task_of(
            ParallelCorpus(
                ParallelData.model_validate({"source": "en", "target": "fr", "reading": {"max_file_bytes": 100}})
            )
        )
        with pytest.raises(UserError, match=r"bytes when unpacked, more than 100; data\.reading\.max_file_bytes"):
            lines(small, tmp_path / "t.xlsx")


class TestReferences:
    TABLE = "en\tfr\tfr2\tfr3\none\tun\tune\tI\ntwo\tdeux\t\tII\n"

    def examples(self, path: Path) -> list[Any]:
        return TRANSLATION.corpus.read(path)

    def test_columns_and_files_are_further_ones(self, file: Callable[[str, str], Path]) -> None:
        table, other = file("t.tsv", self.TABLE), file("other.fr", "1\n2\n")
        found = with_references(TRANSLATION, table, self.examples(table), ["fr2", "fr3", str(other)])
        assert found == [("one", "un"), ("two", "deux")]
        # a blank one is none
        assert [example.references for example in found] == [("un", "une", "I", "1"), ("deux", "II", "2")]

    @pytest.mark.parametrize(
        ("name", "complaint"),
        [("fr9", r"no column fr9; the columns are en, fr, fr2, fr3"), ("short", "2 examples, but .*short has 1 ref")],
    )
    def test_one_for_every_example(self, name: str, complaint: str, file: Callable[[str, str], Path]) -> None:
        table, short = file("t.tsv", self.TABLE), file("short", "1\n")
        with pytest.raises(UserError, match=complaint):
            with_references(TRANSLATION, table, self.examples(table), [str(short) if name == "short" else name])
