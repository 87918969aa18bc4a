"""The small operations of every layer: norms, dropout, and the cross-entropy of many tokens.

Shapes: `N` tokens, `V` vocabulary, `D` width. Where a torch kernel is slow on a CPU, ours replaces it and says why.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NormKind = Literal["layer", "rms"]

EPSILON = 1e-5


def build_norm(kind: NormKind, width: int) -> nn.Module:
    """A norm over the last axis, of size `width`; gains start at 1 and biases at 0."""
    match kind:
        case "layer":
            return nn.LayerNorm(width, eps=EPSILON)
        case "rms":
            return RMSNorm(width)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2)) times a learned gain, over the last axis.

    The gain is rounded to the dtype of `x`: torch has a fused kernel only where the two are the same.
    """

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), EPSILON)


LEVELS = 256
BYTES_PER_DRAW = 8


class Dropout(nn.Module):
    """Zeroes each element with probability `rate` and scales the rest, while training; the identity otherwise."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape."""
        return dropout(values, self.rate) if self.training else values

    def extra_repr(self) -> str:
        """The rate, for the printed model."""
        return f"rate={self.rate}"


def dropout(values: Tensor, rate: float) -> Tensor:
    """`values` with each element zeroed with probability `rate` (0 <= rate < 1), the rest scaled up.

    On a CPU torch draws one Bernoulli number an element, serially (benchmarks/dropout.py). Here eight elements share
    one 64-bit draw: each gets a byte, and is kept when its byte is below a threshold. So the keep probability is a
    multiple of 1/256, and the kept values are scaled by one over that very multiple: the mean is exact. Both forms
    draw from torch's default generator, so saving and restoring its state reproduces the masks.
    """
    if rate == 0.0:
        return values
    if values.device.type != "cpu":
        return F.dropout(values, rate)
    return _ByteDropout.apply(values, kept_levels(rate))


def kept_levels(rate: float) -> int:
    """How many of the 256 byte values keep an element: the nearest possible to 1 - rate, but never none."""
    return max(1, round((1.0 - rate) * LEVELS))


def random_bytes(count: int) -> Tensor:
    """`count` uniform bytes (uint8) from torch's default generator."""
    draws = torch.empty(-(-count // BYTES_PER_DRAW), dtype=torch.int64)
    # The widest range there is: the default of random_() stops at 2^63 - 1 and would leave every eighth byte below 128
    return draws.random_(torch.iinfo(torch.int64).min, None).view(torch.uint8)[:count]


class _ByteDropout(torch.autograd.Function):
    """Keeps one byte an element for the backward pass: the mask.

    The mask is uint8 and multiplied: bool masks and `torch.where` are slower (benchmarks/dropout.py).
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, kept: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        mask = random_bytes(values.numel()).lt_(kept).view(values.shape)
        ctx.save_for_backward(mask)
        ctx.scale = LEVELS / kept
        return (values * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (gradients[0] * mask).mul_(ctx.scale), None


CHUNK_ELEMENTS = 128 * 1024
"""Logits in one go: half a megabyte of float32, which stays in the second-level cache with room for a copy."""


def cross_entropy_sum(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The summed cross entropy, in nats, of logits (N, V) with targets (N,): a float32 scalar.

    With smoothing e, the target distribution has e / V at each entry and 1 - e more at the target, as in torch.
    Float64 logits give a float64 sum.

    On a CPU the log-softmax of 4,000 x 8,000 logits is bound by memory, and in bf16 torch's own needs a float32 copy of
    them. Here a few rows at a time go through float32 while they are in the cache, and leave their gradient behind in
    the format of the logits, which are then no longer needed.
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
