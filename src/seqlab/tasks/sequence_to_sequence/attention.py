"""Which source tokens does a model look at while it writes? Maps of the cross-attention for a few examples."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batching.pairs import EncodedPairs
from seqlab.data.corpora.corpus import Example
from seqlab.decode.search import search
from seqlab.decode.settings import GREEDY, DecodeConfig
from seqlab.text.characters import Reversed
from seqlab.text.vocabularies import Vocabularies

NUM_MAPS = 4

CONSIDERED = 1000
"""Examples among which is chosen."""

LONGEST = 36
"""Tokens of a side: more are not legible on the axis of a figure."""


@runtime_checkable
class Attends(Protocol):
    """A model whose cross-attention can be seen."""

    training: bool

    @property
    def attention_layers(self) -> int:
        """At how many depths the source is attended to; there may be none."""
        ...

    def attention_weights(
        self,
        source: Tensor,
        source_mask: Tensor,
        target: Tensor,
        target_mask: Tensor,
        kind: Literal["encoder", "decoder", "cross"],
        depth: int,
    ) -> Tensor:
        """Weights (B, H, T, S) at `depth`; row t is for the choice of the token that follows target token t."""
        ...


class Searches(Protocol):
    """A task that searches for an answer to text."""

    decode: DecodeConfig
    vocabularies: Vocabularies

    def encode(self, examples: Sequence[Example]) -> EncodedPairs:
        """Text to ids."""
        ...


@runtime_checkable
class LooksThroughWindows(Protocol):
    """A model that may see no more than a window of the source at a time."""

    config: Any
    """has `window_radius`, the places on either side of a centre"""

    def window_centres(self, source: Tensor, source_mask: Tensor, target: Tensor) -> Tensor | None:
        """The centres (B, T), counted from 1; None where all of the source is seen."""
        ...


@torch.inference_mode()
def attention_maps(
    task: Searches, model: Any, examples: Sequence[Example], autocast: Callable[[], Any]
) -> list[dict[str, Any]]:
    """Cross-attention while the model writes its own answers to a few examples; none of a model that cannot show it.

    Args:
        task: encodes, and knows how to search for an answer.
        model: meets the decoder contract, and is in evaluation mode.
        examples: of which a few of medium length are chosen, always the same.
        autocast: makes the context of the wanted precision.

    Returns:
        For each example its source as `text`; `source` (S) and `predicted` (T), the tokens as a person reads them, the
        latter cut at 36, with `<eos>` where the model ended; `layers`, their number; `heads` (H, T, S), the weights of
        the last layer while each predicted token was chosen; `all_layers` (T, S), the mean over heads and layers.
        Weights have three decimals. With local attention, `centres` (T) are the places around which each row looked,
        counted from 1 as a person reads the source, and `window_radius` those on either side that could be seen.
    """
    if not isinstance(model, Attends) or model.attention_layers == 0:
        return []
    encoded = task.encode(examples[:CONSIDERED])
    return [
        {"text": examples[row].source, **_map(task, model, encoded, row, autocast)} for row in _chosen(encoded.shapes)
    ]


def _chosen(shapes: np.ndarray) -> list[int]:
    """Rows at even steps through the legible examples, from short to long."""
    legible = np.flatnonzero((shapes <= LONGEST).all(axis=1) & (shapes > 0).all(axis=1))
    in_order = legible[np.argsort(shapes[legible, 0], kind="stable")]
    places = {(number + 1) * len(in_order) // (NUM_MAPS + 1) for number in range(NUM_MAPS)}
    return [int(in_order[place]) for place in sorted(places) if place < len(in_order)]


def _map(task: Searches, model: Any, encoded: EncodedPairs, row: int, autocast: Callable[[], Any]) -> dict[str, Any]:
    device = next(model.parameters()).device
    batch = encoded.batch(np.array([row]), *encoded.shapes[row]).to(device)
    decode = task.decode if task.decode.method != "sample" else task.decode.model_copy(update=GREEDY)
    ids = task.vocabularies.special
    with autocast():
        best = search(model, batch.source, batch.source_mask, decode, bos_id=ids.bos, eos_id=ids.eos)[0][0]
        written = ([*best.ids, ids.eos] if best.finished else best.ids)[:LONGEST]
        target = torch.tensor([[ids.bos, *written[:-1]]], device=device)
        everything = torch.ones_like(target, dtype=torch.bool)
        layers = [
            model.attention_weights(batch.source, batch.source_mask, target, everything, kind="cross", depth=depth)
            for depth in range(model.attention_layers)
        ]
        centres = _centres(model, batch.source, batch.source_mask, target)
    weights = torch.cat(layers).cpu()  # (layers, H, T, S)
    source = task.vocabularies.source.tokens(batch.source[0].tolist())
    if isinstance(task.vocabularies.source, Reversed):  # people read from the front
        source, weights = source[::-1], weights.flip(-1)
        centres = None if centres is None else len(source) + 1 - centres
    window = {} if centres is None else {"centres": _rounded(centres), "window_radius": model.config.window_radius}
    return {
        "source": source,
        "predicted": task.vocabularies.target.tokens(written),
        "layers": len(layers),
        "heads": _rounded(weights[-1]),
        "all_layers": _rounded(weights.float().mean(dim=(0, 1))),
        **window,
    }


def _centres(model: Any, source: Tensor, source_mask: Tensor, target: Tensor) -> Tensor | None:
    """Those (T) of one row, if there are any."""
    found = model.window_centres(source, source_mask, target) if isinstance(model, LooksThroughWindows) else None
    return None if found is None else found[0].float().cpu()


def _rounded(weights: Tensor) -> list[Any]:
    return weights.double().round(decimals=3).tolist()
