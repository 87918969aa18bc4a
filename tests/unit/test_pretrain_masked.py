"""Pretraining from text: which rows, which words are hidden, the loss by hand, exact training, a start for others."""

import json
from collections import Counter
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
from seqlab.models.hf.encoder import SpanModel, load_network
from seqlab.runs.hf_folder import find_checkpoint, read_network_config
from seqlab.tasks.pretraining.masking import SpecialTokens, disguised, hidden_tokens, masked_rows
from seqlab.tasks.pretraining.packing import Sentences, draw_pairs, encode_documents
from seqlab.text.hf.wordpieces import CONTINUES, learn_wordpieces
from seqlab.tools.checks import run_checks
from seqlab.training.trainer import train

transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")

AUTOCAST = Precision("fp32", torch.device("cpu")).autocast
NAMES = ("ada", "bob", "eve", "mia", "tom", "zoe", "kim", "lea")


def text(documents: int, seed: int = 1) -> str:
    random = Random(seed)
    sentences = [
        f"{random.choice(NAMES).title()} wrote the notes of {random.choice(NAMES)} in {random.randint(1800, 1850)}."
        for _ in range(documents * 8)
    ]
    return "\n\n".join(" ".join(sentences[start : start + 4]) for start in range(0, len(sentences), 4))


def toy(random: Random, documents: int = 5) -> Sentences:
    """Random sentences: every token has its own id, the place where it stands."""
    lengths = [random.randint(1, 10) for _ in range(8 * documents)]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    starts = np.array([random.random() < 0.6 for _ in range(offsets[-1])])
    starts[offsets[:-1]] = True
    return Sentences(np.arange(offsets[-1], dtype=np.int32), starts, offsets, np.arange(documents + 1) * 8)


MARKS = SpecialTokens(pad=9000, cls=9001, sep=9002, mask=9003, ordinary=np.arange(8000, 9000))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(text(60))
    return path


@pytest.fixture(scope="module")
def experiment(file: Path) -> Experiment:
    settings: dict[str, object] = {
        "data.train": str(file),
        "data.document_words": 50,
        "model.vocab_size": 160,
        "model.width": 32,
        "model.layers": 2,
        "model.num_heads": 2,
        "model.feedforward": 64,
        "model.max_length": 64,
        "task.longest": 48,
        "batch.max_tokens": 1024,
        "train.max_minutes": None,
        "train.max_steps": 40,
        "train.evaluate_every": 20,
        "train.keep_last": 2,
        "train.precision": "fp32",
        "train.trackers": [],
        "optimizer.lr": 5e-3,
    }
    return load("pretrain-bert", settings)


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_neighbours_that_fit(seed: int) -> None:
    encoded, longest = toy(Random(seed)), 25
    pairs = draw_pairs(encoded, longest, Random(seed))
    borders = set(encoded.offsets.tolist())
    document = np.searchsorted(encoded.offsets[encoded.documents], np.arange(len(encoded.ids)), side="right")
    assert set(pairs.spans.ravel().tolist()) <= borders
    for (start, middle, second, end), elsewhere in zip(pairs.spans.tolist(), pairs.elsewhere, strict=True):
        assert start < middle
        assert second < end
        assert middle - start + end - second + 3 <= longest
        assert (document[start] != document[second]) == elsewhere
        assert elsewhere or second == middle
        assert len(set(document[start:middle])) == len(set(document[second:end])) == 1


def test_every_sentence_is_shown_in_its_place_once() -> None:
    encoded = toy(Random(3), documents=9)
    pairs = draw_pairs(encoded, 25, Random(3))
    shown = Counter[int]()
    for (start, middle, second, end), elsewhere in zip(pairs.spans.tolist(), pairs.elsewhere, strict=True):
        shown.update([*range(start, middle), *([] if elsewhere else range(second, end))])
    assert shown == Counter(range(len(encoded.ids)))


def test_half_of_the_second_texts_are_from_elsewhere_and_lengths_do_not_tell() -> None:
    lengths = np.full(40_000, 5)
    encoded = Sentences(
        np.zeros(200_000, dtype=np.int32),
        np.ones(200_000, dtype=bool),
        np.append(0, lengths.cumsum()),
        np.arange(0, 40_001, 2000),
    )
    pairs = draw_pairs(encoded, 63, Random(1))
    assert pairs.elsewhere.mean() == pytest.approx(0.5, abs=0.02)
    first = pairs.spans[:, 1] - pairs.spans[:, 0]
    assert first[pairs.elsewhere].mean() == pytest.approx(first[~pairs.elsewhere].mean(), rel=0.03)


