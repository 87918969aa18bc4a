"""Data files that change or go away while a run is stopped, or after it: refused by name, and never needed again."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import Command, Outcome, losses, signal_after

from seqlab import api

SMALL = (
    "train.max_steps=6",
    "train.evaluate_every=4",
    "train.evaluate_examples=5",
    "train.precision=fp32",
    "train.trackers=[]",
)
NARROW = (
    "auto_size=false",
    "text.unit=character",
    "model.width=16",
    "model.feedforward=32",
    "model.num_heads=2",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
)


def translation(folder: Path) -> list[str]:
    """Settings of a translation of 60 sentences."""
    pairs = "".join(f"the cat number {n} sleeps\tle chat numéro {n} dort\n" for n in range(60))
    (folder / "p.tsv").write_text("en\tfr\n" + pairs, encoding="utf-8")
    return ["translate", "data.train=p.tsv", "data.source=en", "data.target=fr", *NARROW]


def classification(folder: Path, encoder: Path) -> list[str]:
    """Settings of a classification of 60 texts."""
    (folder / "p.tsv").write_text(
        "text\tlabel\n" + "".join(f"ada wrote {n}\t{'good' if n % 2 else 'bad'}\n" for n in range(60))
    )
    files = ["data.train=p.tsv", "data.validation=null", "data.test=null", "data.text=text", "data.label=label"]
    return ["cola", *files, f"model.checkpoint={encoder}"]


def questions(folder: Path, encoder: Path) -> list[str]:
    """Settings of questions about 30 texts."""
    articles = [
        {
            "title": f"T{n}",
            "paragraphs": [
                {
                    "context": f"in {1800 + n} ada wrote the notes.",
                    "qas": [{"id": f"q{n}", "question": "who?", "answers": [{"text": "ada", "answer_start": 8}]}],
                }
            ],
        }
        for n in range(30)
    ]
    (folder / "p.tsv").write_text(json.dumps({"data": articles}))
    sizes = ["task.window=48", "task.stride=8", "task.longest_question=20"]
    files = ["data.train=p.tsv", "data.test=null", "data.fraction=1.0", "data.validation_size=4"]
    return ["squad-fifth", *files, f"model.checkpoint={encoder}", *sizes]


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A translation that was stopped after update 5."""
    settings = translation(tmp_path)
    with pytest.raises(api.Interrupted), signal_after(5):
        api.train(settings[0], [*settings[1:], *SMALL, f"data.folder={tmp_path}"], out=tmp_path / "run")
    return tmp_path / "run"


def grow(file: Path) -> None:
    with file.open("a", encoding="utf-8") as pairs:
        pairs.writelines(f"the dog number {n} sleeps\tle chien numéro {n} dort\n" for n in range(20))


def refused(command: Command, folder: Path) -> Outcome:
    outcome = command("train", "--resume", folder)
    assert (outcome.code, outcome.out) == (2, "")
    return outcome


def test_changed_data_are_refused_by_name(command: Command, stopped: Path) -> None:
    file = stopped.with_name("p.tsv")
    before = file.stat().st_size
    grow(file)
    complaint = refused(command, stopped).complaint
    assert complaint.startswith(
        f"{file}: changed since training began ({before:,} bytes then, {file.stat().st_size:,} now): "
    )
    assert complaint.endswith("put the file back, or resume with --allow-changed-data")


def test_changed_data_are_allowed_and_logged(command: Command, stopped: Path) -> None:
    grow(stopped.with_name("p.tsv"))
    outcome = command("train", "--resume", stopped, "--allow-changed-data")
    assert outcome.code == 0
    assert "resumed with changed data: " in outcome.err
    assert "resumed with changed data: " in (stopped / "report.html").read_text()
    assert [step for step, _ in losses(stopped)] == [1, 2, 3, 4, 5, 6]
    kept = (stopped / "test-set.jsonl").read_text().splitlines()
    assert json.loads((stopped / "results.json").read_text())["examples"] == len(kept) == 4  # one in 20 of 80


def test_missing_data_are_named(command: Command, stopped: Path) -> None:
    file = stopped.with_name("p.tsv")
    file.unlink()
    assert refused(command, stopped).complaint == (
        f"{file}: no such file; {stopped} resumes with the data that it was trained on"
    )


@pytest.mark.parametrize("task", ["translation", "classification", "questions"])
def test_a_copied_run_is_evaluated_without_its_data(
    command: Command, request: pytest.FixtureRequest, tmp_path: Path, task: str
) -> None:
    (tmp_path / "here").mkdir()
    here = tmp_path / "here"
    if task == "translation":
        settings = translation(here)
    else:
        encoder: Path = request.getfixturevalue("tiny_encoder")
        settings = {"classification": classification, "questions": questions}[task](here, encoder)
    assert command("train", *settings, *SMALL, f"data.folder={here}", "--out", here / "run").code == 0
    copy = Path(shutil.copytree(here / "run", tmp_path / "there"))
    shutil.rmtree(here)
    outcome = command("evaluate", copy, "--json")
    assert outcome.code == 0, outcome.err
    results = json.loads((copy / "results.json").read_text())
    scores = json.loads(outcome.out)
    assert scores["examples"] == results["examples"]
    assert scores["scores"] == results["scores"]


def test_without_a_kept_test_set_the_files_have_to_be_those_of_the_training(
    command: Command, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads((stopped / "data-files.json").read_text())
    (stopped / "data-files.json").write_text(json.dumps({**record, "test_set": None}))
    assert command("evaluate", stopped).code == 0
    grow(stopped.with_name("p.tsv"))
    outcome = command("evaluate", stopped)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.endswith("so the test set may differ: score a file of your own with --data")
    (stopped / "data-files.json").unlink()  # a run of an older version does not know
    assert command("evaluate", stopped).code == 0
