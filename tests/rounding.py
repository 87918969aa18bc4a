"""How far apart two right results may lie, on any CPU.

Kernels for other instruction sets and shapes add the same numbers in another order. Each operation rounds by up to half
an `eps` of the number format; over n of them independent errors grow with the root of n (Higham 2002, Accuracy and
Stability of Numerical Algorithms, section 2.8). Four such errors, of both results together, are allowed.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def additions(model: nn.Module) -> int:
    """Roughly how many lead to an output: the inputs of all matrices. Thrice as many lead to a gradient."""
    return sum(parameter.shape[-1] for parameter in model.parameters() if parameter.ndim > 1)


def rounding(terms: float, dtype: torch.dtype = torch.float32) -> float:
    """Relative tolerance of a value that so many additions lead to, through all layers."""
    return 4 * torch.finfo(dtype).eps * math.sqrt(terms)


def assert_close(
    found: Tensor,
    expected: Tensor,
    *,
    terms: float,
    scale: float | None = None,
    msg: Callable[[str], str] | None = None,
) -> None:
    """Equal but for rounding in the coarser format of the two.

    Args:
        found: of one kernel.
        expected: of another one, or of float64.
        terms: additions that lead to a value, as in `rounding`.
        scale: size of the numbers that are added up; that of the largest expected value where it is not given. Small
            values are often the difference of large ones, and are no more exact than those.
        msg: as of `torch.testing.assert_close`.
    """
    tolerance = max(rounding(terms, tensor.dtype) for tensor in (found, expected))
    if scale is None:
        scale = expected.detach()[expected.isfinite()].abs().max().item()
    torch.testing.assert_close(
        found.to(torch.float64), expected.to(torch.float64), rtol=tolerance, atol=tolerance * scale, msg=msg
    )