def test_one_document_is_too_few() -> None:
    with pytest.raises(UserError, match="two documents"):
        draw_pairs(toy(Random(1), documents=1), 25, Random(1))


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_whole_words_are_hidden_by_brute_force(share: float) -> None:
    encoded = toy(Random(2), documents=30)
    pairs = draw_pairs(encoded, 25, Random(2))
    rows = masked_rows(encoded, pairs, MARKS, share, np.random.default_rng(2))
    for row, (start, middle, second, end) in enumerate(pairs.spans.tolist()):
        plain = [MARKS.cls, *range(start, middle), MARKS.sep, *range(second, end), MARKS.sep]
        words: list[list[int]] = []
        for column, token in enumerate(plain):
            if token < 8000 and encoded.starts_word[token]:
                words.append([column])
            elif token < 8000:
                words[-1].append(column)
        batch = rows.batch(np.array([row]), len(plain), 1)
        columns = batch.places.tolist()
        hidden = [word for word in words if set(word) & set(columns)]
        assert sorted(columns) == sorted(column for word in hidden for column in word)
        assert len(hidden) == max(1, round(share * len(words)))
        assert batch.labels.tolist() == [plain[column] for column in columns]
        seen = batch.ids[0].tolist()
        assert [seen[c] for c in range(len(plain)) if c not in columns] == [
            plain[c] for c in range(len(plain)) if c not in columns
        ]
        assert batch.types[0].tolist() == [0] * (middle - start + 2) + [1] * (end - second + 1)
        assert batch.tokens == rows.shapes[row, 1] == batch.hidden.item()
        assert batch.elsewhere.item() == pairs.elsewhere[row]


def test_all_words_are_hidden_equally_often() -> None:
    counts = np.zeros(20)
    generator = np.random.default_rng(1)
    for _ in range(4000):
        counts[hidden_tokens(np.ones(20, dtype=bool), np.zeros(20, dtype=np.int64), 0.15, generator)] += 1
    assert counts / 4000 == pytest.approx(0.15, abs=0.03)


def test_most_hidden_tokens_become_masks_and_some_others_or_stay() -> None:
    labels = np.zeros(50_000, dtype=np.int32)
    found = disguised(labels, MARKS, np.random.default_rng(1))
    assert (found == MARKS.mask).mean() == pytest.approx(0.8, abs=0.01)
    assert (found == 0).mean() == pytest.approx(0.1, abs=0.01)
    assert np.isin(found, MARKS.ordinary).mean() == pytest.approx(0.1, abs=0.01)


def test_a_padded_batch_is_its_rows(assembly: Assembly) -> None:
    rows: Any = assembly.task.training(0)
    chosen = np.array([3, 0, 7])
    width = int(rows.shapes[chosen, 0].max()) + 2
    batch = rows.batch(chosen, width, 1)
    flat = 0
    for place, row in enumerate(chosen):
        alone = rows.batch(np.array([row]), int(rows.shapes[row, 0]), 1)
        length = alone.ids.shape[1]
        assert torch.equal(batch.ids[place, :length], alone.ids[0])
        assert torch.equal(batch.types[place, :length], alone.types[0])
        assert batch.mask[place].sum() == length
        number = len(alone.labels)
        assert torch.equal(batch.places[flat : flat + number] - place * width, alone.places)
        assert torch.equal(batch.labels[flat : flat + number], alone.labels)
        flat += number
    assert flat == batch.tokens


def test_sentences_are_cut_between_words_and_words_only_at_need(assembly: Assembly) -> None:
    tokenizer = assembly.task._tokenizer  # type: ignore[attr-defined]
    documents = [
        Document("a", ("Ada wrote. Bob " + "wrote the " * 30 + "notes.", "Eve.")),
        Document("b", ("adabob" * 9,)),
    ]
    encoded = encode_documents(documents, tokenizer, 10)
    assert np.diff(encoded.offsets).max() <= 10
    assert encoded.documents[0] == 0
    assert encoded.documents[-1] == len(encoded.offsets) - 1
    plain = tokenizer(" ".join(documents[0].paragraphs), add_special_tokens=False)["input_ids"]
    border = encoded.offsets[encoded.documents[1]]
    assert encoded.ids[:border].tolist() == plain
    pieces = tokenizer.convert_ids_to_tokens(encoded.ids[:border].tolist())
    assert all(not pieces[place].startswith(CONTINUES) for place in encoded.offsets[: encoded.documents[1]])


