"""The cross entropy of many tokens over a large vocabulary, without copies of all logits.

Shapes: `N` tokens, `V` vocabulary. On a CPU the log-softmax of 4,000 x 8,000 logits is bound by memory, and in bf16
torch's own needs a float32 copy of them. Here a few rows at a time go through float32 while they are in the cache, and
leave their gradient behind in the format of the logits, which are then no longer needed.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = 128 * 1024
"""Logits in one go: half a megabyte of float32, which stays in the second-level cache with room for a copy."""


def cross_entropy_sum(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The summed cross entropy, in nats, of logits (N, V) with targets (N,): a float32 scalar.

    With smoothing e, the target distribution has e / V at each entry and 1 - e more at the target, as in torch.
    Float64 logits give a float64 sum.
    """
    if logits.device.type != "cpu":
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(wide, targets, label_smoothing=label_smoothing, reduction="sum")
    return _ChunkedCrossEntropy.apply(logits, targets, label_smoothing)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """sum over tokens of: log sum exp(z) - (1 - e) z[target] - (e / V) sum(z).

    The gradient, softmax(z) - e / V and 1 - e less at the target, is made along with it: the exponentials, which cost
    most, are taken once.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        wide = torch.promote_types(logits.dtype, torch.float32)
        rows, uniform = max(1, CHUNK_ELEMENTS // logits.shape[1]), smoothing / logits.shape[1]
        total = torch.zeros((), dtype=wide)
        gradient = torch.empty_like(logits)
        for part, target, out in zip(
            logits.split(rows), targets[:, None].split(rows), gradient.split(rows), strict=True
        ):
            chunk = part.to(wide)
            probabilities = chunk.softmax(dim=1)
            # The largest probability is at least 1 / V, so its logarithm is exact to rounding
            total += (chunk.amax(dim=1) - probabilities.amax(dim=1).log_()).sum()
            total -= (1.0 - smoothing) * chunk.gather(1, target).sum()
            if smoothing:
                total -= uniform * chunk.sum()
            # Here and not after rounding to bf16: of a token that is nearly learned, nothing would be left
            probabilities.scatter_add_(1, target, torch.full_like(target, smoothing - 1.0, dtype=wide))
            torch.sub(probabilities, uniform, out=out)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0].item(), None, None
