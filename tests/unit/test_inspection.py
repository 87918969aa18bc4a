"""What `seqlab data` shows of a corpus: what the corpus offers for it, drawn for a terminal."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from seqlab.data.corpora.corpus import CountTable, Overview
from seqlab.data.corpora.images import ImageCorpus, ImagesData
from seqlab.data.corpora.labelled import LabelledCorpus, LabelledData
from seqlab.data.corpora.mathematics import Mathematics, MathematicsData
from seqlab.data.corpora.numbers import Numbers, NumbersData
from seqlab.data.corpora.passages import Passages, PassagesData
from seqlab.data.corpora.squad import Squad, SquadData
from seqlab.report.sections.lengths import contents, distributions, terminal_tables
from seqlab.runs.statistics import describe
from seqlab.tools.inspection import count_table, inspect


class Names:
    """A user's own corpus, which says no more of itself than it has to."""

    def check_files(self) -> None: ...

    def training(self, epoch: int) -> Sequence[tuple[str, str]]:
        return [("Ada Lovelace", "Ada"), ("Alan Turing", "Alan")]

    def validation(self) -> Sequence[tuple[str, str]]:
        return [("Grace Hopper", "Grace")]

    def test(self) -> Sequence[tuple[str, str]]:
        return []

    def splits(self) -> dict[str, Sequence[tuple[str, str]]]:
        return {"training": self.training(0), "validation": self.validation(), "test": self.test()}

    def overview(self) -> Overview:
        return Overview(texts=self.splits())

    def remarks(self) -> list[str]:
        return []

    def leaks(self) -> list[str]:
        return []

    def read(self, path: Path) -> Sequence[tuple[str, str]]:
        raise NotImplementedError


def lines(table: CountTable) -> list[list[str]]:
    """The words of every line of the table, 80 columns wide."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(count_table(table))
    return [line.split() for line in console.export_text().splitlines()]


@pytest.mark.parametrize("words", [False, True])
def test_texts_of_a_users_corpus_are_described_in_the_unit_of_the_run(words: bool) -> None:
    found = inspect(Names(), words=words)
    assert found.lengths is not None
    assert found.lengths.unit == ("words" if words else "characters")
    assert {name: split.examples for name, split in found.lengths.splits.items()} == {
        "training": 2,
        "validation": 1,
        "test": 0,
    }
    assert len(found.tables) == (3 if words else 2)
    assert found.remarks == ()


def test_shares_and_sums_are_shown_where_they_are_asked_for() -> None:
    counts = CountTable(
        columns=["training", "test"],
        rows={"cat": [3, 0], "[b]dog": [1, 2], "cow": [0, 0]},
        title="class",
        shares=True,
        caption="6 images of 8 x 9 pixels",
    )
    assert lines(counts) == [
        ["class", "training", "share", "test", "share"],
        ["cat", "3", "75.0", "%", "none", "0", "%"],
        ["[b]dog", "1", "25.0", "%", "2", "100", "%"],
        ["cow", "none", "0", "%", "none", "0", "%"],
        ["all", "4", "2"],
        ["6", "images", "of", "8", "x", "9", "pixels"],
    ]
    assert lines(CountTable(["words"], {"[b]test": [1234]})) == [["words"], ["[b]test", "1,234"]]


def test_images_are_counted_by_class() -> None:
    table = ImageCorpus(ImagesData()).overview().table
    assert table is not None
    assert table.columns == ["training", "validation", "test"]
    assert table.rows["0"] == [116, 26, 36]
    assert [sum(column) for column in zip(*table.rows.values(), strict=True)] == [1151, 287, 359]
    assert table.caption == "1,797 images of 8 x 8 pixels"


def test_running_text_is_counted_in_documents_paragraphs_and_words(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{n} two\n\n{n} three four\n\n" for n in range(40)))
    data = PassagesData(train=("a.txt",), folder=tmp_path, document_words=10, validation_size=3, test_size=2)
    overview = Passages(data).overview()
    assert overview.table is not None
    assert overview.table.columns == ("documents", "paragraphs", "words")
    assert overview.table.rows == {"training": (15, 60, 150), "validation": (3, 12, 30), "test": (2, 8, 20)}
    assert overview.remarks == ()


def test_drawn_pairs_are_counted_in_the_unit_of_the_run() -> None:
    for corpus in (
        Mathematics(MathematicsData(module="comparison__sort", epoch_size=9, validation_size=5, test_size=5)),
        Numbers(NumbersData(epoch_size=9, validation_size=5, test_size=5)),
    ):
        overview = corpus.overview()
        assert overview.texts == corpus.splits()
        assert overview.unit is None


def test_answers_are_targets_labels_are_none_and_lengths_are_in_words(tmp_path: Path) -> None:
    labels = tmp_path / "labels.tsv"
    labels.write_text("text\tlabel\n" + "".join(f"text {n}\t{'bad' if n % 2 else 'good'}\n" for n in range(40)))
    found = LabelledCorpus(LabelledData(train=str(labels)))
    assert found.overview().unit == "words"
    assert {example for part in (found.overview().texts or {}).values() for example in part} == {
        (f"text {n}", "") for n in range(40)
    }
    lengths = describe(found.overview().texts or {}, words=True)
    assert [shown.name for shown in distributions(lengths)] == ["source length"]
    assert not any("target" in str(column.header) for table in terminal_tables(lengths) for column in table.columns)
    assert not any("target" in title for table in contents(lengths)["tables"] for title in table.head)
    rows = [f'row {number}: "{a}" -> "{label}"' for number, (a, _, label) in enumerate(found.training(0)[:3], start=1)]
    assert found.overview().remarks == [*found.remarks(), *rows]
    table = found.overview().table
    assert table is not None
    assert {name: sum(counts) for name, counts in table.rows.items()} == {"bad": 20, "good": 20}
    assert table.columns == ["training", "validation", "test"]

    answers = [[{"text": "Ada", "answer_start": 0}], []]
    paragraph = {
        "context": "Ada wrote.",
        "qas": [
            {"id": str(n), "question": f"who {n}?", "answers": answer, "is_impossible": not answer}
            for n, answer in enumerate(answers)
        ],
    }
    questions = tmp_path / "squad.json"
    questions.write_text(json.dumps({"data": [{"title": "T", "paragraphs": [paragraph]}]}))
    overview = Squad(SquadData(train=str(questions), validation=str(questions), test=str(questions))).overview()
    assert overview.unit == "words"
    assert overview.texts is not None
    assert overview.texts["test"] == [("who 0?", "Ada"), ("who 1?", "")]