def test_an_epoch_is_a_pure_function_of_its_number(experiment: Experiment, assembly: Assembly) -> None:
    other: Any = assemble(experiment).task
    task: Any = assembly.task
    task.training(1)
    for epoch in (0, 5):
        one, two = task.training(epoch), other.training(epoch)
        assert np.array_equal(one.ids.ids, two.ids.ids)
        assert np.array_equal(one.labels.ids, two.labels.ids)
    assert not np.array_equal(task.training(0).labels.ids, task.training(1).labels.ids)


def test_the_vocabulary_is_the_same_each_time_and_knows_the_characters() -> None:
    texts = text(40).splitlines()
    one, two = (learn_wordpieces(texts, 120, 64) for _ in range(2))
    assert one.get_vocab() == two.get_vocab()
    assert len(one) <= 120
    assert one.convert_ids_to_tokens([0, 1, 2, 3, 4]) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert one.tokenize("ADA wrote") == one.tokenize("ada wrote")
    assert one.tokenize("##a") == ["[UNK]", "[UNK]", "a"]  # no mark of the learner is left
    assert one.unk_token_id not in one("Zoe wrote 1849.")["input_ids"]
    with pytest.raises(UserError, match="make it larger"):
        learn_wordpieces(texts, 20, 64)


def test_logits_at_hidden_places_are_those_of_transformers(assembly: Assembly) -> None:
    model, rows = assembly.model.eval(), assembly.task.training(0)
    network: Any = model.network
    theirs = transformers.BertForPreTraining(network.config.__class__(**network.config.to_dict())).eval()
    theirs.load_state_dict(model.state_dict())
    batch: Any = rows.batch(np.arange(6), int(rows.shapes[:6, 0].max()), 1)
    with torch.no_grad():
        logits, nsp = model(*batch.inputs)
        wanted = theirs.double()(input_ids=batch.ids, attention_mask=batch.mask.long(), token_type_ids=batch.types)
    assert_close(logits, wanted.prediction_logits.flatten(0, 1)[batch.places], terms=additions(model))
    assert_close(nsp, wanted.seq_relationship_logits, terms=additions(model))


def test_the_loss_of_a_batch_by_hand(assembly: Assembly) -> None:
    task, model = assembly
    rows = task.training(0)
    batch: Any = rows.batch(np.arange(4), int(rows.shapes[:4, 0].max()), 1)
    with torch.no_grad():
        logits, nsp = model.eval()(*batch.inputs)
        loss = task.loss(model, batch)
    expected = 0.0
    row_of = np.repeat(np.arange(4), rows.shapes[:4, 1])
    for place, label in enumerate(batch.labels.tolist()):
        row = row_of[place]
        expected -= float(logits[place].log_softmax(0)[label])
        expected -= float(nsp[row].log_softmax(0)[batch.elsewhere[row]])
    assert loss.sum.item() == pytest.approx(expected, rel=1e-5)
    assert loss.tokens == rows.shapes[:4, 1].sum()


def test_a_new_bert_knows_how_frequent_tokens_are(assembly: Assembly) -> None:
    task: Any = assembly.task
    texts = [paragraph for document in task.corpus.training(0) for paragraph in document.paragraphs]
    ids = [id for text in texts for id in task._tokenizer(text, add_special_tokens=False)["input_ids"]]
    counts = np.bincount(ids, minlength=task.vocab_size) + 1
    predictions = assembly.model.network.cls.predictions
    np.testing.assert_allclose(predictions.bias.detach().exp().numpy(), counts / counts.sum(), rtol=1e-5)
    assert predictions.decoder.bias is predictions.bias
    assert predictions.bias.requires_grad


