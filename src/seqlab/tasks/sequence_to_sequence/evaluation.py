"""Evaluation of generated text: scores, counts, and maps of the cross-attention."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batching.pairs import EncodedPairs
from seqlab.data.corpora.corpus import Example
from seqlab.decode.search import search
from seqlab.decode.settings import GREEDY, DecodeConfig
from seqlab.metrics.bleu import BleuConfig
from seqlab.metrics.exact_match import ExactMatch
from seqlab.metrics.intervals import Interval, wilson
from seqlab.metrics.metric import Metric, Outputs, bits_per_character, perplexity, quick_scores, scores
from seqlab.metrics.paraphrase import distinct
from seqlab.metrics.warnings import warnings
from seqlab.tasks.task import Prediction
from seqlab.text.tokenizer import Reversed
from seqlab.text.vocabularies import Vocabularies

NUM_UNKNOWN = 10
"""Out-of-vocabulary tokens and a note names."""


@dataclass(frozen=True)
class TokenCounts:
    """Sums over the real target tokens of a set of examples, under teacher forcing."""

    characters: int
    tokens: int = 0
    right: int = 0
    """tokens that are the most probable ones"""
    nats: float = 0.0
    """cross-entropy"""
    smoothed_nats: float = 0.0
    """cross-entropy with the label smoothing of the training"""


@dataclass(frozen=True)
class OutputEvaluation:
    """A set of examples, and what the model makes of them."""

    metrics: Sequence[Metric]
    """what the outputs are judged by, the most important first"""
    counts: TokenCounts
    correct: list[bool]
    """whether the whole output is right"""
    predictions: list[Prediction]
    examples: Sequence[Example]
    words: BleuConfig
    """how words are found"""
    unknown: dict[str, Counter[str]] = field(default_factory=dict)
    """by side, how often the examples have out-of-vocabulary tokens"""
    outputs: Sequence[Sequence[str]] = ()
    """all texts for each source, where more than one is searched for"""

    @property
    def loss(self) -> float:
        """Mean over the real target tokens, without label smoothing, in nats."""
        return self.counts.nats / self.counts.tokens

    @property
    def quick_scores(self) -> dict[str, float]:
        """The scores of a curve, quickly made."""
        return {"loss": self.loss, **self._exact, **quick_scores(self._compared, self._judged), **self._token_scores}

    @property
    def scores(self) -> dict[str, Interval]:
        """Every score, with its 95 % interval where there is one; the most important first."""
        return self._intervals

    @cached_property
    def _intervals(self) -> dict[str, Interval]:  # the bootstrap takes seconds
        found = scores(self._compared, self._judged)
        for name in self._exact:
            found[name] = wilson(sum(self.correct), len(self.correct))
        plain = {
            **({"distinct": distinct(self.outputs)} if self.outputs else {}),
            **self._token_scores,
            "loss": self.loss,
        }
        if self._compared:
            plain["smoothed_loss"] = self.counts.smoothed_nats / self.counts.tokens
            plain["perplexity"] = perplexity(self.counts.nats, self.counts.tokens)
        ordered = {metric.measure.name: found[metric.measure.name] for metric in self.metrics}
        return {**ordered, **{name: Interval(value) for name, value in plain.items()}}

    @property
    def _exact(self) -> dict[str, float]:
        """Exact match, which the corpus decides: a shown working does not count, and an unfinished output is wrong."""
        right = sum(self.correct) / len(self.correct)
        return {metric.measure.name: right for metric in self.metrics if isinstance(metric, ExactMatch)}

    @property
    def _compared(self) -> list[Metric]:
        """The metrics that look at how near a text is to its reference."""
        return [metric for metric in self.metrics if not isinstance(metric, ExactMatch)]

    @cached_property
    def _judged(self) -> Outputs:
        return Outputs(self._texts, self._references, self._sources)

    @property
    def capped(self) -> int:
        """Number of predictions that were cut at the maximum length."""
        return sum(prediction.capped for prediction in self.predictions)

    def to_json(self) -> dict[str, Any]:
        """The part of results.json that a set of examples decides."""
        result: dict[str, Any] = {
            "examples": len(self.examples),
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "capped": self.capped,
            "unknown": {side: dict(counts) for side, counts in self.unknown.items()},
            "outputs_with_unk": self._with_unk,
        }
        if self._compared:
            copies = Outputs(self._sources, self._references, self._sources)
            count = f"nrefs:{len(self._references)}|"  # as sacreBLEU has it, whose signature is made without texts
            signatures = {
                metric.measure.name: (metric.signature() or "").replace("nrefs:1|", count) for metric in self._compared
            }
            copied = [metric for metric in self._compared if metric.measure.unit != "share"]
            result |= {
                "metrics": {metric.measure.name: metric.measure._asdict() for metric in self.metrics},
                "signatures": {name: text for name, text in signatures.items() if text},
                "baselines": {"copy of the source": quick_scores(copied, copies)},
                "warnings": warnings(self._texts, self._targets, self.capped, self._sources, words=self.words),
            }
        return result

    def records(self) -> Iterator[dict[str, Any]]:
        """One line of JSON an example: source, target, what was predicted, whether it is right, its log-probability."""
        for example, prediction, correct in zip(self.examples, self.predictions, self.correct, strict=True):
            yield {
                **example._asdict(),
                "predicted": prediction.text,
                "correct": correct,
                "score": prediction.score,
            }

    def notes(self) -> list[str]:
        """Out-of-vocabulary tokens, and outputs that were cut."""
        found = [
            f"the {side} side contains out-of-vocabulary tokens: "
            + ", ".join(f'"{piece}" ({number} times)' for piece, number in listed)
            for side, counts in self.unknown.items()
            if (listed := counts.most_common(NUM_UNKNOWN))
        ]
        if self._with_unk:
            found.append(f"{self._with_unk:,} of {len(self.predictions):,} outputs have <unk>")
        if self._compared and self.words.tokenize not in (None, "13a"):
            found.append(f"BLEU and ROUGE-L split words with sacreBLEU's tokenizer {self.words.tokenize}")
        cut = f"{self.capped} predictions were cut at decode.max_length or decode.max_ratio"
        return [*found, cut] if self.capped else found

    @property
    def _texts(self) -> list[str]:
        return [prediction.text for prediction in self.predictions]

    @property
    def _with_unk(self) -> int:
        """Number of predictions with an out-of-vocabulary token that was not replaced."""
        return sum(prediction.unknown > 0 for prediction in self.predictions)

    @property
    def _targets(self) -> list[str]:
        return [example.target for example in self.examples]

    @property
    def _references(self) -> list[list[str]]:
        """(R, N): all sets of references; an example with fewer has its target again."""
        rows = [example.references for example in self.examples]
        return [[row[place] if place < len(row) else row[0] for row in rows] for place in range(max(map(len, rows)))]

    @property
    def _sources(self) -> list[str]:
        return [example.source for example in self.examples]

    @property
    def _token_scores(self) -> dict[str, float]:
        if not self._compared:
            return {}
        return {
            "token_accuracy": self.counts.right / self.counts.tokens,
            "bits_per_character": bits_per_character(self.counts.nats, self.counts.characters),
        }


def joined_evaluation(parts: Sequence[OutputEvaluation]) -> OutputEvaluation:
    """That of all examples, one part after the other."""
    unknown: dict[str, Counter[str]] = {}
    for part in parts:
        for side, counts in part.unknown.items():
            unknown.setdefault(side, Counter()).update(counts)
    return replace(
        parts[0],
        counts=TokenCounts(*(sum(sums) for sums in zip(*(astuple(part.counts) for part in parts), strict=True))),
        correct=[correct for part in parts for correct in part.correct],
        predictions=[prediction for part in parts for prediction in part.predictions],
        examples=[example for part in parts for example in part.examples],
        unknown=unknown,
        outputs=[texts for part in parts for texts in part.outputs],
    )


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
    """A task that generates text from text."""

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
    """Cross-attention while the model writes its own outputs for a few examples; none of a model that cannot show it.

    Args:
        task: encodes, and searches for outputs.
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
