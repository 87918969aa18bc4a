"""How many floating-point operations a forward pass has, for a model that does not count them itself.

The model runs on torch's "meta" device, where tensors have shapes and no values: nothing is computed, and torch takes
every kernel apart into the matrix products that its `FlopCounterMode` knows. On a CPU that counter misses the kernels
of LSTM and of fused attention (docs/numerics.md).
"""

import copy
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seqlab.errors import UserError

Model = TypeVar("Model", bound=nn.Module)

SHAPES = [(3, 2), (5, 2), (9, 2), (3, 4), (5, 4), (3, 7)]
"""Lengths of source and target that tell the six numbers of a polynomial of the second degree."""


def forward_flops_of(
    model: Model, run_forward: Callable[[Model, int, int], object], shapes: Sequence[tuple[int, int]] = SHAPES
) -> Callable[[Tensor, Tensor], float]:
    """A function like the method `forward_flops`: source and target lengths, each (B,) -> operations of a forward pass.

    A row of S source and T target tokens has a + b S + c T + d S^2 + e S T + f T^2 operations, 2 a multiply-add, as
    long as layers see tokens one by one or all pairs of them. The six numbers are found by counting at `shapes`.

    Args:
        model: stays as it is.
        run_forward: calls what training calls, with one row of so many source and target tokens. The model that it
            gets is a copy on the device "meta", and so must be the tensors that it makes.
        shapes: where to count. A model with rows of one size only needs that one, and then serves no other.

    Raises UserError where the model needs values to run, `.item()` for example.
    """
    without_values = _on_meta(model)
    try:
        counted = [_count(lambda shape=shape: run_forward(without_values, *shape)) for shape in shapes]
    except (NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"the operations of {type(model).__name__} cannot be counted, as it does not run on the meta device: "
            f"give it a method forward_flops(source_lengths, target_lengths) ({str(error).splitlines()[0]})"
        ) from None
    terms = _terms(*np.array(shapes, dtype=np.float64).T)
    numbers, *_ = np.linalg.lstsq(terms, np.array(counted, dtype=np.float64), rcond=None)

    def forward_flops(source_lengths: Tensor, target_lengths: Tensor) -> float:
        lengths = (np.asarray(side, dtype=np.float64) for side in (source_lengths, target_lengths))
        return float((_terms(*lengths) @ numbers).sum())

    return forward_flops


def _on_meta(model: Model) -> Model:
    """A copy in evaluation mode whose tensors have shapes and no values; nothing is copied but the structure."""
    made: dict[int, object] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        there = tensor.detach().to("meta")
        made[id(tensor)] = nn.Parameter(there, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else there
    return copy.deepcopy(model, made).eval()


@torch.no_grad()
def _count(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def _terms(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(B,) lengths -> (B, 6)."""
    return np.stack([np.ones_like(source), source, target, source**2, source * target, target**2], axis=-1)
