"""Texts and their classes, from the file to the answer: loss by hand, a run that transformers loads, exact training."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import matthews_corrcoef

from seqlab.data.corpora.labelled import Labelled
from seqlab.display import LineCount, Silent
from seqlab.engine.precision import Precision
from seqlab.errors import UserError
from seqlab.experiment.assembly import Assembly
from seqlab.experiment.config import Experiment, load
from seqlab.inference.batch_file import write_outputs
from seqlab.inference.run import Run
from seqlab.tasks.class_scores import ClassEvaluation
from seqlab.tasks.text_classification.task import BATCH, TextEvaluation
from seqlab.tools.checks import run_checks
from seqlab.training.trainer import train

AUTOCAST = Precision("fp32", torch.device("cpu")).autocast


def settings(tiny_encoder: Path, train: Path, **more: object) -> dict[str, object]:
    return {
        "data.train": str(train),
        "data.validation": None,
        "data.test": None,
        "data.text": "text",
        "data.label": "label",
        "model.checkpoint": str(tiny_encoder),
        "model.pooling": "first",
        "task.longest": 24,
        "train.max_steps": 30,
        "train.evaluate_every": 15,
        "train.precision": "fp32",
        "train.trackers": [],
        "optimizer.lr": 3e-3,
        **more,
    }


@pytest.fixture(scope="module")
def experiment(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    path = tmp_path_factory.mktemp("texts") / "texts.tsv"
    names = ["ada", "bob", "eve", "mia", "tom", "zoe", "kim", "lea"]
    rows = [f"{a} wrote {b} {n}\tyes\nnotes {a} {b} {n}\tno" for n in range(3) for a in names for b in names]
    path.write_text("\n".join(["text\tlabel", *rows]) + "\n")
    return load("cola", settings(tiny_encoder, path))


def test_the_loss_of_a_batch_by_hand(assembly: Assembly) -> None:
    task, model = assembly
    rows = task.training(0)
    batch = rows.batch(np.arange(4), 24, 1)
    with torch.no_grad():
        logits = model.eval()(*batch.inputs)
        loss = task.loss(model, batch)
    expected = -sum(float(logits[row].log_softmax(0)[label]) for row, label in enumerate(batch.labels.tolist()))
    assert loss.sum.item() == pytest.approx(expected, rel=1e-5)
    assert loss.tokens == rows.shapes[:4, 1].sum() == 4


def test_pairs_are_told_apart_and_long_texts_cut(assembly: Assembly) -> None:
    task: Any = assembly.task
    rows, is_cut = task.encode([Labelled("who", "the notes", "yes"), Labelled("wrote " * 40, None, "no")])
    assert is_cut == [False, True]
    assert rows.shapes[:, 0].tolist() == [6, 24]
    assert rows.batch(np.array([0]), 6, 1).types.tolist() == [[0, 0, 0, 1, 1, 1]]


def test_a_special_token_in_a_text_is_text(assembly: Assembly) -> None:
    task: Any = assembly.task
    rows, _ = task.encode([Labelled("ada [SEP] bob [CLS]", None, "yes")])
    separator, first = task._tokenizer.sep_token_id, task._tokenizer.cls_token_id
    ids = rows.ids.ids.tolist()
    assert (ids.count(separator), ids.count(first)) == (1, 1)
    assert (ids[0], ids[-1]) == (first, separator)
    assert len(ids) > 8


def test_correlations_batch_by_batch_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    labels, found = generator.integers(2, size=70), generator.normal(size=(70, 2))
    examples = [Labelled("a", None, str(label)) for label in labels]
    evaluation = TextEvaluation(ClassEvaluation(["0", "1"], labels, found, ("loss", "matthews")), examples, [])
    parts = np.split(np.arange(70), [BATCH, 2 * BATCH])
    wanted = [matthews_corrcoef(labels[part], found[part].argmax(1)) for part in parts]
    assert evaluation.batch_matthews() == pytest.approx(wanted)


def test_a_run_learns_scores_again_what_it_scored_and_shows_texts(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    assert results["scores"]["matthews"]["value"] > 0.5
    assert results["classes"] == ["no", "yes"]
    assert len(results["batch_matthews"]) == 1
    assert "always the most frequent class" in results["baselines"]
    assert Run(trained, device="cpu").evaluate().to_json()["scores"] == results["scores"]
    shown = json.loads((trained / "sentences.json").read_text())
    assert len(shown) == 5
    assert all({"source", "label", "predicted", "probability"} <= record.keys() for record in shown)
    assert "<html" in (trained / "report.html").read_text()


def test_a_run_is_a_folder_that_transformers_loads(trained: Path) -> None:
    transformers = pytest.importorskip("transformers")
    run = Run(trained, device="cpu")
    classify = transformers.pipeline("text-classification", model=str(trained), device="cpu")
    texts = ["ada wrote bob 7", "notes ada bob 7", "kim wrote lea 1"]
    assert [found["label"] for found in classify(texts)] == run.predict(texts)
    score = run.predict_lines([texts[0]])[0].predictions[0].score
    assert classify(texts[:1])[0]["score"] == pytest.approx(np.exp(score), abs=1e-4)


def test_a_run_of_means_is_loaded_as_a_network_of_tokens(
    experiment: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its head is linear: the logits of a text are the mean of those of its tokens."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("means") / "run"
    means = experiment.model_copy(update={"model": experiment.model.model_copy(update={"pooling": "mean"})})
    assert train(means, folder, device="cpu", resume=False, overwrite=False, display=Silent())
    run = Run(folder, device="cpu")
    head = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
    network, report = head.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(["ada wrote bob 7", "kim"], return_tensors="pt", padding=True)
    mask = encoded["attention_mask"]
    with torch.no_grad():
        tokens = network.double().eval()(**encoded).logits
        ours = run.model.double()(encoded["input_ids"], mask.bool(), encoded["token_type_ids"])
    theirs = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-6)
    assert (ours.max() - ours.min()).item() > 0.1


def test_lines_are_answered_in_order(trained: Path) -> None:
    run = Run(trained, device="cpu")
    answers = [answer.predictions[0].text for answer in run.predict_lines(["ada wrote bob 9", "", "notes ada bob 9"])]
    assert answers[1] == ""
    assert {answers[0], answers[2]} <= {"yes", "no"}
    assert run.predict_lines([""])[0].predictions[0].text == ""


def test_texts_that_are_cut_are_counted(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    write_outputs(
        Run(trained, device="cpu"), ["wrote " * 40, "ada wrote bob 9", "notes " * 30], out, LineCount(None, hidden=True)
    )
    assert out.getvalue().count("\n") == 3
    assert "2 of 3 inputs are longer than task.longest and were cut" in capsys.readouterr().err


def test_a_strange_label_is_refused(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.tsv"
    path.write_text("text\tlabel\nada\tmaybe\n")
    with pytest.raises(UserError, match='label "maybe" of "ada" is not one of no, yes'):
        Run(trained, device="cpu").evaluate(path)


def test_the_checks_of_training_pass(experiment: Experiment) -> None:
    outcomes = list(run_checks(experiment, "cpu"))
    assert len(outcomes) == 2
    assert all(outcome.passed for outcome in outcomes), outcomes
