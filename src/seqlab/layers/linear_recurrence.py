"""Recurrences whose state enters each step linearly, so that they need no step-by-step graph: minGRU and LRU.

Shapes: `L` steps, `B` rows, `I` input width, `D` width, `S` complex states. Time is the first axis: a scan then reads
and writes memory in order.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.layers.recurrent import full_precision
from seqlab.layers.scan import linear_scan


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
