"""BART and T5 from text: rows, loss by hand, exact training, a folder that others load, and lines that are repaired."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from rounding import additions, assert_close

from seqlab.data.corpora.passages import Document
from seqlab.display import Silent
from seqlab.engine.checkpoint import load_weights
from seqlab.engine.precision import Precision
from seqlab.errors import UserError
from seqlab.experiment.assembly import Assembly, assemble
from seqlab.experiment.config import Experiment, load
from seqlab.inference.run import Run
from seqlab.tasks.pretraining.noising import restored
from seqlab.tasks.pretraining.packing import Sentences, fill_rows
from seqlab.text.hf.bart_pieces import learn_bart_pieces
from seqlab.text.hf.t5_pieces import SENTINELS, learn_t5_pieces
from seqlab.tools.checks import run_checks
from seqlab.training.trainer import train

transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")

AUTOCAST = Precision("fp32", torch.device("cpu")).autocast
NAMES = ("Ada", "Bob", "Eve", "Mia", "Tom", "Zoe", "Kim", "Lea")
KINDS = ("bart", "t5")


def text(documents: int, seed: int = 1) -> str:
    random = Random(seed)
    sentences = [
        f"{random.choice(NAMES)} wrote the notes of {random.choice(NAMES)} in {random.randint(1800, 1850)}."
        for _ in range(documents * 8)
    ]
    return "\n\n".join(" ".join(sentences[start : start + 4]) for start in range(0, len(sentences), 4))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(text(60))
    return path


@pytest.fixture(scope="module", params=KINDS)
def experiment(request: pytest.FixtureRequest, file: Path) -> Experiment:
    settings: dict[str, object] = {
        "data.train": str(file),
        "data.document_words": 50,
        "model.vocab_size": 320,
        "model.width": 32,
        "model.encoder_layers": 2,
        "model.decoder_layers": 1,
        "model.num_heads": 2,
        "model.feedforward": 64,
        "model.max_length": 64,
        "task.longest": 48,
        "batch.max_tokens": 1024,
        "train.max_minutes": None,
        "train.max_steps": 60,
        "train.evaluate_every": 30,
        "train.keep_last": 2,
        "train.precision": "fp32",
        "train.trackers": [],
        "optimizer": {"kind": "adamw", "lr": 5e-3},
    }
    return load(f"pretrain-{request.param}", settings)


@pytest.fixture
def kind(experiment: Experiment) -> str:
    return experiment.model.kind


def test_rows_have_every_sentence_once_and_those_of_one_document() -> None:
    lengths = [3, 4, 5, 9, 2, 2, 10, 1]
    encoded = Sentences(
        np.arange(36, dtype=np.int32),
        np.ones(36, dtype=bool),
        np.append(0, np.cumsum(lengths)),
        np.array([0, 0, 3, 3, 8, 8]),  # documents without sentences stand among the others
    )
    assert fill_rows(encoded, 10).tolist() == [[0, 2], [2, 3], [3, 4], [4, 6], [6, 7], [7, 8]]
    assert fill_rows(Sentences(np.array([]), np.array([]), np.array([0]), np.array([0, 0])), 10).shape == (0, 2)


def test_rows_are_the_documents_damaged(experiment: Experiment, assembly: Assembly, kind: str) -> None:
    task: Any = assembly.task
    pairs, tokenizer = task.training(0), task._tokenizer
    assert pairs.shapes.max() <= experiment.task.longest
    words: list[str] = []
    for row in range(len(pairs)):
        source, target = (
            side.ids[side.offsets[row] : side.offsets[row + 1]].tolist() for side in (pairs.sources, pairs.targets)
        )
        assert target[-1] == source[-1] == tokenizer.eos_token_id
        assert (source[0] == tokenizer.bos_token_id) == (kind == "bart")
        whole = target if kind == "bart" else restored(source, target[:-1], task._blanks)
        words += tokenizer.decode(whole, skip_special_tokens=True).split()
    wanted = [paragraph for document in task.corpus.training(0) for paragraph in document.paragraphs]
    assert words == " ".join(wanted).split()


def test_an_epoch_is_a_pure_function_of_its_number(experiment: Experiment, assembly: Assembly) -> None:
    other: Any = assemble(experiment).task
    task: Any = assembly.task
    task.training(1)
    for epoch in (0, 5):
        one, two = task.training(epoch), other.training(epoch)
        assert np.array_equal(one.sources.ids, two.sources.ids)
        assert np.array_equal(one.targets.ids, two.targets.ids)
    assert not np.array_equal(task.training(0).sources.ids, task.training(1).sources.ids)


def test_the_loss_of_a_batch_by_hand(assembly: Assembly) -> None:
    task, model = assembly
    rows = task.training(0)
    batch: Any = rows.batch(np.arange(4), *rows.shapes[:4].max(0).tolist())
    with torch.no_grad():
        logits = model.eval()(*batch.inputs)
        loss = task.loss(model, batch)
    expected = -sum(float(row.log_softmax(0)[label]) for row, label in zip(logits, batch.labels.tolist(), strict=True))
    assert loss.sum.item() == pytest.approx(expected, rel=1e-5)
    assert loss.tokens == rows.shapes[:4, 1].sum()


def test_a_new_bart_knows_how_frequent_tokens_are(assembly: Assembly, kind: str) -> None:
    task: Any = assembly.task
    if kind == "t5":
        assert not hasattr(assembly.model.network, "final_logits_bias")
        return
    rows = task.training(0)
    counts = np.bincount(rows.targets.ids, minlength=task.vocab_size) + 1
    frequencies = counts / counts.sum()
    bias = assembly.model.network.final_logits_bias
    np.testing.assert_allclose(bias.exp().numpy(), frequencies[None], rtol=1e-5)
    batch: Any = rows.batch(np.arange(32), *rows.shapes[:32].max(0).tolist())
    with torch.no_grad():
        loss = task.loss(assembly.model.eval(), batch)
    entropy = -np.log(frequencies[batch.labels.numpy()]).mean()
    assert float(loss.sum) / loss.tokens == pytest.approx(entropy, abs=0.1)  # log V is 5.8, the entropy about 4


def test_a_checkpoint_stays_as_it_is_with_other_text(trained: Path, kind: str, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("\n\n".join(["Zoe sailed to an island."] * 200))
    tree: dict[str, object] = {
        "data.train": str(tmp_path / "other.txt"),
        "data.document_words": 50,
        "model.checkpoint": str(trained),
        "task.longest": 48,
    }
    state = assemble(load(f"pretrain-{kind}", tree)).model.state_dict()
    weights = load_weights(trained / "model.safetensors")
    assert ("final_logits_bias" in weights) == (kind == "bart")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in state.items())


def test_a_run_learns_and_scores_again_what_it_scored(trained: Path, kind: str) -> None:
    results = json.loads((trained / "results.json").read_text())
    scores = {name: score["value"] for name, score in results["scores"].items()}
    assert list(scores) == ["hidden_accuracy", "token_accuracy", "hidden_loss", "loss", "perplexity"]
    (baseline,) = (value["hidden_accuracy"] for value in results["baselines"].values())
    assert scores["hidden_accuracy"] > baseline > 0
    assert scores["perplexity"] == pytest.approx(np.exp(scores["loss"]))
    assert Run(trained, device="cpu").evaluate().to_json()["scores"] == results["scores"]
    lines = [json.loads(line) for line in (trained / "predictions" / "test.jsonl").read_text().splitlines()]
    assert len(lines) == results["examples"]
    assert sum(line["score"] for line in lines) == pytest.approx(-scores["loss"] * results["target_tokens"])
    assert "<html" in (trained / "report.html").read_text()
    samples = [json.loads(line) for line in (trained / "events.jsonl").read_text().splitlines() if '"sample"' in line]
    assert samples
    mark = "<mask>" if kind == "bart" else "<extra_id_0>"
    assert all(mark in sample["source"] for sample in samples)
    assert all((mark in sample["target"]) == (kind == "t5") for sample in samples)


def test_a_run_that_was_broken_off_goes_on_as_if_it_had_not_been(trained: Path, resumed: Path) -> None:
    one, other = (load_weights(run / "model.safetensors") for run in (trained, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_transformers_loads_the_folder_and_writes_the_same(trained: Path, kind: str) -> None:
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(trained).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained)
    run = Run(trained, device="cpu")
    task: Any = run.task
    batch: Any = task.training(0).batch(np.arange(6), *task.training(0).shapes[:6].max(0).tolist())
    read = torch.cat([run.model.decoder_prefix.expand(6, -1), batch.target], 1)
    with torch.no_grad():
        ours = run.model(*batch.inputs)
        wanted = theirs(input_ids=batch.source, attention_mask=batch.source_mask.long(), decoder_input_ids=read).logits
    wanted = wanted[:, len(run.model.decoder_prefix) :].flatten(0, 1)[batch.target_index]
    assert_close(ours, wanted, terms=additions(theirs))
    mark = "<mask>" if kind == "bart" else "<extra_id_0>"
    line = f"Ada wrote the {mark} of Bob in 1820. Eve wrote the notes."
    asked = tokenizer(line, return_tensors="pt")
    assert asked["input_ids"][0].tolist() == task._with_special_tokens(task.parse(line, 1))
    (written,) = theirs.generate(**asked, num_beams=1, do_sample=False).tolist()
    (found,) = task._written(run.model, asked["input_ids"].tolist(), AUTOCAST)
    start = 1 + len(run.model.decoder_prefix)
    assert written[start : start + len(found.ids)] == found.ids
    assert len(written) == start + len(found.ids) + 1  # the end, which theirs puts even where ours is cut


def test_lines_are_repaired(trained: Path, kind: str) -> None:
    run = Run(trained, device="cpu")
    task: Any = run.task
    mark = "<mask>" if kind == "bart" else "<extra_id_0>"
    lines = [f"Ada wrote {mark} of Bob in 1820.", "", f"{mark} wrote the notes </s> of Zoe."]
    answers = run.predict(lines)
    assert answers == [run.predict(lines[0]), "", run.predict(lines[2])]
    assert not any("<" in answer for answer in answers)
    if kind == "t5":
        ids = task.parse(lines[0], 1)
        (found,) = task._written(run.model, [task._with_special_tokens(ids)], AUTOCAST)
        assert answers[0] == task._tokenizer.decode(restored(ids, found.ids, task._blanks), skip_special_tokens=True)
        assert answers[0].startswith("Ada wrote")
        assert answers[0].endswith("of Bob in 1820.")
        assert answers[2].endswith("wrote the notes of Zoe.")


def test_lines_that_cannot_be_read_are_refused(trained: Path, kind: str) -> None:
    run = Run(trained, device="cpu")
    fine = "a <extra_id_0> b"
    with pytest.raises(UserError, match=r"line 2: has .* tokens; 45 can be read \(task\.longest in training\)"):
        run.predict([fine, "<extra_id_0>" + " wrote the notes" * 40])
    if kind == "t5":
        for line in ("no sentinel", "<extra_id_1> a", "<extra_id_0> a <extra_id_2>"):
            with pytest.raises(UserError, match="line 1: mark the gaps with <extra_id_0>, <extra_id_1>"):
                run.predict([line])
    else:
        assert isinstance(run.predict("No mask. But in order?"), str)


def test_damage_is_spelled_so_that_it_can_be_read_again(assembly: Assembly, kind: str) -> None:
    task: Any = assembly.task
    mark = "<mask>" if kind == "bart" else "<extra_id_0>"
    for line in (f"{mark} wrote the notes.", f"Ada wrote {mark}.", f"Ada {mark} notes of Bob."):
        ids = task.parse(line, 1)
        assert task._spelled(task._with_special_tokens(ids)) == line
        assert task.parse(task._spelled(ids), 1) == ids


def test_paraphrases_are_fine_tuned_from_a_run(trained: Path, tmp_path: Path) -> None:
    table = tmp_path / "pairs.tsv"
    table.write_text("".join(f"Ada wrote {n} notes.\tThe notes {n} are of Ada.\n" for n in range(40)))
    settings: dict[str, object] = {
        "data": {"kind": "parallel", "source": "a", "target": "b", "train": str(table)},
        "model.checkpoint": str(trained),
        "decode.max_length": 30,
        "train.max_steps": 2,
        "train.precision": "fp32",
        "train.trackers": [],
    }
    start = assemble(load("bart-paraphrase", settings)).model.state_dict()
    weights = load_weights(trained / "model.safetensors")
    assert start.keys() == weights.keys()
    assert all(torch.equal(start[name], weights[name]) for name in start)
    random = assemble(load("bart-paraphrase", {**settings, "model.pretrained": False})).model.state_dict()
    assert {name: tensor.shape for name, tensor in random.items()} == {n: t.shape for n, t in weights.items()}
    assert not all(torch.equal(random[name], weights[name]) for name in random)
    folder, experiment = tmp_path / "paraphrase", load("bart-paraphrase", settings)
    assert train(experiment, folder, device="cpu", resume=False, overwrite=False, display=Silent())
    assert isinstance(Run(folder, device="cpu").predict("Ada wrote 3 notes."), str)


def test_training_goes_on_from_a_checkpoint(trained: Path, experiment: Experiment, kind: str) -> None:
    tree: dict[str, object] = {
        "data.train": experiment.model_dump()["data"]["train"],
        "data.document_words": 50,
        "model.checkpoint": str(trained),
        "task.longest": 48,
        "train.max_steps": 1,
    }
    task, model = assemble(load(f"pretrain-{kind}", tree))
    weights = load_weights(trained / "model.safetensors")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert np.array_equal(task.training(0).sources.ids, assemble(experiment).task.training(0).sources.ids)
    with pytest.raises(UserError, match="encoder_layers has no effect with a checkpoint"):
        load(f"pretrain-{kind}", {**tree, "model.encoder_layers": 4})
    with pytest.raises(UserError, match=r"reads 6\d tokens at most"):
        assemble(load(f"pretrain-{kind}", {**tree, "task.longest": 65}))


def test_the_checks_of_training_pass(experiment: Experiment) -> None:
    outcomes = list(run_checks(experiment, "cpu"))
    assert len(outcomes) == 2
    assert all(outcome.passed for outcome in outcomes), outcomes


def test_noise_must_suit_the_tokenizer(file: Path) -> None:
    for kind, noise, message in (
        ("bart", "span-corruption", 'needs a tokenizer with sentinel tokens, such as that of model.kind="t5"'),
        ("t5", "text-infilling", 'needs a tokenizer with a mask token, such as that of model.kind="bart"'),
    ):
        settings = {"data.train": str(file), "data.document_words": 50, "model.vocab_size": 320}
        with pytest.raises(UserError, match=message):
            assemble(load(f"pretrain-{kind}", {**settings, "task.noise": {"kind": noise}}))


@pytest.mark.parametrize("kind", KINDS)
def test_settings_out_of_range_are_refused(kind: str, file: Path) -> None:
    for setting in ({"task.noise.share": 0.0}, {"task.noise.share": 1.0}, {"task.noise.mean_span": 0}):
        (name,) = setting
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            load(f"pretrain-{kind}", {"data.train": str(file), **setting})
    few: dict[str, object] = {"data.train": str(file), "data.document_words": 50, "model.vocab_size": 120}
    with pytest.raises(UserError, match=r"model\.vocab_size=120: .*: make it larger"):
        assemble(load(f"pretrain-{kind}", few))


@pytest.mark.parametrize("kind", KINDS)
def test_files_without_text_are_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.train names no file"):
        assemble(load(f"pretrain-{kind}", {"data.train": []}))
    blank = tmp_path / "blank.txt"
    blank.write_text("\n\n")
    with pytest.raises(UserError, match=r"blank\.txt: has no text"):
        assemble(load(f"pretrain-{kind}", {"data.train": str(blank)}))


def test_a_document_without_sentences_is_left_out(assembly: Assembly, tmp_path: Path) -> None:
    task, model = assembly
    none, some = Document("none", ()), Document("some", ("Ada wrote the notes.",))
    with pytest.raises(UserError, match="contain no sentences"):
        task.evaluate(model, [none], quick=True, autocast=AUTOCAST)
    both = task.evaluate(model, [none, some], quick=True, autocast=AUTOCAST)
    assert both.quick_scores == task.evaluate(model, [some], quick=True, autocast=AUTOCAST).quick_scores
    assert len(task.samples(model, [none, some], autocast=AUTOCAST)) == 1
    one = tmp_path / "one.txt"
    one.write_text("Ada wrote the notes of Bob.\n")
    assert len(task.corpus.read(one)) == 1  # one document is enough


def test_a_text_may_contain_the_names_of_marks(assembly: Assembly) -> None:
    task: Any = assembly.task
    encoded = task._encode([Document("odd", ("Ada wrote <mask> and <extra_id_0> and </s> here.",))])
    assert not set(encoded.ids.tolist()) & (set(task._tokenizer.all_special_ids) - {task._tokenizer.unk_token_id})


@pytest.mark.parametrize("learn", [learn_bart_pieces, learn_t5_pieces])
def test_vocabularies_are_the_same_each_time(learn: Any) -> None:
    texts = text(40).splitlines()
    one, two = (learn(texts, 320, 64) for _ in range(2))
    assert one.backend_tokenizer.to_str() == two.backend_tokenizer.to_str()
    assert len(one) <= 320
    ids = one("Ada wrote the notes of Bob in 1820.")["input_ids"]
    assert one.unk_token_id not in ids
    assert one.decode(ids, skip_special_tokens=True).strip() == "Ada wrote the notes of Bob in 1820."


def test_pieces_of_a_bart_are_the_same_everywhere_in_a_text() -> None:
    tokenizer = learn_bart_pieces(text(40).splitlines(), 320, 64)
    first, later = (tokenizer.tokenize(line) for line in ("Ada wrote.", "Bob wrote. Ada wrote."))
    assert later[-len(first) :] == first
    assert tokenizer.tokenize("Ada <mask>, Bob<mask>.")[-1] == "."
    assert tokenizer.unk_token_id not in tokenizer("ĉ 漢 \u200b")["input_ids"]


def test_pieces_of_a_t5_have_sentinels_behind_them() -> None:
    tokenizer = learn_t5_pieces(text(40).splitlines(), 320, 64)
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<pad>", "</s>", "<unk>"]
    number = len(tokenizer)
    assert tokenizer.convert_tokens_to_ids(list(SENTINELS)) == list(range(number - 100, number))
    assert tokenizer.tokenize("Ada <extra_id_0>, Bob <extra_id_1> .")[-1] == "."
    assert "漢" not in tokenizer.get_vocab()
    assert not [piece for piece in tokenizer.get_vocab() if piece.endswith("1820.")]
