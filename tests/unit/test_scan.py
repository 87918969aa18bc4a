"""First-order linear recurrences: equal to one step after the other, whatever the chunk, and exact backwards."""

from itertools import product

import pytest
import torch
from torch import Tensor

from seqlab.layers.linear_recurrence import SMALLEST_STEP, chosen_chunk, linear_scan

ROWS, WIDTH = 2, 3
DTYPES = (torch.float64, torch.complex128)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def step_by_step(factors: Tensor, inputs: Tensor, initial: Tensor | None, reverse: bool) -> Tensor:
    """The definition."""
    factors = factors.expand_as(inputs)
    state = torch.zeros_like(inputs[:, 0]) if initial is None else initial
    states = [state] * inputs.shape[1]
    for place in reversed(range(len(states))) if reverse else range(len(states)):
        state = factors[:, place] * state + inputs[:, place]
        states[place] = state
    return torch.stack(states, dim=1)


def drawn(length: int, dtype: torch.dtype, fixed: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Factors, inputs and a first state, all of which need gradients."""
    shapes = ((WIDTH,) if fixed else (ROWS, length, WIDTH), (ROWS, length, WIDTH), (ROWS, WIDTH))
    factors, inputs, initial = (torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)
    return factors, inputs, initial


@pytest.mark.parametrize("length", [1, 2, 7, 12])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_states_and_gradients_are_those_of_the_definition(
    length: int, dtype: torch.dtype, fixed: bool, reverse: bool
) -> None:
    """Chunks that divide the length or do not, of one step, and longer than the sequence."""
    for chunk, given in product([1, 2, 3, 5, length, length + 4], [False, True]):
        factors, inputs, first = drawn(length, dtype, fixed)
        leaves = [factors, inputs, *([first] if given else [])]
        initial = first if given else None
        found = linear_scan(factors, inputs, initial, reverse=reverse, chunk=chunk)
        expected = step_by_step(factors, inputs, initial, reverse)
        torch.testing.assert_close(found, expected)
        outside = torch.randn_like(found)
        ours = torch.autograd.grad(found, leaves, outside)
        theirs = torch.autograd.grad(expected, leaves, outside)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("chunk", [2, 5])
def test_gradients_are_those_of_finite_differences(dtype: torch.dtype, fixed: bool, chunk: int) -> None:
    for reverse in (False, True):
        leaves = drawn(5, dtype, fixed)
        assert torch.autograd.gradcheck(
            lambda a, b, h, reverse=reverse: linear_scan(a, b, h, reverse=reverse, chunk=chunk), leaves
        )


@pytest.mark.parametrize("chunk", [4, 20])
def test_factors_of_zero_and_one_are_exact(chunk: int) -> None:
    """0 forgets all and 1 adds up: no logarithm or division of factors is in the way."""
    inputs = torch.randint(-9, 9, (ROWS, 20, WIDTH)).double()
    assert torch.equal(linear_scan(torch.zeros(WIDTH).double(), inputs, chunk=chunk), inputs)
    assert torch.equal(linear_scan(torch.ones(WIDTH).double(), inputs, chunk=chunk), inputs.cumsum(1))
    resets = torch.ones_like(inputs)
    resets[:, 11] = 0
    found = linear_scan(resets, inputs, chunk=chunk)
    assert torch.equal(found[:, :11], inputs[:, :11].cumsum(1))
    assert torch.equal(found[:, 11:], inputs[:, 11:].cumsum(1))


def test_factors_that_vanish_give_finite_gradients() -> None:
    """Products of 700 small factors underflow; nothing divides by them."""
    factors = torch.full((1, 700, 1), 1e-3, requires_grad=True)
    inputs = torch.ones(1, 700, 1, requires_grad=True)
    for chunk in (26, 700):
        gradients = torch.autograd.grad(linear_scan(factors, inputs, chunk=chunk).sum(), [factors, inputs])
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_memory_of_any_order_will_do() -> None:
    factors, inputs = torch.rand(7, ROWS, WIDTH).double(), torch.randn(7, ROWS, WIDTH).double()
    time_major = linear_scan(factors.transpose(0, 1), inputs.transpose(0, 1), chunk=7)
    rows_first = linear_scan(factors.transpose(0, 1).contiguous(), inputs.transpose(0, 1).contiguous(), chunk=3)
    torch.testing.assert_close(time_major, rows_first)


def test_small_steps_are_cut_into_chunks() -> None:
    assert chosen_chunk(torch.empty(1, 784, 128)) == 28
    assert chosen_chunk(torch.empty(SMALLEST_STEP // 128, 784, 128)) == 784
    assert chosen_chunk(torch.empty(1, 1, 1)) == 1
