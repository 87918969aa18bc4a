"""Search for the most probable spans: all spans of a window that are short enough are compared.

Shapes: `B` windows, `S` tokens, `L` longest answer, `K` spans that are kept of a window.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

CANDIDATES = 20
"""Spans that are kept of each window and of each question; the probabilities of a question's spans add up to 1."""


class Candidate(NamedTuple):
    """A span of the text, in characters; from 0 to 0 it says that there is no answer."""

    start: int
    end: int
    score: float
    """sum of the logits of its first and its last token"""


class SpanCandidates(NamedTuple):
    """The best spans of windows, the best first."""

    first: Tensor  # (B, K), tokens
    last: Tensor  # (B, K)
    scores: Tensor  # (B, K), minus infinity where there are fewer spans
    null: Tensor  # (B,), the score of "not in this window": both logits at the first token


def best_spans(start: Tensor, end: Tensor, text: Tensor, longest: int, number: int = CANDIDATES) -> SpanCandidates:
    """The spans with the highest sum of logits, from all whose tokens are text and that have at most `longest` tokens.

    Args:
        start, end: (B, S), logits of the first and the last token.
        text: (B, S), which tokens belong to the text.
        longest: L.
        number: K, at most.
    """
    start, end = start.float(), end.float()
    longest = min(longest, start.shape[1])
    hidden = -math.inf
    ends = F.pad(end.masked_fill(~text, hidden), (0, longest - 1), value=hidden).unfold(1, longest, 1)  # (B, S, L)
    scores = start.masked_fill(~text, hidden)[..., None] + ends
    best, index = scores.flatten(1).topk(min(number, scores[0].numel()), dim=1)
    first = index // longest
    return SpanCandidates(first, first + index % longest, best, start[:, 0] + end[:, 0])


def merged(windows: Iterable[Sequence[Candidate]], number: int = CANDIDATES) -> list[Candidate]:
    """The best spans of all windows of a text, each span once with its highest score, the best first."""
    best: dict[tuple[int, int], Candidate] = {}
    for candidate in (candidate for window in windows for candidate in window):
        known = best.setdefault(candidate[:2], candidate)
        if candidate.score > known.score:
            best[candidate[:2]] = candidate
    return sorted(best.values(), key=lambda candidate: -candidate.score)[:number]


def log_probabilities(candidates: Sequence[Candidate]) -> list[float]:
    """The log-probability of each span among these."""
    if not candidates:
        return []
    top = max(candidate.score for candidate in candidates)
    total = top + math.log(sum(math.exp(candidate.score - top) for candidate in candidates))
    return [candidate.score - total for candidate in candidates]
