"""Recurrences whose state enters each step linearly, so that they need no step-by-step graph: minGRU and LRU.

Shapes: `L` steps, `B` rows, `I` input width, `D` width, `S` complex states. Time is the first axis: a scan then reads
and writes memory in order.
"""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.layers.recurrent import full_precision


class MinGRU(nn.Module):
    """The minimal GRU of Feng et al. 2024: neither gate nor candidate sees the state before.

    z_t = sigmoid(W_z x_t), h~_t = W_h x_t, h_t = (1 - z_t) h_{t-1} + z_t h~_t, both with a bias, from h = 0.

    Args:
        input_width, width: I and D.
        longest_memory: the first biases of the gate give each channel a memory 1 / z between 2 and so many steps,
            evenly in the logarithm (after Tallec and Ollivier 2018); biases of 0 would forget half of a state a step.
        stride: the states are read out every so many steps only.
    """

    def __init__(self, input_width: int, width: int, longest_memory: float, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.gate_and_candidate = nn.Linear(input_width, 2 * width)
        with torch.no_grad():
            for part in self.gate_and_candidate.weight.chunk(2):
                nn.init.xavier_uniform_(part)
            memory = 2 * max(1.0, longest_memory / 2) ** torch.rand(width)
            self.gate_and_candidate.bias[:width] = -torch.log(memory - 1)
            self.gate_and_candidate.bias[width:] = 0

    def forward(self, x: Tensor) -> Tensor:
        """(L, B, I) -> states (L / stride, B, D); in fp32 also under autocast, as small gates make long sums."""
        dtype = self.gate_and_candidate.weight.dtype
        gate, candidate = self.gate_and_candidate(x).to(dtype).chunk(2, dim=-1)
        update = gate.sigmoid()
        states = linear_scan((1 - update).transpose(0, 1), (update * candidate).transpose(0, 1)).transpose(0, 1)
        return states[self.stride - 1 :: self.stride]

    @property
    def multiply_adds(self) -> float:
        """Of a step."""
        return self.gate_and_candidate.weight.numel() + len(self.gate_and_candidate.weight)


class LinearRecurrentUnit(nn.Module):
    """The linear recurrent unit (LRU) of Orvieto et al. 2023: complex states that decay and turn, each at its own rate.

    h_t = lambda h_{t-1} + gamma B x_t, y_t = Re(C h_t) + D x_t, with a diagonal lambda = exp(-exp(nu) + i exp(theta)),
    of magnitude below 1 for any nu. At first |lambda| lies in a ring, uniform in area, the phase is uniform up to
    `max_phase`, and gamma = sqrt(1 - |lambda|^2) makes states as large as inputs. All but the scan over S numbers a
    step are matrix products.

    Args:
        input_width, width: I and D.
        state_size: S, half of which read from the end where the layer is bidirectional.
        stride: the states are read out every so many steps only. Each step still changes them: what `stride` steps add
            is one product, with a matrix made of powers of lambda, and the scan has L / stride steps. Outputs then have
            no direct part D x_t, nor where I is not D.
        min_radius, max_radius, max_phase: of the first lambda.
    """

    def __init__(
        self,
        input_width: int,
        width: int,
        state_size: int,
        *,
        stride: int = 1,
        bidirectional: bool = False,
        min_radius: float = 0.9,
        max_radius: float = 0.999,
        max_phase: float = math.pi / 10,
    ):
        super().__init__()
        self.stride = stride
        self.directions = 2 if bidirectional else 1
        area = torch.rand(state_size) * (max_radius**2 - min_radius**2) + min_radius**2
        self.log_decay = nn.Parameter(torch.log(-0.5 * torch.log(area)))  # nu
        self.log_phase = nn.Parameter(torch.log(max_phase * torch.rand(state_size).clamp_min(1e-4)))  # theta
        self.log_gain = nn.Parameter(0.5 * torch.log(1 - area))  # gamma
        self.read_in = nn.Parameter(torch.randn(2, state_size, input_width) / math.sqrt(2 * input_width))  # B
        self.read_out = nn.Linear(2 * state_size, width)  # C: of real and imaginary parts
        nn.init.normal_(self.read_out.weight, std=state_size**-0.5)
        nn.init.zeros_(self.read_out.bias)
        self.direct = nn.Parameter(torch.randn(width)) if stride == 1 and input_width == width else None  # D

    @property
    def decay(self) -> Tensor:
        """lambda (S,), complex."""
        return torch.exp(torch.complex(-self.log_decay.exp(), self.log_phase.exp()))

    def forward(self, x: Tensor) -> Tensor:
        """(L, B, I) -> (L / stride, B, D). The length is a multiple of the stride."""
        y = self.read_out(self.states(x))
        return y if self.direct is None else torch.addcmul(y, x.to(y.dtype), self.direct.to(y.dtype))

    def states(self, x: Tensor) -> Tensor:
        """(L, B, I) -> real and imaginary parts of the states (L / stride, B, 2 S); in fp32 also under autocast."""
        steps, stride = len(x), self.stride
        if stride > 1:
            x = x.unflatten(0, (steps // stride, stride)).transpose(1, 2).flatten(2)  # (L / stride, B, stride * I)
        with full_precision(x.device):
            decay = self.decay
            weight = self.input_matrix(decay)
        added = torch.view_as_complex(F.linear(x, weight).to(weight.dtype).unflatten(-1, (-1, 2)))  # (L / stride, B, S)
        parts = [
            linear_scan(rate, own.transpose(0, 1), reverse=bool(direction)).transpose(0, 1)
            for direction, (rate, own) in enumerate(
                zip((decay**stride).chunk(self.directions), added.chunk(self.directions, dim=-1), strict=True)
            )
        ]
        return torch.cat([torch.view_as_real(part).flatten(2) for part in parts], dim=-1)

    def input_matrix(self, decay: Tensor) -> Tensor:
        """What `stride` steps add to the states after them, (2 S, stride * I): gamma B lambda^(steps that follow)."""
        gained = torch.complex(self.read_in[0], self.read_in[1]) * self.log_gain.exp()[:, None]  # (S, I)
        following = torch.arange(self.stride, device=decay.device)
        exponents = torch.stack([following.flip(0), following][: self.directions])  # a reversed scan ends at the first
        exponents = exponents.repeat_interleave(len(decay) // self.directions, dim=0)  # (S, stride)
        powers = torch.exp(torch.log(decay)[:, None] * exponents)
        weight = powers[:, :, None] * gained[:, None]  # (S, stride, I)
        return torch.view_as_real(weight.flatten(1)).transpose(1, 2).flatten(0, 1)

    @property
    def multiply_adds(self) -> float:
        """Of a step, on average; a complex one counts as four."""
        return self.read_in.numel() + (4 * self.read_in.shape[1] + self.read_out.weight.numel()) / self.stride


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
