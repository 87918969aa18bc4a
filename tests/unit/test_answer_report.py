"""What a page and a terminal show of answers that are passages of texts, and of texts that are put into classes."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from rich.console import Console

from seqlab.ablation.measured import Ablation, measures
from seqlab.errors import UserError
from seqlab.inference.batch_file import read_context, with_context
from seqlab.report import wording
from seqlab.report.folder import RunRecord, load_run
from seqlab.report.page import render, results_table, write_report
from seqlab.report.sections import classification, passages
from seqlab.report.sections.passages import Stretch
from seqlab.report.sections.samples import samples_table
from seqlab.runs.events import EventLog
from seqlab.runs.folder import RunFolder
from seqlab.runs.schema import Asked, FoundSpan, Gold

pytestmark = pytest.mark.usefixtures("drawn_figures")

HOSTILE = """<script>alert("&'")</script>"""
CONTEXT = f"Ada wrote the notes in 1843. {HOSTILE}"


def asked(**changes: Any) -> dict[str, Any]:
    """A question as `answers.json` has it: the model adds a word to the answer of people."""
    found = {
        "question": "Who wrote <b>them</b>?",
        "context": CONTEXT,
        "answers": [{"text": "Ada", "start": 0}, {"text": "Ada", "start": 0}],
        "predicted": [{"text": "Ada wrote", "start": 0, "end": 9, "score": -0.5}],
        "f1": 2 / 3,
        "exact_match": False,
    }
    return {**found, **changes}


def write(folder: RunFolder, task: dict[str, Any], results: dict[str, Any], rows: list[dict[str, Any]]) -> RunRecord:
    """A finished run of two updates."""
    folder.predictions.parent.mkdir(parents=True)
    folder.config.write_text(tomli_w.dumps({"about": {"name": "tried"}, "task": task}))
    log = EventLog(folder.events)
    for step in (1, 2):
        log.write("update", step, time_s=float(step), loss=1 / step, tokens_per_s=48.0)
        log.write("evaluation", step, time_s=float(step), split="validation", loss=1 / step, f1=0.5, matthews=-0.1)
        log.write("sample", step, source="Who?", target="the old lady", predicted="the lady")
    folder.results.write_text(json.dumps({"examples": len(rows), "step": 2, "train_s": 2.0, **results}))
    folder.predictions.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return load_run(folder.root)


def answering_run(root: Path) -> RunRecord:
    folder = RunFolder(root)
    rows = [
        {
            "id": f"q{number}",
            "source": f"Who wrote [red]{number}?",
            "context": CONTEXT,
            "target": "Ada",
            "answers": ["Ada"],
            "predicted": ["Ada", "Ada wrote", "1843"][number],
            "start": 0,
            "end": 3,
            "correct": number == 0,
            "f1": [1.0, 2 / 3, 0.0][number],
            "score": -0.25,
        }
        for number in range(3)
    ]
    results = {
        "scores": {
            "f1": {"value": 0.5556, "low": 0.3, "high": 0.8},
            "exact_match": {"value": 0.3333, "low": 0.1, "high": 0.6},
            "has_answer_f1": {"value": 0.6},
            "loss": {"value": 1.2},
        },
        "baselines": {
            "first sentence": {"f1": 0.081, "exact_match": 0.0},
            "random span": {"f1": 0.042, "exact_match": 0.01},
        },
        "by_question_word": {"who": {"examples": 3, "f1": 0.5556, "exact_match": 0.3333}},
        "by_answer_length": {"1 word": {"examples": 2, "f1": 0.75, "exact_match": 0.5}},
    }
    record = write(folder, {"kind": "answer"}, results, rows)
    folder.artifact("answers").write_text(json.dumps([asked(), asked(exact_match=True, f1=1.0)]))
    return record


def classifying_run(root: Path, batches: int = 3) -> RunRecord:
    folder = RunFolder(root)
    rows = [
        {"source": f"It [b]rains {n}.", "row": n, "label": "1", "predicted": str(n % 2), "correct": n % 2 == 1}
        for n in range(4)
    ]
    rows = [{**row, "probability": 0.75} for row in rows]
    results = {
        "scores": {"matthews": {"value": 0.4123}, "accuracy": {"value": 0.5}},
        "baselines": {"always the most frequent class": {"accuracy": 0.691}},
        "batch_matthews": [-0.5, 0.25, 1.0, *[0.5] * (batches - 3)],
    }
    record = write(folder, {"kind": "classify-text"}, results, rows)
    folder.artifact("sentences").write_text(json.dumps([{**rows[0], "source": f"{HOSTILE}\tand <i>more</i>"}, rows[1]]))
    return record


def drawn(name: str, values: Any) -> str:
    """A section as HTML; nothing where the run has none."""
    return "" if values is None else render(f"report/sections/{name}.html.jinja", section=values)


def printed(table: Any) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


# SpecialTokens


@pytest.mark.parametrize(
    ("gold", "found", "expected"),
    [
        ((0, 3), (0, 3), [("Ada", True, True), (" wrote", False, False)]),
        ((0, 3), (2, 6), [("Ad", True, False), ("a", True, True), (" wr", False, True), ("ote", False, False)]),
        ((4, 9), (0, 3), [("Ada", False, True), (" ", False, False), ("wrote", True, False)]),
        ((None, 0), (0, 0), [("Ada wrote", False, False)]),
        ((4, 9), (4, 99), [("Ada ", False, False), ("wrote", True, True)]),
    ],
)
def test_a_text_is_cut_where_answers_begin_and_end(gold: Any, found: Any, expected: Any) -> None:
    text = "Ada wrote"
    answer = Gold("elsewhere" if gold[0] is None else text[slice(*gold)], gold[0])
    shown = Asked(
        "Who?", text, [answer], [FoundSpan(text[slice(*found)], found[0], found[1], -1.0)], 0.0, exact_match=False
    )
    assert passages.stretches(shown) == [Stretch(*part) for part in expected]


# Pages


def test_the_page_of_answers_marks_passages_and_has_all_tables(tmp_path: Path) -> None:
    record = answering_run(tmp_path)
    html = drawn("passages", passages.section(record))
    assert '<p><mark class="gold found">Ada</mark><mark class="found"> wrote</mark> the notes' in html
    assert "Who wrote &lt;b&gt;them&lt;/b&gt;?" in html
    assert "Ada wrote (60.7 %)" in html  # exp(-0.5)
    assert html.count("<dt>people</dt><dd>Ada</dd>") == 2  # two people who say the same are named once
    assert '<tr><th scope="row">who</th><td>3</td><td>55.6 %</td><td>33.3 %</td></tr>' in html
    assert '<tr><th scope="row">1 word</th><td>2</td><td>75.0 %</td><td>50.0 %</td></tr>' in html
    assert '<tr><th scope="row">this model</th><td>55.6 %</td><td>33.3 %</td></tr>' in html
    assert '<tr><th scope="row">first sentence</th><td>8.1 %</td><td>0 %</td></tr>' in html
    page = write_report(record.folder).read_text()
    assert html in page
    assert "<script>" not in page
    assert '<p class="big">55.6 %</p>' in page
    assert "examples per second" in page
    assert "--context FILE QUESTION" in page
    assert "the <mark>old </mark>lady" not in page  # the target of the samples on the way is not marked


def test_no_answer_is_said_in_words(tmp_path: Path) -> None:
    record = answering_run(tmp_path)
    nothing = asked(answers=[], predicted=[{"text": "", "start": 0, "end": 0, "score": 0.0}], exact_match=True, f1=1.0)
    record.folder.artifact("answers").write_text(json.dumps([nothing]))
    html = drawn("passages", passages.section(record))
    assert "<dt>people</dt><dd>no answer</dd>" in html
    assert "no answer (100 %)" in html
    assert f"{CONTEXT[:28]}" in html.replace("<p>", "")


def test_the_page_of_sentences_has_samples_classes_and_correlations(tmp_path: Path) -> None:
    record = classifying_run(tmp_path)
    page = write_report(record.folder).read_text()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "<br>and &lt;i&gt;more&lt;/i&gt;</h3>" in page
    assert "<dt>predicted</dt><dd>0 (75.0 %)</dd>" in page
    assert "always the most frequent class: accuracy 69.1 %" in page
    assert "The dashed line is that of all examples, 0.4123." in page
    assert "<h2>Class by class</h2>" in page
    assert "examples per second" in page


def test_many_batches_are_a_line_and_one_is_not_drawn(tmp_path: Path) -> None:
    assert 'id="batch-matthews-batches"' in classification.batch_correlations([0.5] * 5000, None).svg
    assert len(classification.batch_correlations([0.5] * 5000, None).svg) < 100_000
    record = classifying_run(tmp_path)
    record.folder.results.write_text(json.dumps({"batch_matthews": [0.5]}))
    assert "batch by batch" not in drawn("classification", classification.section(load_run(tmp_path)))
    record.folder.artifact("sentences").unlink()
    assert drawn("classification", classification.section(load_run(tmp_path))).count("<h2>") == 1  # its classes


def test_a_run_without_its_exhibits_and_results_has_a_page_too(tmp_path: Path) -> None:
    for number, record in enumerate((answering_run(tmp_path / "a"), classifying_run(tmp_path / "b"))):
        record.folder.artifact(("answers", "sentences")[number]).unlink()
        record.folder.results.unlink()
        record.folder.predictions.unlink()
        page = write_report(record.folder).read_text()
        assert "What it answers" not in page
        assert "results.json is missing" in page


@pytest.mark.parametrize("make", [answering_run, classifying_run])
def test_damaged_exhibits_are_told_in_one_line(tmp_path: Path, make: Any) -> None:
    folder = make(tmp_path).folder
    name = "answers" if make is answering_run else "sentences"
    folder.artifact(name).write_text('[{"question": "Who?"}]')
    with pytest.raises(UserError, match=rf"{name}.json: damaged \(0\..*delete it to do without"):
        write_report(folder)


# Numbers


def test_scores_of_answers_are_shares(tmp_path: Path) -> None:
    table = printed(results_table(answering_run(tmp_path)))
    assert "55.6 % (30.0 to 80.0 %)" in table
    assert "F1 where there is an answer" in table
    assert "first sentence" in table
    assert wording.score_value("no_answer_f1", 0.25) == "25.0 %"


@pytest.mark.parametrize("make", [answering_run, classifying_run])
def test_examples_are_counted_where_each_has_one_answer(tmp_path: Path, make: Any) -> None:
    record = make(tmp_path)
    assert wording.counted_unit(record) == "examples"
    assert wording.measures(record)["examples per second"] == "48"

    class One(Ablation):
        """An ablation of this run alone."""

        moment = None  # type: ignore[assignment]
        main_score = None  # type: ignore[assignment]

    plan: Any = type("Plan", (), {"config": {}})
    headings = [column.heading for column in measures(One(None, plan, {"one": record}, {}))]  # type: ignore[arg-type]
    assert "examples per second" in headings


# The terminal


def test_samples_in_the_terminal(tmp_path: Path) -> None:
    lines = printed(samples_table(answering_run(tmp_path / "a"), 8)).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["right", "%", "wrong"]
    assert "Who wrote [red]1?" in lines[2]
    assert "F1 67 %" in lines[2]
    lines = printed(samples_table(classifying_run(tmp_path / "b"), 8)).splitlines()
    assert lines[1].split() == ["It", "[b]rains", "0.", "1", "0", "(75.0", "%)", "wrong"]
    assert lines[2].split() == ["It", "[b]rains", "1.", "1", "1", "(75.0", "%)", "right"]


# The text that questions are about


def test_a_text_is_joined_to_every_question(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n One line,\nand  another.\n\n")
    context = read_context(path)
    assert context == "One line,\nand  another."
    assert list(with_context(["Who?", "", "Why?"], context)) == [f"Who?\t{context}", "", f"Why?\t{context}"]
    with pytest.raises(UserError, match="line 2: has a tab"):
        list(with_context(["Who?", "Why?\tA text."], context))


@pytest.mark.parametrize("content", [None, b"", b" \n\n"])
def test_a_text_must_be_there(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"text\.txt: (no such file|the file is empty|is blank: there is no text)"):
        read_context(path)
