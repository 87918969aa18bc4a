"""One path a row: take a token, feed it back, until nothing is left to find out.

The loop serves greedy search and sampling, which differ in one function from logits to tokens.
Shapes: `B` rows, `R` rows still in the batch, `V` vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seqlab.decode.contract import NO_TOKEN, Decoder, Hypothesis, RowSelection, State, from_padded
from seqlab.decode.next_token import constrain, log_normaliser
from seqlab.decode.settings import DecodeConfig

Choose = Callable[[Tensor], Tensor]
"""Logits (R, V), forbidden ones -inf -> tokens (R,)."""


def most_probable(logits: Tensor) -> Tensor:
    """The greedy choice (R,) of logits (R, V); the lowest id of equals."""
    return logits.argmax(-1)


def follow_one_path(
    model: Decoder[State],
    state: State,
    first: Tensor,
    limits: Tensor,
    config: DecodeConfig,
    eos_id: int,
    choose: Choose = most_probable,
    answers: Sequence[Sequence[int]] | None = None,
) -> list[Hypothesis]:
    """One hypothesis for each of the rows that `first` (B,), their beginning of sequence, starts.

    A row stops at its end of sequence, at as many tokens as `limits` (B,) allows it, or, given `answers` (ids without
    end of sequence, when only an exact match counts), at its first token that differs from its answer. In the loop, the
    only wait for the device is one a step, for the number of rows that go on.
    """
    longest = int(limits.amax()) if len(limits) else 0
    ids = first.new_full((len(first), longest + 1), NO_TOKEN)
    scores = torch.zeros(len(first), device=first.device)
    expected = None if answers is None else _padded(answers, ids)
    rows = torch.arange(len(first), device=first.device)  # (R,) the output that each row of the batch writes
    active = torch.ones_like(rows, dtype=torch.bool)  # (R,) False: stopped, but not dropped yet
    tokens = first
    for length in range(longest + 1):
        logits, state = model.step(tokens, state)
        prefix = ids[rows, :length].clamp(min=0)  # stopped rows hold NO_TOKEN, which is no index; they do not matter
        tokens = choose(constrain(logits, prefix, config, eos_id))
        is_end = tokens == eos_id
        active = active & (is_end | (length < limits[rows]))  # at the limit there is room for the end only
        ids[rows, length] = tokens.where(active, NO_TOKEN)
        log_probs = logits.gather(1, tokens[:, None]).squeeze(1).float() - log_normaliser(logits)
        scores[rows] += log_probs.where(active, 0.0)

        active = active & ~is_end
        if expected is not None:
            active = active & (tokens == expected[rows, length])
        num_active = int(active.sum())
        if num_active == 0:
            break
        if _dropping_pays(num_active, len(rows)):
            keep = active.nonzero().squeeze(1)
            state = model.select_rows(state, RowSelection(rows=keep, sources=keep))
            rows, tokens, active = rows[keep], tokens[keep], active[keep]
    return [
        from_padded(row, score, eos_id, limit)
        for row, score, limit in zip(ids.tolist(), scores.tolist(), limits.tolist(), strict=True)
    ]


def _dropping_pays(num_active: int, num_rows: int) -> bool:
    """Copying the state costs about its size; at each halving, all copies together cost less than the first state,
    and a step never works on more than twice the rows it must."""
    return num_active <= num_rows // 2


def _padded(answers: Sequence[Sequence[int]], like: Tensor) -> Tensor:
    """The answers as a tensor of the shape of `like`; what is too long for it can never match, and is cut."""
    padded = torch.full_like(like, NO_TOKEN)
    for row, answer in enumerate(answers):
        wanted = torch.tensor(answer[: like.size(1)], dtype=like.dtype)
        padded[row, : len(wanted)] = wanted
    return padded
