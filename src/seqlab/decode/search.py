"""One search for every model: from source ids to the ids of the output."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.decode.beam import beam_search
from seqlab.decode.contract import Decoder, Hypothesis, RowSelection
from seqlab.decode.greedy import follow_one_path
from seqlab.decode.next_token import draw
from seqlab.decode.settings import DecodeConfig


@torch.inference_mode()
def search(
    model: Decoder[Any],
    source: Tensor,
    source_mask: Tensor,
    config: DecodeConfig,
    *,
    bos_id: int,
    eos_id: int,
    answers: Sequence[Sequence[int]] | None = None,
    generator: torch.Generator | None = None,
) -> list[list[Hypothesis]]:
    """The outputs for `source` (B, S), whose real ids `source_mask` (B, S, True = takes part) marks, in its order.

    greedy: one hypothesis a row. beam: up to `n_best`, best first; by log p / length penalty, the cut ones last.
    sample: `n_best` independent draws, in the order drawn.

    `answers` (ids without end of sequence, one list a row) are for greedy search when only an exact match counts: a
    row is then left, unfinished, at its first token that differs. `generator` is what sampling draws from; it lives on
    the device of the model, and its state after the call depends on the batch.

    Warn where many hypotheses were `cut`. Raises ValueError when the arguments do not fit the method, or the model is
    in training mode (dropout would spoil the output unnoticed).
    """
    _check_arguments(model, source, config, answers, generator)
    limits = config.limits(source_mask.sum(1))
    state = model.start(model.encode(source, source_mask))
    first = torch.full((len(source),), bos_id, device=source.device)
    match config.method:
        case "greedy":
            return [
                [hypothesis]
                for hypothesis in follow_one_path(model, state, first, limits, config, eos_id, answers=answers)
            ]
        case "beam":
            return beam_search(model, state, first, limits, config, eos_id)
        case "sample":
            assert generator is not None  # _check_arguments has seen to it
            n = config.n_best
            copies = torch.arange(len(source), device=source.device).repeat_interleave(n)
            state = model.select_rows(state, RowSelection(rows=copies, sources=copies))
            choose = partial(draw, config=config, generator=generator)
            drawn = follow_one_path(model, state, first[copies], limits[copies], config, eos_id, choose)
            return [drawn[start : start + n] for start in range(0, len(drawn), n)]


def _check_arguments(
    model: object,
    source: Tensor,
    config: DecodeConfig,
    answers: Sequence[Sequence[int]] | None,
    generator: torch.Generator | None,
) -> None:
    if isinstance(model, nn.Module) and model.training:
        raise ValueError("the model is in training mode: call model.eval() before the search")
    if answers is not None and config.method != "greedy":
        raise ValueError(f'answers stop greedy search only, not method="{config.method}"')
    if answers is not None and len(answers) != len(source):
        raise ValueError(f"{len(answers)} answers for {len(source)} rows of the source")
    if config.method == "sample" and generator is None:
        raise ValueError('method="sample" needs a torch.Generator to draw from')
