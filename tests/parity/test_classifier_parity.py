"""minGRU and LRU against plain loops over time, written from the equations of their papers."""

import pytest
import torch
from torch import Tensor

from seqlab.layers.linear_recurrence import LinearRecurrentUnit, MinGRU

ROWS, LENGTH, INPUTS, WIDTH, STATES = 3, 12, 4, 6, 8


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def mingru_loop(layer: MinGRU, x: Tensor) -> Tensor:
    """Feng et al. 2024, section 3.1.2; x (L, B, I)."""
    gate, candidate = layer.gate_and_candidate.weight.chunk(2)
    gate_bias, candidate_bias = layer.gate_and_candidate.bias.chunk(2)
    state = torch.zeros(x.shape[1], len(gate), dtype=x.dtype)
    states: list[Tensor] = []
    for step in x:
        update = torch.sigmoid(step @ gate.T + gate_bias)
        state = (1 - update) * state + update * (step @ candidate.T + candidate_bias)
        states.append(state)
    return torch.stack(states)


def lru_loop(layer: LinearRecurrentUnit, x: Tensor) -> Tensor:
    """Orvieto et al. 2023, section 3: x_k = Lambda x_{k-1} + exp(gamma) * (B u_k), y_k = Re(C x_k) + D u_k."""
    magnitude, phase = torch.exp(-torch.exp(layer.log_decay)), torch.exp(layer.log_phase)
    eigenvalues = magnitude * torch.exp(1j * phase)
    matrix = torch.complex(layer.read_in[0], layer.read_in[1])
    gain = torch.exp(layer.log_gain)
    half = len(eigenvalues) // layer.directions

    def run(own: slice, inputs: Tensor) -> Tensor:
        state = torch.zeros(x.shape[1], half, dtype=eigenvalues.dtype)
        states: list[Tensor] = []
        for step in inputs:
            state = eigenvalues[own] * state + gain[own] * (step.to(matrix.dtype) @ matrix[own].T)
            states.append(state)
        return torch.stack(states)

    found = [run(slice(0, half), x)]
    if layer.directions == 2:
        found.append(run(slice(half, None), x.flip(0)).flip(0))
    # each direction hands on a state that has just read the whole of its group of steps
    places = [slice(layer.stride - 1, None, layer.stride), slice(0, None, layer.stride)]
    states = torch.cat([part[place] for part, place in zip(found, places, strict=False)], dim=-1)
    interleaved = layer.read_out.weight.unflatten(-1, (-1, 2))
    read_out = torch.complex(interleaved[..., 0], -interleaved[..., 1])  # Re(C x) = Re C Re x - Im C Im x
    y = (states @ read_out.T).real + layer.read_out.bias
    return y if layer.direct is None else y + layer.direct * x


def check(layer: MinGRU | LinearRecurrentUnit, expected: Tensor, x: Tensor) -> None:
    """Same outputs and same gradients of inputs and weights."""
    found = layer(x)
    torch.testing.assert_close(found, expected)
    outside = torch.randn_like(found)
    leaves = [x, *layer.parameters()]
    ours = torch.autograd.grad(found, leaves, outside)
    theirs = torch.autograd.grad(expected, leaves, outside)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("stride", [1, 3])
def test_mingru(stride: int) -> None:
    layer = MinGRU(INPUTS, WIDTH, longest_memory=50, stride=stride).double()
    x = torch.randn(LENGTH, ROWS, INPUTS).double().requires_grad_()
    check(layer, mingru_loop(layer, x)[stride - 1 :: stride], x)


@pytest.mark.parametrize("stride", [1, 3, 12])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("width", [WIDTH, INPUTS])
def test_lru(stride: int, bidirectional: bool, width: int) -> None:
    """A stride hands on the states of every so manieth step of the same recurrence."""
    layer = LinearRecurrentUnit(INPUTS, width, STATES, stride=stride, bidirectional=bidirectional).double()
    assert (layer.direct is not None) == (stride == 1 and width == INPUTS)
    torch.nn.init.normal_(layer.read_out.bias)
    x = torch.randn(LENGTH, ROWS, INPUTS).double().requires_grad_()
    check(layer, lru_loop(layer, x), x)


def test_first_eigenvalues_lie_in_the_ring_and_states_are_as_large_as_inputs() -> None:
    layer = LinearRecurrentUnit(16, 4, 4000, min_radius=0.8, max_radius=0.98, max_phase=0.5)
    magnitude, phase = layer.decay.abs(), layer.decay.angle()
    assert 0.8 <= magnitude.min().item() < 0.802
    assert 0.979 < magnitude.max().item() <= 0.981
    assert 0.0 < phase.min().item() < 0.001
    assert phase.max().item() == pytest.approx(0.5, abs=1e-3)
    # uniform in area: half of the ring's area lies outside of the root of the mean square of its radii
    middle = ((0.8**2 + 0.98**2) / 2) ** 0.5
    assert (magnitude > middle).float().mean().item() == pytest.approx(0.5, abs=0.03)
    states = layer.states(torch.randn(400, 4, 16))[200:]
    assert states.square().sum(-1).mean().item() / 4000 == pytest.approx(1.0, rel=0.1)


def test_first_memories_of_a_mingru_are_spread_up_to_the_longest() -> None:
    layer = MinGRU(1, 4000, longest_memory=784)
    memory = 1 / layer.gate_and_candidate.bias[:4000].sigmoid()
    assert memory.min().item() == pytest.approx(2, rel=0.02)
    assert memory.max().item() == pytest.approx(784, rel=0.02)
    assert memory.log().mean().item() == pytest.approx(torch.tensor([2.0, 784.0]).log().mean().item(), rel=0.02)
