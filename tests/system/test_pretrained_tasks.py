"""Fine-tuning a pretrained encoder from the command line: what training prints, questions about a text in a file."""

import json
from pathlib import Path

import pytest
from command_line import Command

NAMES = ("ada", "bob", "eve", "mia", "tom", "zoe")
TEXT = "there was much to say,\nand so mia wrote the notes.\n"
QUICK = ("train.max_steps=2", "train.evaluate_every=2", "train.precision=fp32", "train.trackers=[]")


def article(number: int) -> dict[str, object]:
    """An article of SQuAD with one question."""
    name = NAMES[number % len(NAMES)]
    context = f"in {1800 + number} there was little to do, and so {name} wrote the notes."
    answer = {"text": name, "answer_start": context.index(name)}
    qa = {"id": f"q{number}", "question": "who wrote the notes?", "answers": [answer]}
    return {"title": f"T{number}", "paragraphs": [{"context": context, "qas": [qa]}]}


@pytest.fixture(scope="module")
def answerer(command: Command, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that points to passages of texts, with no skill."""
    folder = tmp_path_factory.mktemp("answerer")
    (folder / "train.json").write_text(json.dumps({"data": [article(number) for number in range(30)]}))
    (folder / "dev.json").write_text(json.dumps({"data": [article(number) for number in (3, *range(50, 57))]}))
    settings = (
        f"data.folder={folder}",
        "data.train=train.json",
        "data.test=dev.json",
        "data.validation_size=4",
        "data.fraction=1.0",
        f"model.checkpoint={tiny_encoder}",
        "task.window=48",
        "task.stride=8",
        "task.longest_question=20",
    )
    outcome = command("train", "squad-fifth", *settings, *QUICK, "--out", folder / "run")
    assert outcome.code == 0
    assert "who wrote the notes?" in outcome.err  # the samples
    assert "random span" in outcome.err  # the baselines
    assert "examples per second" in outcome.err
    leak = "test: 1 questions are about a text that is also trained on"
    assert leak in " ".join(outcome.err.split())
    assert leak in (folder / "run" / "report.html").read_text().partition("Before you read on")[2]
    return folder / "run"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file with the text that questions are about."""
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_questions_about_a_text_in_a_file(command: Command, answerer: Path, text: Path, tmp_path: Path) -> None:
    question = "who wrote the notes?"
    captured = command("predict", answerer, "--context", text, question)
    assert captured.code == 0
    answer = captured.out.removesuffix("\n")
    assert answer
    assert answer in " ".join(TEXT.split())
    line = f"{question}\t{' '.join(TEXT.split())}"
    assert command("predict", answerer, line).out == captured.out
    questions = tmp_path / "questions.txt"
    questions.write_text(f"{question}\n\n{question}\n")
    assert command("predict", answerer, "--context", text, "--file", questions).out == f"{answer}\n\n{answer}\n"
    assert (
        command("predict", answerer, "--context", text, stdin=questions.read_bytes()).out == f"{answer}\n\n{answer}\n"
    )
    out = tmp_path / "answers.txt"
    assert command("predict", answerer, "--context", text, "--file", questions, "--out", out).code == 0
    assert out.read_text() == f"{answer}\n\n{answer}\n"


def test_what_is_wrong_with_a_context_is_told_in_one_line(
    command: Command, answerer: Path, text: Path, tmp_path: Path
) -> None:
    missing = command("predict", answerer, "--context", tmp_path / "none.txt", "who?")
    assert (missing.code, missing.complaint) == (2, f"{tmp_path / 'none.txt'}: no such file")
    text.write_text("\n")
    empty = command("predict", answerer, "--context", text, "who?")
    assert (empty.code, empty.complaint) == (2, f"{text}: is blank: there is no text to answer from")
    text.write_text(TEXT)
    both = command("predict", answerer, "--context", text, "who?\tsome other text")
    assert both.code == 2
    assert "has a tab" in both.complaint


def test_a_run_that_puts_texts_into_classes_takes_no_context(
    command: Command, tiny_encoder: Path, text: Path, tmp_path: Path
) -> None:
    lines = [f"{name} wrote the notes{end}\t{int(end == '.')}\n" for name in NAMES for end in (".", " the")]
    (tmp_path / "texts.tsv").write_text("".join(lines))
    data = [f"data.{name}={tmp_path / 'texts.tsv'}" for name in ("train", "validation", "test")]
    columns = ("data.text=1", "data.label=2", f"model.checkpoint={tiny_encoder}", "batch.batch_size=4")
    run = tmp_path / "run"
    outcome = command("train", "cola", *data, *columns, *QUICK, "--out", run)
    assert outcome.code == 0
    assert "wrote the notes" in outcome.err  # the samples
    assert "always the most frequent class" in outcome.err
    refused = command("predict", run, "--context", text, "who?")
    assert refused.code == 2
    assert refused.complaint == "this run does not answer questions about a text: leave out --context"
    assert command("predict", run, "ada wrote the notes.").out in ("0\n", "1\n")
    assert "What it answers" in (run / "report.html").read_text()
