"""Frozen layers that are gone through once: the same logits and gradients, an exact training, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rounding import additions, assert_close
from torch import Tensor

from seqlab.data.batching.token_rows import TokenBatch, TokenRows
from seqlab.errors import UserError
from seqlab.experiment.assembly import assemble
from seqlab.experiment.config import Experiment, load
from seqlab.models.hf.encoder import PretrainedConfig, SentenceModel, SpanModel, frozen_states, random_network
from seqlab.models.hf.stack import forward_flops
from seqlab.tasks.frozen_states import with_frozen_states
from seqlab.tools.checks import run_checks

transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
KINDS = ["bert", "roberta", "distilbert", "electra", "mpnet", "deberta-v2"]
LENGTHS = [5, 9, 3, 9, 12, 4]


def network(kind: str, head: str = SpanModel.HEAD) -> Any:
    torch.manual_seed(1)
    return random_network(transformers.AutoConfig.for_model(kind, **SIZES, max_position_embeddings=64), head)


def rows(types: bool = True) -> TokenRows:
    generator = np.random.default_rng(1)
    ids = [generator.integers(5, 50, length).tolist() for length in LENGTHS]
    of_texts = [[0, 0, *[1] * (length - 2)] for length in LENGTHS]
    return TokenRows.of(ids, of_texts if types else None, np.arange(len(LENGTHS)) % 2, pad_id=0)


def known(model: SpanModel | SentenceModel, chosen: list[int], types: bool = True) -> TokenBatch:
    return with_frozen_states(model, rows(types)).batch(np.array(chosen), 12, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_above_known_states_are_those_of_the_whole_network(kind: str) -> None:
    model = SpanModel(PretrainedConfig(freeze_layers=2, cache_frozen="fp32"), network(kind)).eval()
    batch = known(model, [4, 0, 2], types=kind == "bert")
    with torch.no_grad():
        whole = model(batch.ids, batch.mask, batch.types)
        above = model(*batch.inputs)
    assert batch.states is not None
    for found, expected in zip(above, whole, strict=True):
        assert_close(found[batch.mask], expected[batch.mask], terms=additions(model))


def gradients(model: SentenceModel, batch: TokenBatch, states: Tensor | None) -> dict[str, Tensor]:
    torch.manual_seed(7)  # the same units are dropped out above the cut
    logits = model.train()(batch.ids, batch.mask, batch.types, states)
    torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum").backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("lora_rank", [0, 2])
def test_gradients_are_those_without_a_cache_and_without_dropout_below(pooling: Any, lora_rank: int) -> None:
    config = PretrainedConfig(freeze_layers=2, cache_frozen="fp32", pooling=pooling, dropout=0.3, lora_rank=lora_rank)
    model = SentenceModel(config, network("bert", SentenceModel.head(config)))
    batch = known(model, [1, 5, 4, 2])
    assert batch.states is not None
    above, whole = gradients(model, batch, batch.states), gradients(model, batch, None)
    assert above.keys() == whole.keys()
    assert not any("embeddings" in name or ".layer.0." in name or ".layer.1." in name for name in above)
    for name, gradient in above.items():
        if name.endswith("key.bias"):
            continue  # it adds the same to all scores of a softmax: its gradient is nothing but rounding
        assert_close(gradient, whole[name], terms=3 * additions(model), msg=lambda text, name=name: f"{name}: {text}")
    other = gradients(model, batch, batch.states + 1)
    assert any(not torch.allclose(gradient, other[name]) for name, gradient in above.items())


@pytest.mark.parametrize("kept", ["fp32", "bf16"])
def test_states_do_not_depend_on_the_batch_and_padding_is_finite(kept: Any) -> None:
    model = SentenceModel(
        PretrainedConfig(freeze_layers=1, cache_frozen=kept, pooling="mean"), network("bert", "AutoModel")
    )
    together, alone = known(model, [0, 1, 4]), known(model, [1])
    assert together.states is not None
    assert alone.states is not None
    assert torch.equal(together.states[1, :9], alone.states[0, :9])
    assert together.states.isfinite().all()
    assert together.states.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[kept]
    exact = frozen_states(model.eval(), alone.ids, alone.mask, alone.types)[0, :9]
    assert_close(alone.states[0, :9], exact, terms=1 if kept == "bf16" else additions(model))


def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    model = SpanModel(PretrainedConfig(freeze_layers=2), network("bert"))
    assert known(model, [0]).states is None


def test_work_that_is_not_done_is_not_counted() -> None:
    plain = SpanModel(PretrainedConfig(freeze_layers=2), network("bert"))
    cached = SpanModel(PretrainedConfig(freeze_layers=2, cache_frozen="fp32"), network("bert"))
    lengths = torch.tensor([3, 5])
    assert plain.forward_flops(lengths, lengths) == pytest.approx(3 * cached.forward_flops(lengths, lengths))
    assert forward_flops(plain.network, lengths, below=3) == 0


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="cache_frozen=fp32 has no effect without freeze_layers"):
        PretrainedConfig(cache_frozen="fp32")
    with pytest.raises(ValueError, match="cache_gb has no effect"):
        PretrainedConfig(freeze_layers=1, cache_gb=1.0)
    with pytest.raises(UserError, match=r"cache_frozen needs a layer above those of model\.freeze_layers=3"):
        SpanModel(PretrainedConfig(freeze_layers=3, cache_frozen="fp32"), network("bert"))
    model = SpanModel(PretrainedConfig(freeze_layers=2, cache_frozen="fp32", cache_gb=1e-6), network("bert"))
    with pytest.raises(UserError, match=r"needs 0\.0 GB for the 42 tokens .* model\.cache_gb=1e-06: raise it"):
        known(model, [0])


def experiment(tiny_encoder: Path, texts: Path, **settings: object) -> Experiment:
    data = {"data.train": str(texts), "data.validation": None, "data.test": None, "data.text": "text"}
    cut = {"model.checkpoint": str(tiny_encoder), "model.freeze_layers": 1, "model.cache_frozen": "fp32"}
    return load("cola", {**data, "data.label": "label", "task.longest": 24, **cut, **settings})


def test_the_checks_of_training_pass(tiny_encoder: Path, texts: Path) -> None:
    outcomes = list(run_checks(experiment(tiny_encoder, texts), "cpu"))
    assert len(outcomes) == 2
    assert all(outcome.passed for outcome in outcomes), outcomes


def test_every_epoch_has_the_states_of_the_first(tiny_encoder: Path, texts: Path) -> None:
    task: Any = assemble(experiment(tiny_encoder, texts)).task
    assert task.training(0).states is task.training(1).states is not None


def test_compiling_is_refused(tiny_encoder: Path, texts: Path) -> None:
    with pytest.raises(UserError, match=r"does not go with model\.cache_frozen"):
        experiment(tiny_encoder, texts, **{"train.compile": True})