def test_a_run_learns_and_scores_again_what_it_scored(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    scores = {name: score["value"] for name, score in results["scores"].items()}
    assert list(scores) == ["masked_accuracy", "nsp_accuracy", "masked_loss", "loss"]
    baseline = min(value.get("masked_accuracy", 1) for value in results["baselines"].values())
    assert scores["masked_accuracy"] > baseline > 0
    assert Run(trained, device="cpu").evaluate().to_json()["scores"] == results["scores"]
    lines = [json.loads(line) for line in (trained / "predictions" / "test.jsonl").read_text().splitlines()]
    assert len(lines) == results["examples"]
    hidden = sum(round(line["masked_accuracy"] * len(line["target"].split())) for line in lines)
    assert hidden > 0
    assert "<html" in (trained / "report.html").read_text()
    samples = [json.loads(line) for line in (trained / "events.jsonl").read_text().splitlines() if '"sample"' in line]
    assert samples
    assert all("[MASK]" in sample["source"] for sample in samples)


def test_a_run_that_was_broken_off_goes_on_as_if_it_had_not_been(trained: Path, resumed: Path) -> None:
    one, other = (load_weights(run / "model.safetensors") for run in (trained, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_masks_are_filled_with_the_most_probable_word(trained: Path) -> None:
    run = Run(trained, device="cpu")
    task: Any = run.task
    answers = run.predict(["Ada wrote the [MASK] of bob.", "", "[MASK] wrote the [MASK]"])
    assert answers[1] == ""
    assert answers[0].startswith("Ada wrote the ")
    assert answers[0].endswith(" of bob.")
    assert not any("[MASK]" in answer or CONTINUES in answer for answer in answers)
    fill = transformers.pipeline("fill-mask", model=str(trained), device="cpu", top_k=len(task.special.ordinary))
    best = next(f["token_str"] for f in fill("Ada wrote the [MASK] of bob.") if f["token_str"].isalnum())
    assert answers[0] == f"Ada wrote the {best} of bob."


def test_lines_that_cannot_be_filled_are_refused(trained: Path) -> None:
    run = Run(trained, device="cpu")
    with pytest.raises(UserError, match=r"line 2: has no \[MASK\]"):
        run.predict(["a [MASK]", "no mask"])
    with pytest.raises(UserError, match=r"line 1: has .* tokens; 64 can be read"):
        run.predict(["[MASK] " * 80])


def test_other_tasks_are_fine_tuned_from_a_run(trained: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.tsv"
    table.write_text("text\tlabel\n" + "".join(f"ada wrote {n}\t{n % 2}\n" for n in range(40)))
    settings: dict[str, object] = {
        "data.train": str(table),
        "data.validation": None,
        "data.test": None,
        "data.text": "text",
        "data.label": "label",
        "model.checkpoint": str(trained),
        "model.pooling": "first",
        "task.longest": 24,
        "train.max_steps": 2,
        "train.precision": "fp32",
        "train.trackers": [],
    }
    experiment = load("cola", settings)
    start = assemble(experiment).model.state_dict()
    weights = load_weights(trained / "model.safetensors")
    same = [name for name in start if name.startswith("bert.")]
    assert len(same) > 30
    assert all(torch.equal(start[name], weights[name]) for name in same)
    assert train(experiment, tmp_path / "cola", device="cpu", resume=False, overwrite=False, display=Silent())
    checkpoint = find_checkpoint(str(trained))
    reader = load_network(checkpoint, read_network_config(checkpoint), SpanModel.HEAD).state_dict()
    assert all(torch.equal(reader[name], weights[name]) for name in reader if not name.startswith("qa_outputs"))


def test_training_goes_on_from_a_checkpoint(trained: Path, experiment: Experiment, tiny_encoder: Path) -> None:
    tree: dict[str, object] = {
        "data.train": experiment.model_dump()["data"]["train"],
        "data.document_words": 50,
        "model.checkpoint": str(trained),
        "task.longest": 48,
        "train.max_steps": 1,
    }
    model = assemble(load("pretrain-bert", tree)).model
    weights = load_weights(trained / "model.safetensors")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assemble(load("pretrain-bert", {**tree, "model.checkpoint": str(tiny_encoder)}))  # its heads are new
    with pytest.raises(UserError, match="layers has no effect with a checkpoint"):
        load("pretrain-bert", {**tree, "model.layers": 3})


def test_the_checks_of_training_pass(experiment: Experiment) -> None:
    outcomes = list(run_checks(experiment, "cpu"))
    assert len(outcomes) == 2
    assert all(outcome.passed for outcome in outcomes), outcomes
