"""Averages of weights against the formula written out."""

from pathlib import Path

import pytest
import torch
from torch import nn

from seqlab.engine.averaging import WeightAverage, average_checkpoints
from seqlab.engine.checkpoint import Snapshot, load, save, save_weights
from seqlab.errors import UserError

torch.set_num_threads(1)


class Tied(nn.Module):
    """Two names for one matrix, a buffer of numbers and one that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 2)
        self.output = nn.Linear(2, 3, bias=False)
        self.output.weight = self.embedding.weight
        self.norm = nn.BatchNorm1d(2)


def set_weights(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_the_average_follows_the_formula_with_its_growing_decay() -> None:
    model = Tied()
    set_weights(model, 1.0)
    average = WeightAverage(model, decay=0.5)
    expected, decay = 1.0, 0.0
    for step in range(1, 30):
        set_weights(model, float(step))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        torch.testing.assert_close(average.state_dict()["embedding.weight"], torch.full((3, 2), expected))
    assert decay == 0.5


def test_tied_weights_are_averaged_once_and_counters_are_copied() -> None:
    model = Tied()
    model.norm.num_batches_tracked = torch.tensor(0)
    average = WeightAverage(model, decay=0.9)
    model.norm.num_batches_tracked += 7
    average.update(1)
    weights = average.state_dict()
    assert weights.keys() == model.state_dict().keys()
    assert weights["output.weight"] is weights["embedding.weight"]
    assert weights["norm.num_batches_tracked"] == 7


def test_swapping_there_and_back_changes_no_bit_and_keeps_the_tensors() -> None:
    torch.manual_seed(0)
    model = Tied()
    average = WeightAverage(model, decay=0.9)
    nn.init.normal_(model.embedding.weight)
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    averaged = {name: tensor.clone() for name, tensor in average.state_dict().items()}
    address = model.embedding.weight.data_ptr()

    def evaluate() -> None:
        with average.swapped():
            assert model.embedding.weight.data_ptr() == address
            assert all(torch.equal(model.state_dict()[name], averaged[name]) for name in averaged)
            raise RuntimeError("evaluation failed")

    with pytest.raises(RuntimeError, match="evaluation failed"):
        evaluate()
    assert all(torch.equal(model.state_dict()[name], own[name]) for name in own)
    assert all(torch.equal(average.state_dict()[name], averaged[name]) for name in averaged)


def test_the_average_goes_on_exactly_after_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Tied()
    average = WeightAverage(model, decay=0.9)
    nn.init.normal_(model.embedding.weight)
    average.update(1)
    saved = load(save(tmp_path, Snapshot(1, model.state_dict(), average.state_dict(), {}, None)))

    resumed_model = Tied()
    resumed_model.load_state_dict(dict(saved.model))
    resumed = WeightAverage(resumed_model, decay=0.9)
    assert saved.average is not None
    resumed.load_state_dict(saved.average)
    for each in (average, resumed):
        each.update(2)
    for name, tensor in average.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])


def test_checkpoints_are_averaged_by_the_mean(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(3, 2) for _ in range(3)]
    paths = [
        save(tmp_path, Snapshot(step, {"weight": tensor, "count": torch.tensor(step)}, None, {}, None))
        for step, tensor in enumerate(tensors)
    ]
    mean = average_checkpoints(paths)
    torch.testing.assert_close(mean["weight"], torch.stack(tensors).mean(0))
    assert mean["weight"].dtype == torch.float32
    assert mean["count"] == 1
    # files do as well as checkpoint folders
    assert torch.equal(average_checkpoints([paths[0] / "model.safetensors"])["weight"], tensors[0])


def test_checkpoints_are_averaged_by_the_weights_that_were_evaluated(tmp_path: Path) -> None:
    """A run that keeps a moving average is judged by it, so the mean is one of moving averages."""
    paths = [
        save(tmp_path, Snapshot(step, {"w": torch.full((2,), 100.0)}, {"w": torch.full((2,), float(step))}, {}, None))
        for step in (1, 2, 6)
    ]
    assert torch.equal(average_checkpoints(paths)["w"], torch.full((2,), 3.0))


def test_checkpoints_of_other_models_are_not_averaged(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for path, tensors in zip(paths, [{"w": torch.zeros(2)}, {"w": torch.zeros(3)}, {"v": torch.zeros(2)}], strict=True):
        save_weights(path, tensors)
    for other in paths[1:]:
        with pytest.raises(UserError, match="they belong to different models"):
            average_checkpoints([paths[0], other])
    with pytest.raises(UserError, match="no checkpoints"):
        average_checkpoints([])
