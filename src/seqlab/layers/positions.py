"""How a model knows the order of its tokens: tables that are added, or a rotation of queries and keys.

Shapes: `B` rows, `H` heads, `T` tokens, `K` head width (even), `D` width (even).
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

PositionKind = Literal["sinusoidal", "learned", "rotary"]

LONGEST_WAVELENGTH = 10_000.0


def sinusoidal_table(length: int, width: int) -> Tensor:
    """Rows of sines and cosines of geometrically spaced wavelengths, (length, D), float32 (Vaswani et al. 2017)."""
    angles = _angles(length, width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class Rotation(NamedTuple):
    """Cosines and sines of the rotation at each position, each (T, K/2)."""

    cos: Tensor
    sin: Tensor


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
