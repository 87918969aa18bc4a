"""How a model knows the order of its tokens: tables that are added, or a rotation of queries and keys.

Shapes: `B` rows, `H` heads, `T` tokens, `K` head width (even), `D` width (even).
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from seqlab.errors import UserError
from seqlab.layers.dropout import Dropout

PositionKind = Literal["sinusoidal", "learned", "rotary"]

LONGEST_WAVELENGTH = 10_000.0


class Rotation(NamedTuple):
    """Cosines and sines of the rotation at each position, each (T, K/2)."""

    cos: Tensor
    sin: Tensor


class PositionSignal(nn.Module):
    """What tells the layers of a stack where a token stands: a table that is added, or a rotation for the heads.

    Args:
        kind: "sinusoidal" and "learned" tables are added before the first depth; "rotary" turns queries and keys.
        max_length: number of positions.
        width, num_heads: of the model.
        num_depths: how many depths there are, to add the table before each of them together with a sinusoidal signal
            of the depth itself (Dehghani et al. 2019); None: before the first depth only.
        dropout: of the sum that enters the first depth.
    """

    table: Tensor | None
    cos: Tensor | None
    sin: Tensor | None
    time: Tensor | None

    def __init__(
        self,
        kind: PositionKind,
        max_length: int,
        width: int,
        num_heads: int,
        *,
        num_depths: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.max_length = max_length
        self.dropout = Dropout(dropout)
        table = rotation = None
        match kind:
            case "sinusoidal":
                table = sinusoidal_table(max_length, width)
            case "learned":
                table = nn.Parameter(sinusoidal_table(max_length, width))
            case "rotary":
                rotation = rotary_table(max_length, width // num_heads)
        if isinstance(table, nn.Parameter):
            self.table = table
        else:
            self.register_buffer("table", table, persistent=False)
        self.register_buffer("cos", rotation and rotation.cos, persistent=False)
        self.register_buffer("sin", rotation and rotation.sin, persistent=False)
        time = sinusoidal_table(num_depths, width) if num_depths is not None else None
        self.register_buffer("time", time, persistent=False)

    def forward(self, x: Tensor, depth: int, start: int = 0) -> Tensor:
        """The input of the layer at `depth`: x (B, T, D) with the signal of positions start..start+T-1."""
        end = self._checked(start + x.shape[1])
        if self.table is not None and (depth == 0 or self.time is not None):
            x = x + self.table[start:end].to(x.dtype)
        if self.time is not None:
            x = x + self.time[depth].to(x.dtype)
        return self.dropout(x) if depth == 0 else x

    def rotation(self, length: int, start: int = 0) -> Rotation | None:
        """The rotary tables of positions start..start+length-1, or None with other kinds of positions."""
        if self.cos is None or self.sin is None:
            return None
        end = self._checked(start + length)
        return Rotation(self.cos[start:end], self.sin[start:end])

    def _checked(self, end: int) -> int:
        if end > self.max_length:
            raise UserError(
                f"a sequence of {end} tokens is longer than model.max_length = {self.max_length}: "
                "raise it, or drop or cut longer examples"
            )
        return end


def sinusoidal_table(length: int, width: int) -> Tensor:
    """Rows of sines and cosines of geometrically spaced wavelengths, (length, D), float32 (Vaswani et al. 2017)."""
    angles = _angles(length, width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


def rotary_table(length: int, head_width: int) -> Rotation:
    """The rotations of RoPE (Su et al. 2021) for positions 0..length-1, float32."""
    angles = _angles(length, head_width)
    return Rotation(angles.cos().float(), angles.sin().float())


def rotate(heads: Tensor, rotation: Rotation) -> Tensor:
    """Turns (B, H, T, K) by the angles of its positions, so that a dot product depends on distances only.

    Coordinate i is paired with i + K/2. The tables are rounded to the dtype of `heads`; the angles never are.
    """
    cos, sin = rotation.cos.to(heads.dtype), rotation.sin.to(heads.dtype)
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _angles(length: int, width: int) -> Tensor:
    """position / wavelength, (length, width / 2), in float64: float32 loses whole turns at long positions."""
    frequencies = LONGEST_WAVELENGTH ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
