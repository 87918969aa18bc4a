"""Classification at the command line: trained, resumed, scored, asked, shown."""

import json
from pathlib import Path

import pytest
from command_line import Command

import seqlab
from seqlab.data.corpora.images import ImageCorpus, ImagesData

SMALL = (
    "digits-rnn",
    "model.width=16",
    "data.by=rows",
    "train.max_steps=40",
    "train.evaluate_every=20",
    "train.precision=fp32",
    "train.trackers=[]",
)


@pytest.fixture(scope="module")
def run(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained with digits that are read row by row."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    outcome = command("train", *SMALL, "--out", folder)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{folder}\n"
    return folder


def test_scores_are_those_of_the_training(command: Command, run: Path) -> None:
    captured = json.loads(command("evaluate", run, "--json").out)
    kept = json.loads((run / "results.json").read_text())
    assert captured["scores"] == kept["scores"]
    assert captured["confusion"] == kept["confusion"]
    assert next(iter(captured["scores"])) == "accuracy"
    assert captured["scores"]["accuracy"]["value"] > 0.3  # learned: guessing has 0.1


def test_evaluate_prints_the_table_of_classes(command: Command, run: Path) -> None:
    captured = command("evaluate", run).out
    assert "precision" in captured
    assert "macro avg" in captured


def test_answers_are_the_classes_of_the_test_predictions(command: Command, run: Path, tmp_path: Path) -> None:
    test = ImageCorpus(ImagesData(by="rows")).test()
    file = tmp_path / "images.txt"
    file.write_text("".join(" ".join(map(str, image.ravel())) + "\n" for image in test.pixels))
    captured = command("predict", run, "--file", file).out.split()
    rows = [json.loads(line) for line in (run / "predictions" / "test.jsonl").read_text().splitlines()]
    assert captured == [row["predicted"] for row in rows]
    assert seqlab.Run(run).predict(file.read_text().splitlines()[0]) == captured[0]


def test_the_report_shows_classes_and_mistakes(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "weighted avg" in page
    assert "permuted" in page


def test_data_counts_the_classes(command: Command) -> None:
    captured = command("data", "digits-rnn")
    assert captured.code == 0
    assert "8 x 8" in captured.out


def test_checks_hold(command: Command) -> None:
    captured = command("check", *SMALL[:3])
    assert captured.code == 0, captured.out
    assert "resume is exact" in captured.out


@pytest.mark.parametrize(
    ("settings", "captured"),
    [
        (["model.kind=transformer"], 'model.kind="transformer" does not suit the task classify-sequence'),
        (["text.unit=bpe"], "text has no effect with the task classify-sequence"),
        (["decode.max_length=5"], "decode has no effect with the task classify-sequence"),
        (["data.kind=numbers"], 'data.kind="numbers" does not suit the task classify-sequence'),
    ],
)
def test_what_does_not_suit_the_task_is_named(command: Command, settings: list[str], captured: str) -> None:
    outcome = command("show", "digits-rnn", *settings)
    assert outcome.code == 2
    assert captured in outcome.complaint
