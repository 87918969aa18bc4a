"""What happens at each position alone: expand, apply a nonlinearity, project back."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.layers.dropout import Dropout

Activation = Literal["relu", "gelu", "swiglu", "relu2"]


class FeedForward(nn.Module):
    """(..., D) -> (..., D) through a hidden layer of `hidden` units.

    "swiglu" (Shazeer 2020) gates the hidden layer with a second one of the same size, so it has three matrices where
    the others have two; "relu2" is the square of ReLU (So et al. 2021).
    """

    def __init__(self, width: int, hidden: int, activation: Activation, dropout: float):
        super().__init__()
        self.activation: Activation = activation
        self.expand = nn.Linear(width, 2 * hidden if activation == "swiglu" else hidden)
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.out(self.dropout(self._activate(self.expand(x))))

    def _activate(self, hidden: Tensor) -> Tensor:
        match self.activation:
            case "relu":
                return hidden.relu_()  # in place: the product before it does not keep its result
            case "gelu":
                return F.gelu(hidden)
            case "relu2":
                return hidden.relu().square()
            case "swiglu":
                gate, value = hidden.chunk(2, dim=-1)
                return F.silu(gate) * value
