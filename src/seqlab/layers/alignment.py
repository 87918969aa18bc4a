"""Attention of a decoder state over source states, as in Luong et al. (2015) and Bahdanau et al. (2015).

The state h of target place t meets the states m of the source places s = 1..S. What is exponentiated is, by name,

    dot       score = h . m
    general   score = h . W_a m
    concat    score = v_a . tanh(W_a [h; m])
    location  score = (W_a h)_s, which sees the place and not what is at it

Over the whole source (global), or over those s with |s - p| <= R around a centre p, the weights are

    global    a(s) = exp(score) / sum of exp(score)
    local-m   the same within R of p = t
    local-p   the same within R of p = S sigmoid(v_p . tanh(W_p h)), times exp(-(s - p)^2 / (2 sigma^2)), sigma = R / 2

with R for the D of the paper, section 3.2. The context is the sum of a(s) m. Local-p weights do not sum to 1, as in the
paper; a window that lies beyond the source has weights and context 0.

Bahdanau et al. score like concat, over the whole source, with the decoder state of the place before.

Shapes: `B` rows, `T` target places, `S` source places, `D` width.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Score = Literal["dot", "general", "concat", "location"]
Window = Literal["global", "local-m", "local-p"]


class AttendedSource(NamedTuple):
    """What is attended to, made once a source: states (B, S, D), their keys, and the mask of real ones (B, S)."""

    states: Tensor
    keys: Tensor
    mask: Tensor


class Alignment(NamedTuple):
    """Weights (B, T, S), and the centres (B, T) of the windows that they lie in, where there are windows."""

    weights: Tensor
    centres: Tensor | None = None


class Attention(nn.Module):
    """A score and a window."""

    def __init__(self, width: int, score: Score, window: Window, radius: int, max_length: int):
        """`radius` is for local windows. `max_length` is for location: later places get no weight."""
        super().__init__()
        self.kind: Score = score
        self.score = build_score(score, width, max_length)
        self.window: Window = window
        self.width, self.radius = width, radius
        self.centre = PredictedCentre(width) if window == "local-p" else None

    def prepare(self, states: Tensor, mask: Tensor) -> AttendedSource:
        """States (B, S, D) with the mask of real ones, padding on the right."""
        return AttendedSource(states, self.score.keys(states), mask)

    def forward(self, query: Tensor, source: AttendedSource, places: Tensor) -> Alignment:
        """Decoder states (B, T, D) at target places (T,), counted from 1 -> their alignment.

        One place for all queries is enough: then `places` is (1,).
        """
        scores, mask = self.score(query, source.keys), source.mask[:, None]
        match self.window:
            case "global":
                return Alignment(softmax_within(scores, mask))
            case "local-m":
                centres = places.to(scores.dtype).expand(query.shape[:2])
                near = self._distances(scores, centres) <= self.radius
                return Alignment(softmax_within(scores, mask & near), centres)
            case "local-p":
                assert self.centre is not None
                centres = self.centre(query, source.mask.sum(1))
                distances = self._distances(scores, centres)
                weights = softmax_within(scores, mask & (distances <= self.radius))
                return Alignment(weights * gaussian(distances, deviation=self.radius / 2), centres)

    def multiply_adds(self, source: Tensor, target: Tensor) -> Tensor:
        """Multiplications in matrix products for sources and targets of these lengths, the context included."""
        projected = {"dot": 0, "general": source, "concat": source + target, "location": 0}[self.kind]
        centres = 0 if self.centre is None else target * (self.width + 1)
        return self.width * (self.width * projected + centres + 2 * source * target)

    @staticmethod
    def _distances(scores: Tensor, centres: Tensor) -> Tensor:
        """|s - p| (B, T, S)."""
        places = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
        return (places - centres[..., None]).abs()


def context(alignment: Alignment, source: AttendedSource) -> Tensor:
    """The sum of the source states by their weights, (B, T, D)."""
    return alignment.weights @ source.states


def softmax_within(scores: Tensor, seen: Tensor) -> Tensor:
    """Softmax over those source places that `seen` has; 0 at the others, and everywhere where it has none."""
    return scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(dim=-1) * seen


def gaussian(distances: Tensor, deviation: float) -> Tensor:
    """exp(-d^2 / (2 sigma^2)): 1 at the centre."""
    return torch.exp(-distances.square() / (2 * deviation**2))


class PredictedCentre(nn.Module):
    """p = S sigmoid(v_p . tanh(W_p h)): where in a source of S places the decoder wants to look."""

    def __init__(self, width: int):
        super().__init__()
        self.hidden = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, 1, bias=False)

    def forward(self, query: Tensor, lengths: Tensor) -> Tensor:
        """Decoder states (B, T, D) and source lengths (B,) -> centres (B, T)."""
        return lengths[:, None] * self.out(self.hidden(query).tanh()).squeeze(-1).sigmoid()


class DotScore(nn.Module):
    """h . m"""

    def keys(self, states: Tensor) -> Tensor:
        """m."""
        return states

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """(B, T, D) and (B, S, D) -> (B, T, S)."""
        return query @ keys.transpose(1, 2)


class GeneralScore(nn.Module):
    """h . W_a m"""

    def __init__(self, width: int):
        super().__init__()
        self.key = nn.Linear(width, width, bias=False)

    def keys(self, states: Tensor) -> Tensor:
        """W_a m."""
        return self.key(states)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """(B, T, D) and (B, S, D) -> (B, T, S)."""
        return query @ keys.transpose(1, 2)


class ConcatScore(nn.Module):
    """v_a . tanh(W_a [h; m]), where W_a [h; m] is a sum of what either half of W_a makes."""

    def __init__(self, width: int):
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, 1, bias=False)

    def keys(self, states: Tensor) -> Tensor:
        """The half of W_a [h; m] that m makes."""
        return self.key(states)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """(B, T, D) and (B, S, D) -> (B, T, S), by way of (B, T, S, D)."""
        return self.out(torch.tanh(self.query(query)[:, :, None] + keys[:, None])).squeeze(-1)


class LocationScore(nn.Module):
    """(W_a h)_s: a weight for the place s, whatever is at it.

    Short sources use the first rows of W_a, and words of long ones that have no row are ignored, as in the paper.
    """

    def __init__(self, width: int, max_length: int):
        super().__init__()
        self.places = nn.Linear(width, max_length, bias=False)

    def keys(self, states: Tensor) -> Tensor:
        """m, of which only the number matters."""
        return states

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """(B, T, D) and (B, S, D) -> (B, T, S)."""
        rows = self.places.weight[: keys.shape[1]]
        scores = query @ rows.T
        return nn.functional.pad(scores, (0, keys.shape[1] - len(rows)), value=-math.inf)


def build_score(kind: Score, width: int, max_length: int) -> DotScore | GeneralScore | ConcatScore | LocationScore:
    """The module of a score."""
    match kind:
        case "dot":
            return DotScore()
        case "general":
            return GeneralScore(width)
        case "concat":
            return ConcatScore(width)
        case "location":
            return LocationScore(width, max_length)
