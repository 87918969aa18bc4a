"""Hypotheses as texts: those with the same text are merged, and unknown tokens are replaced by words of the source."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from seqlab.data.batching.pairs import EncodedPairs
from seqlab.decode.contract import Hypothesis
from seqlab.decode.search import length_penalty
from seqlab.decode.settings import DecodeConfig
from seqlab.errors import UserError
from seqlab.tasks.sequence_to_sequence.evaluation import Attends
from seqlab.text.vocabularies import Vocabularies

WIDEST = 4
"""How many times `beam_width` a beam gets at most, to find as many different texts as are asked for."""


def different(hypotheses: Sequence[Hypothesis], text: Callable[[Sequence[int]], str], alpha: float) -> list[Hypothesis]:
    """The hypotheses with different texts, the best first; two ways to write a text are one, with both probabilities.

    Args:
        hypotheses: the best first; ended ones come before cut ones, and are not merged with them.
        text: that of ids.
        alpha: of the length penalty, which is that of the best of the merged ones.
    """
    groups: dict[str, list[Hypothesis]] = {}
    for hypothesis in hypotheses:
        groups.setdefault(text(hypothesis.ids), []).append(hypothesis)
    merged = [
        best._replace(score=_log_sum_exp([one.score for one in (best, *others) if one.finished == best.finished]))
        for best, *others in groups.values()
    ]
    return sorted(merged, key=lambda one: _ranking(one, alpha))


def different_texts(
    search: Callable[[EncodedPairs, DecodeConfig], list[list[Hypothesis]]],
    encoded: EncodedPairs,
    decode: DecodeConfig,
    text: Callable[[Sequence[int]], str],
) -> list[list[Hypothesis]]:
    """The `n_best` different texts of each source; a beam that finds too few of them is searched again, wider."""
    found: list[list[Hypothesis]] = [[] for _ in range(len(encoded))]
    for factor in (1, 2, WIDEST):
        rows = [row for row, one in enumerate(found) if len(one) < decode.n_best]
        if not rows:
            break
        width = factor * decode.beam_width
        wider = decode.model_copy(update={"beam_width": width, "n_best": width})
        for row, hypotheses in zip(rows, search(encoded.chosen(rows), wider), strict=True):
            found[row] = different(hypotheses, text, decode.length_penalty)
    return [one[: decode.n_best] for one in found]


def _ranking(hypothesis: Hypothesis, alpha: float) -> tuple[bool, float]:
    """What ended hypotheses, and then cut ones, are sorted by: the best is the smallest."""
    tokens = len(hypothesis.ids) + hypothesis.finished
    return not hypothesis.finished, -hypothesis.score / length_penalty(tokens, alpha)


def _log_sum_exp(scores: Sequence[float]) -> float:
    top = max(scores)
    return top + math.log(sum(math.exp(score - top) for score in scores))


def check_copies(model: Any) -> None:
    """Raises UserError where the model has no attention that could tell which words to copy."""
    if not isinstance(model, Attends) or model.attention_layers == 0:
        raise UserError(
            "decode.replace_unk=copy needs a model with attention over its source: decode.forbid_unk=true writes "
            "known words instead"
        )


@torch.inference_mode()
def copied_words(
    model: Any,
    vocabularies: Vocabularies,
    encoded: EncodedPairs,
    row: int,
    source: str,
    hypothesis: Hypothesis | None,
    autocast: Callable[[], Any],
) -> list[str]:
    """For each `<unk>` of an output the piece of the source with the most attention when it was written.

    Source: Luong et al. (2015), "Addressing the rare word problem in neural machine translation", with the attention in
    the place of an aligner.
    """
    unknown, special = vocabularies.target.unk_id, vocabularies.special
    ids = [] if hypothesis is None else hypothesis.ids
    places = [place for place, index in enumerate(ids) if index == unknown]
    if not places:
        return []
    device = next(model.parameters()).device
    batch = encoded.batch(np.array([row]), *encoded.shapes[row]).to(device)
    target = torch.tensor([[special.bos, *ids[:-1]]], device=device)
    everything = torch.ones_like(target, dtype=torch.bool)
    with autocast():
        weights = model.attention_weights(
            batch.source, batch.source_mask, target, everything, kind="cross", depth=model.attention_layers - 1
        )
    best = weights[0].float().mean(0)[places].argmax(-1)  # (places,), heads aside
    pieces = vocabularies.source.pieces(source)
    return [pieces[place] for place in best.tolist()]
