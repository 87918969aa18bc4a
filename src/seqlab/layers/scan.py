"""How is h_t = a_t h_{t-1} + b_t computed for all steps without a graph of as many nodes as there are steps?

Shapes: `B` rows, `L` steps, `D` width.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_STEP = 2048
"""Numbers of one step from which a CPU is busier with them than with calling the kernel (benchmarks/recurrence.py)."""


def linear_scan(
    factors: Tensor,
    inputs: Tensor,
    initial: Tensor | None = None,
    *,
    reverse: bool = False,
    chunk: int | None = None,
) -> Tensor:
    """The states h_t = factors_t * h_{t-1} + inputs_t, element by element, real or complex: (B, L, D).

    Inputs are (B, L, D); factors too, or (D,) where they are the same for all rows and steps. The state before the
    first step is `initial` (B, D), or zeros. With `reverse`, time runs from the last step to the first.

    The forward pass is one fused kernel a step, and the backward pass the same recurrence in the other direction. Where
    a step has few numbers, time is cut into chunks of `chunk` steps that run side by side, each from zeros; then the
    last state of each is carried into the next. That is three times the arithmetic in `chunk + L / chunk` kernels.
    Without `chunk`, the size of a step decides. All give the same states, but for rounding. The states come
    in time-major memory, which is also the fastest for inputs (a transposed (L, B, D) tensor).
    """
    if initial is None:
        initial = inputs.new_zeros(inputs.shape[0], inputs.shape[2])
    if chunk is None:
        chunk = chosen_chunk(inputs)
    by_time = factors.transpose(0, 1) if factors.dim() == 3 else factors
    states = _LinearScan.apply(by_time, inputs.transpose(0, 1), initial, reverse, chunk)
    return cast(Tensor, states).transpose(0, 1)


def chosen_chunk(inputs: Tensor) -> int:
    """Steps of a chunk for inputs (B, L, D): all of them where a step is large, else about the root of their number."""
    rows, length, width = inputs.shape
    enough = SMALLEST_STEP if inputs.device.type == "cpu" else 1 << 20  # a GPU is not full before that
    return length if rows * width >= enough else max(1, round(length**0.5))


class _LinearScan(torch.autograd.Function):
    """Time-major: factors (L, B, D) or (D,), inputs and states (L, B, D).

    With g_t the gradient of the states from outside, G_t = g_t + conj(a_{t+1}) G_{t+1} is that of the inputs, and
    conj(h_{t-1}) G_t that of the factors.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, factors: Tensor, inputs: Tensor, initial: Tensor, reverse: bool, chunk: int
    ) -> Tensor:
        states = torch.empty_like(inputs, memory_format=torch.contiguous_format)
        _scan(factors, inputs, initial, states, reverse, chunk)
        ctx.save_for_backward(factors, states, initial)
        ctx.reverse, ctx.chunk = reverse, chunk
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        factors, states, initial = ctx.saved_tensors
        factors, outside, reverse = factors.conj().resolve_conj(), gradients[0], ctx.reverse
        first, last = (-1, 0) if reverse else (0, -1)
        later, earlier = (slice(None, -1), slice(1, None)) if reverse else (slice(1, None), slice(None, -1))
        of_inputs = torch.empty_like(states)
        of_inputs[last] = outside[last]
        onward = factors[later] if factors.dim() == 3 else factors
        _scan(onward, outside[earlier], outside[last], of_inputs[earlier], not reverse, ctx.chunk)

        of_factors = of_initial = None
        before = states.conj()[earlier]
        if ctx.needs_input_grad[0] and factors.dim() == 3:
            of_factors = torch.empty_like(of_inputs)
            torch.mul(of_inputs[later], before, out=of_factors[later])
            torch.mul(of_inputs[first], initial.conj(), out=of_factors[first])
        elif ctx.needs_input_grad[0]:
            of_factors = (of_inputs[later] * before).sum((0, 1)) + (of_inputs[first] * initial.conj()).sum(0)
        if ctx.needs_input_grad[2]:
            of_initial = (factors[first] if factors.dim() == 3 else factors) * of_inputs[first]
        return of_factors, of_inputs, of_initial, None, None


def _scan(factors: Tensor, inputs: Tensor, initial: Tensor, states: Tensor, reverse: bool, chunk: int) -> None:
    """Fills `states` (L, B, D), which may be a part of a larger tensor."""
    length = len(inputs)
    if chunk >= length:
        _step_through(factors, inputs, initial, states, reverse)
        return
    num_chunks = -(-length // chunk)
    missing = num_chunks * chunk - length
    padding = (0, 0, 0, 0, missing, 0) if reverse else (0, 0, 0, 0, 0, missing)  # after the last step that is read
    own = _side_by_side(F.pad(inputs, padding), num_chunks)
    if factors.dim() == 3:
        factors = _side_by_side(F.pad(factors, padding), num_chunks)
    local = torch.empty_like(own)  # states of chunks that start from zeros
    _step_through(factors, own, torch.zeros_like(own[0]), local, reverse)
    shape = own.shape if factors.dim() > 1 else (chunk, 1, 1, len(factors))
    products = own.new_empty(shape)  # of the factors since the start of the chunk
    _step_through(factors, own.new_zeros(1).expand(shape), own.new_ones(shape[1:]), products, reverse)

    last = 0 if reverse else -1
    ends = torch.empty_like(local[last])
    between = products[last] if factors.dim() > 1 else products[last, 0, 0]
    _step_through(between, local[last], initial, ends, reverse)
    starts = torch.cat([ends[1:], initial[None]] if reverse else [initial[None], ends[:-1]])
    whole = local.addcmul_(products, starts).transpose(0, 1).flatten(0, 1)
    states.copy_(whole[missing:] if reverse else whole[:length])


def _side_by_side(x: Tensor, num_chunks: int) -> Tensor:
    """(L, B, D) -> (steps of a chunk, chunks, B, D), a view."""
    return x.unflatten(0, (num_chunks, -1)).transpose(0, 1)


def _step_through(factors: Tensor, inputs: Tensor, state: Tensor, states: Tensor, reverse: bool) -> None:
    """One fused kernel a step, along the first axis of the inputs; `factors` have that axis too, or are (D,)."""
    steps = len(inputs)
    factor = factors.unbind(0) if factors.dim() > 1 else [factors] * steps
    own, out = inputs.unbind(0), states.unbind(0)
    for step in reversed(range(steps)) if reverse else range(steps):
        torch.addcmul(own[step], factor[step], state, out=out[step])
        state = out[step]
