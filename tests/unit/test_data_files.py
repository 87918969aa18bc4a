"""The data of a run: its files are known again, and its test set comes back as it was."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.labelled import Labelled
from seqlab.data.corpora.squad import Question, Span
from seqlab.errors import UserError
from seqlab.runs import data_files
from seqlab.runs.data_files import changed_data, kept_test_set, record_data
from seqlab.runs.folder import RunFolder

PAIRS = [Example("a\u2028b", "ä"), Example("", "漢")]
LABELLED = [Labelled("fine", None, "1"), Labelled("fine", "so", "0")]
QUESTIONS = [
    Question("q1", "T", "who?", "ada did", (Span("ada", 0), Span("Ada", None))),
    Question("q2", "T", "who?", "nobody", ()),
]


class Drawn(NamedTuple):
    """An example that no file holds."""

    number: int


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\n")
    return path


@pytest.mark.parametrize("test", [PAIRS, LABELLED, QUESTIONS])
def test_a_test_set_comes_back(tmp_path: Path, file: Path, test: list[tuple[object, ...]]) -> None:
    paths = RunFolder(tmp_path)
    record_data(paths, [file], type(test[0]), test)
    assert kept_test_set(paths, type(test[0])) == test
    assert type((kept_test_set(paths, type(test[0])) or [])[0]) is type(test[0])


def test_what_is_drawn_or_large_or_no_text_is_not_kept(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunFolder(tmp_path)
    record_data(paths, [], Drawn, [Drawn(1)])
    assert kept_test_set(paths, Drawn) is None
    record_data(paths, [file], bytes, [b"pixels"])
    assert kept_test_set(paths, bytes) is None
    monkeypatch.setattr(data_files, "LARGEST_TEST_SET", 40)
    record_data(paths, [file], Example, [Example("a", "b")])
    assert kept_test_set(paths, Example) == [Example("a", "b")]  # {"source": "a", "target": "b"} has 29 characters
    paths.test_set.unlink()
    record_data(paths, [file], Example, [Example("a", "b"), Example("c", "d")])
    assert kept_test_set(paths, Example) is None
    assert not paths.test_set.exists()


def test_a_damaged_test_set_is_named(tmp_path: Path, file: Path) -> None:
    paths = RunFolder(tmp_path)
    record_data(paths, [file], Example, PAIRS)
    paths.test_set.write_text(paths.test_set.read_text().replace("ä", "a"), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"test-set\.jsonl: \d+ bytes instead of \d+: restore the file from a copy of the run"
    ):
        kept_test_set(paths, Example)
    paths.test_set.unlink()
    with pytest.raises(UserError, match=r"test-set\.jsonl: missing: "):
        kept_test_set(paths, Example)
    record_data(paths, [file], Example, PAIRS)
    with pytest.raises(UserError, match="its examples do not fit this kind of data"):
        kept_test_set(paths, Question)


def test_changed_files_are_named(tmp_path: Path, file: Path) -> None:
    paths, other = RunFolder(tmp_path), tmp_path / "more.tsv"
    record_data(paths, [file], Example, PAIRS)
    assert json.loads(paths.data_files.read_text())["files"] == [
        {
            "path": str(file),
            "checksum": {"size": 4, "sha256": "5dd1197866f479824d9b483e1b7ae9ad3e518f3b4fd447c6b92d127dda6178c5"},
        }
    ]
    assert changed_data(paths, [file]) is None
    other.write_text("c\td\n")
    assert changed_data(paths, [other, file]) == f"{other}: was not there when training began"
    assert changed_data(paths, []) == f"{file}: was there when training began, and is missing"
    file.write_text("a\tc\n")
    assert changed_data(paths, [file]) == f"{file}: changed since training began (4 bytes then, 4 now)"


def test_runs_that_do_not_know_their_data_have_none_that_changed(tmp_path: Path, file: Path) -> None:
    assert changed_data(RunFolder(tmp_path), [file]) is None
    assert kept_test_set(RunFolder(tmp_path), Example) is None


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', '{"files": [{"path": "a"}]}'])
def test_a_damaged_record_is_named(tmp_path: Path, file: Path, content: str) -> None:
    paths = RunFolder(tmp_path)
    paths.data_files.write_text(content)
    with pytest.raises(UserError, match=r"data-files\.json: damaged.*; restore it from a copy of the run"):
        changed_data(paths, [file])
