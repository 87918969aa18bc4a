"""Averages of weights: over the updates of a run, and over checkpoints."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from seqlab.engine.checkpoint import Weights, load_weights
from seqlab.errors import UserError


class WeightAverage:
    """Exponential moving average of a model's weights (Polyak and Juditsky 1992), kept beside the model.

    The decay grows from 2/11 towards `decay` as (1 + step) / (10 + step), so that the first, random weights are soon
    forgotten.

    Args:
        model: on its device already; tied tensors are averaged once.
        decay: share of the old average that an update keeps, after that start.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        own: dict[int, Tensor] = {}
        self._pairs: dict[str, tuple[Tensor, Tensor]] = {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            average = own.setdefault(id(tensor), tensor.detach().clone())
            self._pairs[name] = (tensor, average)
        distinct = {id(tensor): (tensor, average) for tensor, average in self._pairs.values()}.values()
        self._floats = [pair for pair in distinct if pair[0].is_floating_point()]
        self._others = [pair for pair in distinct if not pair[0].is_floating_point()]  # counters: nothing to average

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after `step` updates, the first being 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current, averages = zip(*self._floats, strict=True)
        torch._foreach_lerp_(averages, current, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
        for tensor, average in self._others:
            average.copy_(tensor)

    def state_dict(self) -> Weights:
        """The averaged weights under the model's names."""
        return {name: average for name, (_, average) in self._pairs.items()}

    @torch.no_grad()
    def load_state_dict(self, weights: Mapping[str, Tensor]) -> None:
        """Takes back what `state_dict` gave."""
        for name, (_, average) in self._pairs.items():
            average.copy_(weights[name])

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the model computes with the averaged weights; afterwards its own are back, bit for bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # Values are exchanged, not tensors: optimizer, DDP and compiled code keep pointing at the same memory.
        for tensor, average in (*self._floats, *self._others):
            kept = tensor.clone()
            tensor.copy_(average)
            average.copy_(kept)


def average_checkpoints(paths: Sequence[Path]) -> Weights:
    """The mean of the weights in several checkpoint folders or safetensors files, summed in float64.

    Of a folder it is the weights that were evaluated: the moving average where the run keeps one.
    Raises UserError when there are none or when their tensors differ in name or shape.
    """
    if not paths:
        raise UserError("there are no checkpoints to average")
    files = [_evaluated(path) if path.is_dir() else path for path in paths]
    first = load_weights(files[0])
    sums = {name: tensor.double() for name, tensor in first.items()}
    for file in files[1:]:
        for name, tensor in _alike(load_weights(file), first, file).items():
            sums[name] = sums[name] + tensor
    return {name: (total / len(files)).to(first[name].dtype) for name, total in sums.items()}


def _evaluated(folder: Path) -> Path:
    average = folder / "average.safetensors"
    return average if average.exists() else folder / "model.safetensors"


def _alike(weights: Weights, first: Weights, file: Path) -> Weights:
    for name in first.keys() | weights.keys():
        if name not in first or name not in weights or first[name].shape != weights[name].shape:
            raise UserError(
                f"{file}: tensor {name} does not match the other checkpoints: they belong to different models"
            )
    return weights
