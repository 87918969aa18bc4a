"""Questions about texts, from the file to the answer: loss by hand, exact characters, a run that transformers loads."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rounding import additions, assert_close

from seqlab.data.corpora.squad import Question
from seqlab.engine.checkpoint import load_weights
from seqlab.engine.precision import Precision
from seqlab.errors import UserError
from seqlab.experiment.assembly import Assembly, assemble
from seqlab.experiment.config import Experiment, load
from seqlab.inference.run import Run
from seqlab.metrics.answers import match
from seqlab.tasks.question_answering.task import AnswerConfig
from seqlab.tasks.task import predict_lines
from seqlab.tools.checks import run_checks

NAMES = ("ada", "bob", "eve", "mia", "tom", "zoe", "kim", "lea")
AUTOCAST = Precision("fp32", torch.device("cpu")).autocast


def article(number: int, **more: Any) -> dict[str, Any]:
    name = NAMES[number % len(NAMES)]
    context = f"In {1800 + number} there was much to say,  and so {name} wrote the notes. Others did not."
    answer = {"text": name, "answer_start": context.index(name)}
    qa = {"id": f"q{number}", "question": "Who wrote the notes?", "answers": [answer], **more}
    return {"title": f"T{number}", "paragraphs": [{"context": context, "qas": [qa]}]}


def write(path: Path, articles: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"data": articles}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squad")
    write(folder / "train.json", [article(number) for number in range(60)])
    write(folder / "dev.json", [article(number) for number in range(100, 112)])
    return folder


@pytest.fixture(scope="module")
def experiment(folder: Path, tiny_encoder: Path) -> Experiment:
    settings: dict[str, object] = {
        "data.folder": str(folder),
        "data.train": "train.json",
        "data.test": "dev.json",
        "data.validation_size": 6,
        "data.fraction": 1.0,
        "model.checkpoint": str(tiny_encoder),
        "task.window": 48,
        "task.stride": 8,
        "task.longest_question": 20,
        "task.longest_answer": 4,
        "train.max_steps": 6,
        "train.evaluate_every": 3,
        "train.keep_last": 2,
        "train.precision": "fp32",
        "train.trackers": [],
    }
    return load("squad-fifth", settings)


def test_the_loss_of_a_batch_by_hand(assembly: Assembly) -> None:
    task, model = assembly
    rows = task.training(0)
    batch = rows.batch(torch.arange(4).numpy(), int(rows.shapes[:4, 0].max()), 1)
    with torch.no_grad():
        start, end = model.eval()(*batch.inputs)
    expected = 0.0
    for row, (first, last) in enumerate(batch.labels.tolist()):
        expected -= float(start[row].log_softmax(0)[first] + end[row].log_softmax(0)[last]) / 2
    loss = task.loss(model, batch)
    assert loss.sum.item() == pytest.approx(expected, rel=1e-5)
    assert loss.tokens == rows.shapes[:4, 1].sum() == 4


def test_answers_are_passages_of_the_very_text(assembly: Assembly) -> None:
    task, model = assembly
    evaluation = task.evaluate(model, task.corpus.test(), quick=False, autocast=AUTOCAST)
    for record in evaluation.records():
        assert record["predicted"] == record["context"][record["start"] : record["end"]] != ""
        assert record["correct"] == match(record["predicted"], record["answers"]).exact
        assert record["score"] <= 0
    results = evaluation.to_json()
    assert results["examples"] == 12
    assert results["windows"] > 12
    assert sum(group["examples"] for group in results["by_question_word"].values()) == 12
    assert set(results["baselines"]) == {"first sentence", "random span"}
    assert [*results["scores"]] == ["f1", "exact_match", "loss"]
    assert evaluation.quick_scores["f1"] == pytest.approx(results["scores"]["f1"]["value"])


def test_the_result_does_not_depend_on_the_batches(assembly: Assembly) -> None:
    task, model = assembly
    examples = task.corpus.test()
    large = task.evaluate(model, examples, quick=True, autocast=AUTOCAST)
    small = type(task)(AnswerConfig(**{**task.config.model_dump(), "evaluation_tokens": 50}), *_parts(task)).evaluate(
        model, examples, quick=True, autocast=AUTOCAST
    )
    assert [r["predicted"] for r in large.records()] == [r["predicted"] for r in small.records()]
    assert large.loss == pytest.approx(small.loss, rel=1e-4)


def _parts(task: Any) -> tuple[Any, ...]:
    return task.corpus, task._tokenizer, task._network_config


def test_lines_are_answered_in_order(assembly: Assembly) -> None:
    task, model = assembly
    lines = ["Who wrote?\tAda wrote it.", " ", "Who?\tIt was Bob."]
    answers = predict_lines(task, model, lines, autocast=AUTOCAST)
    assert answers[1].predictions[0].text == ""
    assert answers[0].predictions[0].text in "Ada wrote it."
    assert answers[2].predictions[0].text in "It was Bob."
    assert predict_lines(task, model, [""], autocast=AUTOCAST)[0].predictions[0].text == ""
    with pytest.raises(UserError, match="line 8: write the question, a tab"):
        predict_lines(task, model, ["", "no tab"], autocast=AUTOCAST, first=7)


def test_questions_of_a_file_are_asked(assembly: Assembly, folder: Path, tmp_path: Path) -> None:
    task = assembly.task
    lines = list(task.inputs(folder / "dev.json"))
    assert lines[0].startswith("Who wrote the notes?\tIn 1900 there was much to say, and so")
    plain = tmp_path / "lines.txt"
    plain.write_text("a?\tb\n")
    assert list(task.inputs(plain)) == ["a?\tb"]


def with_no_answer(assembly: Assembly, threshold: float) -> Any:
    task = assembly.task
    settings = {**task.config.model_dump(), "no_answer": True, "no_answer_threshold": threshold}
    return type(task)(AnswerConfig(**settings), *_parts(task))


def test_the_text_may_not_say(assembly: Assembly) -> None:
    model = assembly.model
    examples = [*assembly.task.corpus.test()[:3], Question("x", "", "Who?", "Nobody knows.", ())]
    silent = with_no_answer(assembly, -1e4).evaluate(model, examples, quick=False, autocast=AUTOCAST)
    assert [record["predicted"] for record in silent.records()] == [""] * 4
    assert silent.quick_scores["exact_match"] == 0.25
    assert silent.scores["no_answer_f1"].value == 1.0
    assert silent.scores["has_answer_f1"].value == 0.0
    best = silent.to_json()["best_thresholds"]["f1"]
    chosen = with_no_answer(assembly, best["threshold"]).evaluate(model, examples, quick=False, autocast=AUTOCAST)
    assert chosen.scores["f1"].value == pytest.approx(best["value"])
    assert best["value"] >= silent.scores["f1"].value
    assert any("task.no_answer_threshold=" in note for note in silent.notes())
    sure = with_no_answer(assembly, 1e4).evaluate(model, examples, quick=False, autocast=AUTOCAST)
    assert all(record["predicted"] for record in sure.records())


def test_questions_without_an_answer_need_the_setting(folder: Path, experiment: Experiment) -> None:
    impossible = [article(number, is_impossible=True) for number in range(40)]
    write(folder / "impossible.json", impossible)
    changed = experiment.model_copy(update={"data": experiment.data.model_copy(update={"train": "impossible.json"})})
    with pytest.raises(UserError, match=r"set task\.no_answer=true"):
        assemble(changed).task.training(0)


@pytest.mark.parametrize(
    ("settings", "captured"),
    [({"window": 192, "stride": 128}, "leaves no room"), ({"no_answer_threshold": 1.0}, "has no effect without")],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], captured: str) -> None:
    with pytest.raises(ValueError, match=captured):
        AnswerConfig(**settings)


def test_a_run_is_a_folder_that_transformers_loads(trained: Path) -> None:
    transformers = pytest.importorskip("transformers")
    run = Run(trained, device="cpu")
    network = transformers.AutoModelForQuestionAnswering.from_pretrained(trained, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained)
    context = "So kim wrote the notes."
    encoded = tokenizer("Who wrote the notes?", context, return_tensors="pt")
    with torch.no_grad():
        theirs = network.double()(**encoded)
        ours = run.model(encoded["input_ids"], encoded["attention_mask"].bool(), encoded["token_type_ids"])
    assert_close(ours[0], theirs.start_logits, terms=additions(network))
    assert_close(ours[1], theirs.end_logits, terms=additions(network))


def test_a_run_scores_again_what_it_scored(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    evaluation = Run(trained, device="cpu").evaluate()
    assert evaluation.to_json()["scores"] == results["scores"]
    shown = json.loads((trained / "answers.json").read_text())
    assert len(shown) == 5
    for question in shown:
        best = question["predicted"][0]
        assert question["context"][best["start"] : best["end"]] == best["text"]
    assert (trained / "report.html").is_file()


def test_a_run_answers_without_its_checkpoint_and_data(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqlab.runs.hf_folder.find_checkpoint", lambda name: pytest.fail("looked for the checkpoint"))
    text = "So kim wrote the notes."
    assert Run(trained, device="cpu").predict(f"Who?\t{text}") in text


def test_a_run_that_was_broken_off_goes_on_as_if_it_had_not_been(trained: Path, resumed: Path) -> None:
    one, other = (load_weights(run / "model.safetensors") for run in (trained, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_checks_of_training_pass(experiment: Experiment) -> None:
    outcomes = list(run_checks(experiment, "cpu"))
    assert len(outcomes) == 2
    assert all(outcome.passed for outcome in outcomes), outcomes
