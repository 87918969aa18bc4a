"""What does a model write for encoded sources?"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from seqlab.data.batching.pairs import EncodedPairs
from seqlab.data.batching.stream import evaluation_batches
from seqlab.decode.search import Hypothesis, search
from seqlab.decode.settings import DecodeConfig
from seqlab.tasks.task import Autocast, evaluating
from seqlab.text.tokenizer import SpecialIds

SAMPLING_SEED = 0
"""Sampled outputs are drawn from this, so that the same question twice gets the same answer."""


def write(
    model: Any,
    pairs: EncodedPairs,
    special: SpecialIds,
    decode: DecodeConfig,
    *,
    tokens: int,
    autocast: Autocast,
    answers: Sequence[Sequence[int]] | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> list[list[Hypothesis]]:
    """The n best hypotheses for the source of each pair, in order.

    Args:
        model: meets the decoder contract.
        pairs: their targets are not looked at.
        special: the ids that an output begins and ends with.
        decode: how to search.
        tokens: budget of a batch.
        autocast: makes the context of the wanted precision.
        answers: see `search`.
        progress: learns how many are done after every batch.
    """
    found: dict[int, list[Hypothesis]] = {}
    generator = None
    if decode.method == "sample":
        generator = torch.Generator(next(model.parameters()).device).manual_seed(SAMPLING_SEED)
    with evaluating(model):
        for batch in evaluation_batches(pairs, model, tokens):
            with autocast():
                rows = search(
                    model,
                    batch.source,
                    batch.source_mask,
                    decode,
                    bos_id=special.bos,
                    eos_id=special.eos,
                    answers=None if answers is None else [answers[row] for row in batch.rows],
                    generator=generator,
                )
            found.update(zip(batch.rows.tolist(), rows, strict=True))
            progress(len(found))
    return [found[row] for row in range(len(pairs))]
