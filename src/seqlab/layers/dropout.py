"""Dropout that is not the slowest part of a step on a CPU.

torch's own dropout draws one Bernoulli number an element, serially, on a CPU (benchmarks/dropout.py). Here eight
elements share one 64-bit draw: each gets a byte, and is kept when its byte is below a threshold. So the keep
probability is a multiple of 1/256, and the kept values are scaled by one over that very multiple: the mean is exact.
Both forms draw from torch's default generator, so saving and restoring its state reproduces the masks.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    """`values` with each element zeroed with probability `rate` (0 <= rate < 1), the rest scaled up."""
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
