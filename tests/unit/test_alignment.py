"""Attention against plain loops that follow the equations of Luong et al. 2015, in float64."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from seqlab.layers.alignment import (
    Attention,
    ConcatScore,
    DotScore,
    GeneralScore,
    LocationScore,
    Score,
    Window,
    context,
)

WIDTH, RADIUS, LONGEST = 6, 2, 7
LENGTHS = [9, 1, 4]
"""One source is longer than the window and than the places of a location score, one has one word."""
TARGETS = 8
"""More than the shorter sources have, so that windows of local-m lie beyond them."""

Weighted = Callable[[Tensor, Tensor], float]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def attention(score: Score, window: Window) -> Attention:
    return Attention(WIDTH, score, window, RADIUS, LONGEST).double()


def states_of(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Random states (B, S, D), at padding too, and the mask of real ones."""
    longest = max(lengths)
    return torch.randn(len(lengths), longest, WIDTH).double(), torch.arange(longest) < torch.tensor(lengths)[:, None]


def dot(left: Tensor, right: Tensor) -> float:
    return sum(float(a) * float(b) for a, b in zip(left, right, strict=True))


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.tensor([dot(row, vector) for row in matrix], dtype=torch.float64)


def scored(layer: Attention, h: Tensor, m: Tensor, s: int) -> float:
    """score(h_t, m_s), equations (7) and (8) of the paper; minus infinity where no row of W_a is left."""
    match layer.score:
        case DotScore():
            return dot(h, m)
        case GeneralScore() as general:
            return dot(h, times(general.key.weight, m))
        case ConcatScore() as concat:
            both = times(torch.cat([concat.query.weight, concat.key.weight], dim=1), torch.cat([h, m]))
            return dot(concat.out.weight[0], torch.tensor([math.tanh(value) for value in both]))
        case LocationScore() as location:
            rows = times(location.places.weight, h)
            return float(rows[s - 1]) if s <= len(rows) else -math.inf


def centre_of(layer: Attention, h: Tensor, t: int, length: int) -> float | None:
    """p_t, equations (9) and the line before them."""
    match layer.window:
        case "global":
            return None
        case "local-m":
            return t
        case "local-p":
            assert layer.centre is not None
            hidden = torch.tensor([math.tanh(value) for value in times(layer.centre.hidden.weight, h)])
            return length / (1 + math.exp(-dot(layer.centre.out.weight[0], hidden)))


def weights_by_loops(layer: Attention, h: Tensor, sources: Tensor, t: int) -> list[float]:
    """a_t(s) for one decoder state and the real states of one source."""
    length = len(sources)
    centre = centre_of(layer, h, t, length)
    window = [s for s in range(1, length + 1) if centre is None or abs(s - centre) <= RADIUS]
    exponentials = {s: math.exp(scored(layer, h, sources[s - 1], s)) for s in window}
    total = sum(exponentials.values())
    weights = []
    for s in range(1, length + 1):
        weight = exponentials[s] / total if exponentials.get(s) else 0.0
        if layer.window == "local-p" and centre is not None:  # equation (10)
            weight *= math.exp(-((s - centre) ** 2) / (2 * (RADIUS / 2) ** 2))
        weights.append(weight)
    return weights


@pytest.mark.parametrize("score", get_args(Score))
@pytest.mark.parametrize("window", get_args(Window))
@torch.no_grad()
def test_weights_and_contexts_follow_the_equations(score: Score, window: Window) -> None:
    layer, (states, mask) = attention(score, window), states_of(LENGTHS)
    queries = torch.randn(len(LENGTHS), TARGETS, WIDTH).double()
    source = layer.prepare(states, mask)
    found = layer(queries, source, torch.arange(1, TARGETS + 1))
    contexts = context(found, source)
    for row, length in enumerate(LENGTHS):
        for t in range(1, TARGETS + 1):
            h, real = queries[row, t - 1], states[row, :length]
            expected = weights_by_loops(layer, h, real, t)
            expected_context = sum((a * m for a, m in zip(expected, real, strict=True)), torch.zeros(WIDTH).double())
            torch.testing.assert_close(found.weights[row, t - 1, :length].tolist(), expected)
            torch.testing.assert_close(contexts[row, t - 1], expected_context)
            if found.centres is not None:
                assert found.centres[row, t - 1].item() == pytest.approx(centre_of(layer, h, t, length))
    assert (found.centres is None) == (window == "global")
    assert not found.weights[~mask[:, None].expand_as(found.weights)].any()


@pytest.mark.parametrize("score", get_args(Score))
@pytest.mark.parametrize("window", get_args(Window))
def test_gradients_are_right_and_reach_every_weight(score: Score, window: Window) -> None:
    layer, (states, mask) = attention(score, window), states_of([5, 1, 3])
    queries = torch.randn(3, 4, WIDTH).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)

    def contexts(queries: Tensor, states: Tensor) -> Tensor:
        source = layer.prepare(states, mask)
        return context(layer(queries, source, torch.arange(1, 5)), source)

    leaves = queries.requires_grad_(), states.requires_grad_()
    assert torch.autograd.gradcheck(contexts, leaves)
    contexts(*leaves).square().sum().backward()
    assert [name for name, weight in layer.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize("window", get_args(Window))
def test_one_place_at_a_time_is_the_same(window: Window) -> None:
    layer, (states, mask) = attention("general", window), states_of(LENGTHS)
    queries = torch.randn(len(LENGTHS), TARGETS, WIDTH).double()
    source = layer.prepare(states, mask)
    whole = layer(queries, source, torch.arange(1, TARGETS + 1)).weights
    steps = [layer(queries[:, t : t + 1], source, torch.tensor([t + 1])).weights for t in range(TARGETS)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


@pytest.mark.parametrize("window", get_args(Window))
def test_what_the_weights_sum_to(window: Window) -> None:
    """1; less in a Gaussian window; 0 where a monotonic window lies beyond the source. Never NaN."""
    layer, (states, mask) = attention("dot", window), states_of(LENGTHS)
    queries = 50 * torch.randn(len(LENGTHS), TARGETS, WIDTH).double()
    sums = layer(queries, layer.prepare(states, mask), torch.arange(1, TARGETS + 1)).weights.sum(-1)
    match window:
        case "global":
            torch.testing.assert_close(sums, torch.ones_like(sums))
        case "local-m":
            within = torch.arange(1, TARGETS + 1) <= torch.tensor(LENGTHS)[:, None] + RADIUS
            torch.testing.assert_close(sums, within.double())
            assert not within.all()
        case "local-p":
            assert ((sums > 0) & (sums <= 1)).all()


def test_a_source_without_words_has_no_weights() -> None:
    layer = attention("general", "local-p")
    source = layer.prepare(torch.randn(1, 3, WIDTH).double(), torch.zeros(1, 3).bool())
    assert not layer(torch.randn(1, 2, WIDTH).double(), source, torch.tensor([1, 2])).weights.any()
