"""Low-rank changes of a pretrained encoder: what is trained, what is saved, and that merging changes nothing."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rounding import additions, assert_close

from seqlab.engine.checkpoint import load_weights
from seqlab.engine.optimizers import AdamW, build_optimizer
from seqlab.errors import UserError
from seqlab.experiment.config import Experiment, load
from seqlab.inference.run import Run
from seqlab.models.hf.adapters import merge_adapters
from seqlab.models.hf.encoder import PretrainedConfig, SentenceModel, SpanModel, random_network
from seqlab.tools.checks import run_checks

transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")
pytest.importorskip("peft", reason="low-rank changes need peft")

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def network(kind: str = "bert", head: str = SpanModel.HEAD) -> Any:
    torch.manual_seed(1)
    return random_network(transformers.AutoConfig.for_model(kind, **SIZES, max_position_embeddings=64), head)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, 50, (3, 9), generator=torch.Generator().manual_seed(1))
    return ids, torch.arange(9) < torch.tensor([9, 4, 6])[:, None]


def learning(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """As if it had been trained: no factor is 0."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "mpnet", "deberta-v2"])
def test_a_change_starts_as_nothing_and_merging_it_changes_nothing(kind: str) -> None:
    plain = SpanModel(PretrainedConfig(), network(kind)).eval()
    names = plain.state_dict().keys()
    model = SpanModel(PretrainedConfig(lora_rank=4), network(kind)).eval()
    with torch.no_grad():
        real = batch()[1]
        for found, expected in zip(model(*batch()), plain(*batch()), strict=True):
            assert_close(found[real], expected[real], terms=additions(plain))
        changed = shaken(model)(*batch())
        assert not torch.allclose(changed[0], plain(*batch())[0], atol=1e-2)
        merge_adapters(model)
        for found, expected in zip(model(*batch()), changed, strict=True):
            assert_close(found[real], expected[real], terms=additions(plain))
    assert model.state_dict().keys() == names
    merge_adapters(model)  # there is nothing left to do
    assert model.state_dict().keys() == names


def test_only_factors_above_the_frozen_layers_and_the_head_are_trained() -> None:
    names = learning(SpanModel(PretrainedConfig(lora_rank=4, freeze_layers=1), network()))
    factors = {name for name in names if "lora_" in name}
    assert names - factors == {"network.qa_outputs.weight", "network.qa_outputs.bias"}
    assert len(factors) == 2 * 6  # four matrices of attention, two of the feed-forward net
    assert all(".layer.1." in name for name in factors)


def test_a_pooler_that_is_not_asked_is_not_there() -> None:
    config = PretrainedConfig(lora_rank=4, pooling="mean")
    model = SentenceModel(config, network(head=SentenceModel.head(config)))
    heads = {name for name in learning(model) if "lora_" not in name}
    assert heads == {"network.classifier.weight", "network.classifier.bias"}
    assert not any("pooler" in name for name in model.state_dict())


def test_lower_layers_learn_more_slowly_in_their_factors_too() -> None:
    model = SpanModel(PretrainedConfig(lora_rank=4, layer_decay=0.5), network())
    groups = build_optimizer(model, AdamW(lr=0.8)).param_groups
    rates = {id(parameter): group["peak_lr"] for group in groups for parameter in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert found["network.qa_outputs.weight"] == 0.8
    assert found["network.bert.encoder.layer.1.output.dense.lora_A.default.weight"] == 0.4
    assert found["network.bert.encoder.layer.0.output.dense.lora_B.default.weight"] == 0.2


def test_a_new_top_needs_all_of_its_weights() -> None:
    with pytest.raises(ValueError, match="reinitialize_layers needs lora_rank=0"):
        PretrainedConfig(lora_rank=4, reinitialize_layers=1)


def test_a_network_that_is_frozen_whole_has_no_place_for_a_change() -> None:
    with pytest.raises(UserError, match="lora_rank needs a layer above"):
        SpanModel(PretrainedConfig(lora_rank=4, freeze_layers=2), network())


def test_a_missing_library_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"model\.lora_rank=4 needs the library peft: pip install peft"):
        SpanModel(PretrainedConfig(lora_rank=4), network())


@pytest.fixture(scope="module")
def experiment(tiny_encoder: Path, texts: Path) -> Experiment:
    data = {"data.train": str(texts), "data.validation": None, "data.test": None, "data.text": "text"}
    length = {"train.max_steps": 20, "train.evaluate_every": 10, "train.precision": "fp32", "train.trackers": []}
    model = {"model.checkpoint": str(tiny_encoder), "model.pooling": "first", "model.lora_rank": 4}
    return load("cola", {**data, "data.label": "label", "task.longest": 24, "optimizer.lr": 1e-2, **length, **model})


def test_a_finished_run_scores_again_what_it_scored_and_transformers_loads_it(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    again = Run(trained, device="cpu")
    assert again.evaluate().to_json()["scores"] == results["scores"]
    assert not any("lora" in name for name in load_weights(trained / "model.safetensors"))
    classify = transformers.pipeline("text-classification", model=str(trained), device="cpu")
    texts = ["a wrote z", "the notes z a", "b wrote b"]
    assert [found["label"] for found in classify(texts)] == again.predict(texts)
    score = again.predict_lines(texts[:1])[0].predictions[0].score
    assert classify(texts[:1])[0]["score"] == pytest.approx(np.exp(score), abs=1e-4)


def test_an_unfinished_run_answers_with_its_newest_checkpoint(trained: Path, tmp_path: Path) -> None:
    unfinished = Path(shutil.copytree(trained, tmp_path / "unfinished"))
    (unfinished / "model.safetensors").unlink()
    (unfinished / "results.json").unlink()
    assert Run(unfinished, device="cpu").predict(["a wrote z"]) == Run(trained, device="cpu").predict(["a wrote z"])


def test_the_checks_of_training_pass(experiment: Experiment) -> None:
    outcomes = list(run_checks(experiment, "cpu"))
    assert len(outcomes) == 2
    assert all(outcome.passed for outcome in outcomes), outcomes
