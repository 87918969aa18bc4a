"""How activations are rescaled: LayerNorm (Ba et al. 2016) or RMSNorm (Zhang & Sennrich 2019)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
