"""The cross entropy of many tokens over a large vocabulary, without copies of all logits.

Shapes: `N` tokens, `V` vocabulary. On a CPU the log-softmax of 4,000 x 8,000 logits is bound by memory, and in bf16
torch's own needs a float32 copy of them. Here a few rows at a time go through float32 while they are in the cache;
the gradient is made from the logits once more, in the backward pass, so nothing but the N normalisers is kept.
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
    """sum over tokens of: log sum exp(z) - (1 - e) z[target] - (e / V) sum(z)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        wide = torch.promote_types(logits.dtype, torch.float32)
        rows = _rows_in_a_chunk(logits)
        normalisers = torch.empty(len(logits), dtype=wide)
        total = torch.zeros((), dtype=wide)
        for chunk, out in zip(logits.split(rows), normalisers.split(rows), strict=True):
            chunk = chunk.to(wide)
            torch.logsumexp(chunk, dim=1, out=out)
            if smoothing:
                total += chunk.sum()
        ctx.save_for_backward(logits, targets, normalisers)
        ctx.smoothing = smoothing
        at_target = logits.gather(1, targets[:, None]).to(wide).sum()
        return normalisers.sum() - (1.0 - smoothing) * at_target - smoothing / logits.shape[1] * total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, targets, normalisers = ctx.saved_tensors
        scale, smoothing, rows = gradients[0].item(), ctx.smoothing, _rows_in_a_chunk(logits)
        result = torch.empty_like(logits)
        for chunk, normaliser, out in zip(logits.split(rows), normalisers.split(rows), result.split(rows), strict=True):
            probabilities = torch.sub(chunk, normaliser[:, None]).exp_()  # float32 by promotion
            torch.add(probabilities.mul_(scale), -scale * smoothing / logits.shape[1], out=out)
        result[torch.arange(len(targets)), targets] -= (1.0 - smoothing) * scale
        return result, None, None


def _rows_in_a_chunk(logits: Tensor) -> int:
    return max(1, CHUNK_ELEMENTS // logits.shape[1])
