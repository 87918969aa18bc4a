"""T5 and BART: what our search finds through the adapter is what `generate` finds, and all promises of models hold."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from judging import PARAPHRASE
from rounding import additions, assert_close
from torch import Tensor

from seqlab.decode.contract import RowSelection
from seqlab.decode.search import search
from seqlab.decode.settings import DecodeConfig
from seqlab.display import Silent
from seqlab.errors import UserError
from seqlab.experiment.assembly import assemble
from seqlab.experiment.config import Experiment, load
from seqlab.inference.run import Run
from seqlab.models.hf.encoder_decoder import PretrainedEncoderDecoder, PretrainedEncoderDecoderConfig
from seqlab.tools.checks import run_checks
from seqlab.training.trainer import train

transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")

SIZES = {"vocab_size": 40, "d_model": 32, "decoder_start_token_id": 0}
T5 = {"d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "initializer_factor": 3.0}
BART = {
    **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 64 for side in ("encoder", "decoder")},
    "max_position_embeddings": 64,
    "init_std": 0.3,
}
NETWORKS: dict[str, Callable[[], Any]] = {
    "t5": lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**SIZES, **T5)),
    "gated-t5": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(**SIZES, **T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
    "mt5": lambda: transformers.MT5ForConditionalGeneration(transformers.MT5Config(**SIZES, **T5)),
    "bart": lambda: transformers.BartForConditionalGeneration(
        transformers.BartConfig(**{**SIZES, "decoder_start_token_id": 2}, **BART)
    ),
    "pegasus": lambda: transformers.PegasusForConditionalGeneration(transformers.PegasusConfig(**SIZES, **BART)),
}


def model(name: str, seed: int = 3) -> PretrainedEncoderDecoder:
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    if name == "bart":  # random ones never stop: make an end likely
        network.final_logits_bias[0, 2] = 4.0
    if name == "t5":
        network.shared.weight.data[1] *= 4
    prompt = (2,) if name == "bart" else ()
    return PretrainedEncoderDecoder(PretrainedEncoderDecoderConfig(checkpoint="none"), network, prompt).eval()


def sources(rows: int = 12, width: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 40, (rows, width), generator=generator)
    lengths = torch.randint(1, width + 1, (rows, 1), generator=generator)
    lengths[0] = width
    mask = torch.arange(width) < lengths
    return ids.where(mask, 1), mask


def generated(name: str, ours: PretrainedEncoderDecoder, tokens: int, **settings: Any) -> list[list[int]]:
    """What `generate` writes with the same weights and attention of its own: no special tokens but the end."""
    network = NETWORKS[name]()
    network.to(next(ours.parameters()).dtype).load_state_dict(ours.network.state_dict())
    ids, mask = sources()
    network_rows = network.eval().generate(
        input_ids=ids,
        attention_mask=mask.long(),
        max_new_tokens=tokens + 1 + len(ours.decoder_prefix),
        do_sample=False,
        forced_bos_token_id=0 if name == "bart" else None,
        forced_eos_token_id=None,
        eos_token_id=end(ours),
        **settings,
    )
    rows = network_rows[:, 1 + len(ours.decoder_prefix) :].tolist()
    return [row[: row.index(end(ours)) + 1] if end(ours) in row else row for row in rows]


def end(ours: PretrainedEncoderDecoder) -> int:
    return ours.network.config.eos_token_id


def log_prob(ours: PretrainedEncoderDecoder, row: int, written: list[int]) -> float:
    """Of a row of `sources` to become these tokens, ends included; by teacher forcing."""
    ids, mask = sources()
    target = torch.tensor([[0, *written[:-1]]])
    with torch.no_grad():
        logits = ours(ids[row : row + 1], mask[row : row + 1], target, torch.arange(target.numel()))
    return logits.log_softmax(-1).gather(1, torch.tensor(written)[:, None]).sum().item()


def assert_same(ours: PretrainedEncoderDecoder, found: Tensor, wanted: Tensor) -> None:
    """But for rounding, as in float32: T5 does not scale its scores, and random weights make much of differences."""
    assert found.shape == wanted.shape
    assert_close(found.float(), wanted, terms=additions(ours))


@pytest.mark.parametrize("name", NETWORKS)
def test_greedy_search_writes_what_generate_writes(name: str) -> None:
    ours = model(name)
    found = search(ours, *sources(), DecodeConfig(max_length=15), bos_id=0, eos_id=end(ours))
    theirs = generated(name, ours, 15, num_beams=1)
    for (hypothesis,), ids in zip(found, theirs, strict=True):
        written = hypothesis.ids + [end(ours)] * hypothesis.finished
        assert written == (ids if hypothesis.finished else ids[:15])
        assert hypothesis.finished or len(written) == 15


@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("seed", [4, 5, 7])
@pytest.mark.parametrize(("width", "alpha"), [(1, 0.0), (2, 0.0), (3, 1.0), (5, 0.0), (5, 0.6), (5, -1.0), (9, 1.0)])
def test_a_beam_finds_nothing_worse_than_that_of_generate(name: str, seed: int, width: int, alpha: float) -> None:
    """The live hypotheses are the same ones whatever the penalty is, so both choose among the same ended ones."""
    ours = model(name, seed).double()
    config = DecodeConfig(method="beam", beam_width=width, length_penalty=alpha, max_length=15, min_length=3)
    found = search(ours, *sources(), config, bos_id=0, eos_id=end(ours))
    theirs = beams_of_generate(name, ours, config)
    assert any(written[-1] == end(ours) for written in theirs)
    for row, ((hypothesis, *_), written) in enumerate(zip(found, theirs, strict=True)):
        whole = hypothesis.ids + [end(ours)] * hypothesis.finished
        assert hypothesis.score == pytest.approx(log_prob(ours, row, whole), abs=1e-3)
        if written[-1] == end(ours):
            assert hypothesis.finished
            wanted = log_prob(ours, row, written)
            assert ranked(hypothesis.score, len(whole), alpha) >= ranked(wanted, len(written), alpha) - 1e-4


@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("seed", [4, 5, 7])
def test_the_n_best_are_no_worse_than_those_of_generate(name: str, seed: int) -> None:
    ours = model(name, seed).double()
    settings = {"beam_width": 4, "n_best": 4, "length_penalty": 0.0, "max_length": 15, "min_length": 3}
    config = DecodeConfig(method="beam", **settings)
    found = search(ours, *sources(), config, bos_id=0, eos_id=end(ours))
    theirs = beams_of_generate(name, ours, config)
    for row, hypotheses in enumerate(found):
        ended = [written for written in theirs[4 * row : 4 * row + 4] if written[-1] == end(ours)]
        for hypothesis, written in zip(hypotheses[: len(ended)], ended, strict=True):
            assert hypothesis.finished
            assert hypothesis.score >= log_prob(ours, row, written) - 1e-4


def beams_of_generate(name: str, ours: PretrainedEncoderDecoder, config: DecodeConfig) -> list[list[int]]:
    return generated(
        name,
        ours,
        config.max_length,
        min_new_tokens=config.min_length + len(ours.decoder_prefix),
        num_beams=config.beam_width,
        num_return_sequences=config.n_best,
        length_penalty=config.length_penalty,
        early_stopping=False,
    )


def ranked(score: float, tokens: int, alpha: float) -> float:
    return score / ((5 + tokens) / 6) ** alpha


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_transformers(name: str) -> None:
    ours = model(name).double()
    network = NETWORKS[name]().eval().double()
    network.load_state_dict(ours.network.state_dict())
    ids, mask = sources()
    target = torch.randint(4, 40, (len(ids), 6), generator=torch.Generator().manual_seed(2))
    read = torch.cat([ours.decoder_prefix.expand(len(ids), -1), target], 1)
    with torch.no_grad():
        wanted = network(input_ids=ids, attention_mask=mask.long(), decoder_input_ids=read, use_cache=False).logits
        found = ours(ids, mask, target, torch.arange(target.numel()))
    assert_same(ours, found, wanted[:, len(ours.decoder_prefix) :].flatten(0, 1))


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_that_share_a_source_go_on_as_rows_of_their_own(name: str) -> None:
    ours = model(name).double()
    ids, mask = sources(rows=3)
    first, tokens = torch.zeros(3, dtype=torch.long), torch.arange(4, 16)
    with torch.no_grad():
        _, state = ours.step(first, ours.start(ours.encode(ids, mask)))
        wanted_sources = torch.tensor([2, 0, 1, 0])
        rows = wanted_sources.repeat_interleave(3)
        shared = ours.select_rows(state, RowSelection(rows, wanted_sources))
        assert len(shared.source[0].key) == 4
        apart = ours.select_rows(state, RowSelection(rows, rows))
        found, shared = ours.step(tokens, shared)
        wanted, apart = ours.step(tokens, apart)
        assert_same(ours, found, wanted)
        again = torch.tensor([5, 3, 6, 8])
        found, _ = ours.step(tokens[:4], ours.select_rows(shared, RowSelection(again, torch.tensor([1, 2]))))
        wanted, _ = ours.step(tokens[:4], ours.select_rows(apart, RowSelection(again, again)))
        assert_same(ours, found, wanted)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_attention_can_be_seen(name: str) -> None:
    ours = model(name)
    ids, mask = sources()
    target, target_mask = ids[:, :5], torch.ones_like(mask[:, :5])
    with torch.no_grad():
        before = ours(ids, mask, target, torch.arange(target.numel()))
        for depth in range(ours.attention_layers):
            weights = ours.attention_weights(ids, mask, target, target_mask, "cross", depth)
            assert weights.shape == (len(ids), 4, 5, ids.shape[1])
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
            assert (weights[~mask[:, None, None].expand_as(weights)] == 0).all()
        assert torch.equal(before, ours(ids, mask, target, torch.arange(target.numel())))


def test_operations_are_counted_as_for_our_transformer() -> None:
    from seqlab.models.transformer import Transformer, TransformerConfig

    ours = model("bart")
    config = TransformerConfig(width=32, feedforward=64, num_heads=4, encoder_layers=2, decoder_layers=2, tying="all")
    lengths = torch.tensor([5, 9]), torch.tensor([4, 7])
    with_mark = lengths[0], lengths[1] + 1
    heads = 2 * 2 * 32 * 40  # the mark is read, but nothing is chosen after it
    wanted = Transformer(config, 40, 40).forward_flops(*with_mark) - heads
    assert ours.forward_flops(*lengths) == wanted


# Runs


def experiment(checkpoint: Path, **changes: Any) -> Experiment:
    settings = {
        "model": {"kind": "pretrained-encoder-decoder", "checkpoint": str(checkpoint)},
        "text": {"unit": "pretrained"},
        "task": {"metrics": {"names": ["accuracy"]}},
        "data.epoch_size": 200,
        "data.validation_size": 20,
        "data.test_size": 20,
        "batch.max_tokens": 512,
        "batch.shuffle_pool": 100,
        "train.max_steps": 4,
        "train.max_minutes": None,
        "train.precision": "fp32",
        "train.evaluate_every": 2,
        "train.evaluate_examples": 5,
        "train.trackers": [],
    }
    return load("translate-numbers", {**settings, **changes})


@pytest.mark.parametrize("kind", ["tiny_t5", "tiny_bart", "tiny_encoder"])
def test_the_engines_promises_hold(kind: str, request: pytest.FixtureRequest) -> None:
    outcomes = list(run_checks(experiment(request.getfixturevalue(kind)), "cpu"))
    assert len(outcomes) == 5
    assert [outcome for outcome in outcomes if not outcome.passed] == []


def test_a_run_needs_no_checkpoint_and_is_a_folder_of_transformers(tiny_bart: Path, tmp_path: Path) -> None:
    checkpoint, folder = Path(shutil.copytree(tiny_bart, tmp_path / "checkpoint")), tmp_path / "run"
    settings = {"train.max_steps": 2, "train.test_examples": 5, "task": {"metrics": {"names": PARAPHRASE}}}
    decode = {"method": "beam", "beam_width": 2, "n_best": 2, "max_length": 12}
    small = experiment(checkpoint, **settings, decode=decode)
    assert train(small, folder, device="cpu", resume=False, overwrite=False, display=Silent())
    shutil.rmtree(checkpoint)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["scores"].keys() >= {"ibleu", "self_bleu", "distinct"}
    assert "ibleu" in results["baselines"]["copy of the source"]
    assert json.loads((folder / "attention.json").read_text(encoding="utf-8"))

    run = Run(folder, device="cpu")
    text = "ten euros"
    network = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, return_tensors="pt")
    target = torch.tensor([[0, 70]])
    with torch.no_grad():
        wanted = network(**ids, decoder_input_ids=torch.tensor([[2, 0, 70]])).logits[0, 1:]
        found = run.model(ids["input_ids"], ids["attention_mask"].bool(), target, torch.arange(2))
    assert_close(found, wanted, terms=additions(network))
    greedy = Run(folder, device="cpu", settings={"decode.method": "greedy"}).predict(text)
    written = network.generate(**ids, num_beams=1, do_sample=False)[0]
    assert len(written) <= 2 + 12 + 1
    assert written[:2].tolist() == [2, 0]
    assert greedy == tokenizer.decode(written[: 2 + 12], skip_special_tokens=True).strip()
    assert run.predict_lines([text])[0].predictions[0].score <= 0


@pytest.mark.parametrize("kind", ["tiny_t5", "tiny_bart"])
def test_protected_symbols_are_tokens_of_a_pretrained_model(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    small = experiment(request.getfixturevalue(kind), **{"train.max_steps": 2, "text.protected": ("<2de>", "{1}")})
    assert train(small, tmp_path / "run", device="cpu", resume=False, overwrite=False, display=Silent())
    run = Run(tmp_path / "run", device="cpu")
    source = run.task.vocabularies.source
    (tag,), (plain,) = source.tokens(source.encode("<2de>"))[:-1][-1:], source.tokens(source.encode("{1}"))[:-1][-1:]
    assert (tag, plain) == ("<2de>", "{1}")
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path / "run")) == source.vocab_size
    assert isinstance(run.predict("<2de> ten euros"), str)


def test_weights_of_another_network_are_refused(tiny_t5: Path, tiny_bart: Path, tmp_path: Path) -> None:
    mixed = Path(shutil.copytree(tiny_t5, tiny_t5.parent / "mixed", dirs_exist_ok=True))
    shutil.copy(tiny_bart / "model.safetensors", mixed)
    with pytest.raises(UserError, match="lacks the weights"):
        assemble(experiment(mixed))
    other = tmp_path / "electra"
    transformers.ElectraConfig(vocab_size=50).save_pretrained(other)
    with pytest.raises(UserError, match=r"type electra is not supported; .* made from an encoder of type bert"):
        assemble(experiment(other))
    with pytest.raises(UserError, match=r"decode.max_length=500"):
        assemble(experiment(tiny_bart, **{"decode.max_length": 500}))
    with pytest.raises(UserError, match="brings its own vocabulary"):
        experiment(tiny_t5, text={"unit": "character"})
