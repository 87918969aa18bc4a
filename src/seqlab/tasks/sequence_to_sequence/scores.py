"""How good is what a model wrote? Counts of one pass over the examples, and the scores that follow from them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from seqlab.data.corpora.corpus import Example
from seqlab.metrics import paraphrase, translation
from seqlab.metrics.intervals import Interval, wilson
from seqlab.metrics.translation import bits_per_character, perplexity
from seqlab.tasks.task import Prediction

Metrics = Literal["exact", "translation", "paraphrase"]

SCORES: dict[Metrics, tuple[str, ...]] = {
    "exact": ("loss", "accuracy"),
    "translation": ("loss", "bleu", "chrf", "exact_match", "token_accuracy", "bits_per_character"),
    "paraphrase": (
        *("loss", "ibleu", "self_bleu", "bleu", "chrf", "exact_match", "token_accuracy", "bits_per_character"),
    ),
}
"""What is measured during training, by the names that `--until` and the curves use."""

NUM_UNKNOWN = 10
"""Pieces that the vocabulary lacks and a note names."""

MAIN_SCORE: dict[Metrics, str] = {"exact": "accuracy", "translation": "bleu", "paraphrase": "ibleu"}
"""The score that chooses the best checkpoint; more is better."""


@dataclass(frozen=True)
class Counts:
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
class Evaluation:
    """A set of examples, and what the model makes of them."""

    metrics: Metrics
    counts: Counts
    correct: list[bool]
    """whether the whole answer is right"""
    predictions: list[Prediction]
    examples: Sequence[Example]
    tokenize: str
    """how sacreBLEU finds words"""
    unknown: dict[str, Counter[str]] = field(default_factory=dict)
    """by side, how often the examples have pieces that the vocabulary lacks"""
    outputs: Sequence[Sequence[str]] = ()
    """all texts for each source, where paraphrases have more than one"""

    @property
    def loss(self) -> float:
        """Mean over the real target tokens, without label smoothing, in nats."""
        return self.counts.nats / self.counts.tokens

    @property
    def quick_scores(self) -> dict[str, float]:
        """The scores of a curve, quickly made."""
        right = sum(self.correct) / len(self.correct)
        if self.metrics == "exact":
            return {"loss": self.loss, "accuracy": right}
        if self.metrics == "translation":
            overlap = translation.quick_scores(self._texts, self._targets, tokenize=self.tokenize)
        else:
            overlap = paraphrase.quick_paraphrase_scores(
                self._texts, self._targets, self._sources, tokenize=self.tokenize
            )
        return {"loss": self.loss, **overlap, "exact_match": right, **self._token_scores}

    @property
    def scores(self) -> dict[str, Interval]:
        """Every score, with its 95 % interval where there is one; the most important first."""
        return self._intervals

    @cached_property
    def _intervals(self) -> dict[str, Interval]:  # the bootstrap takes seconds
        if self.metrics == "exact":
            intervals = {"accuracy": wilson(sum(self.correct), len(self.correct))}
            plain = {"loss": self.loss}
        else:
            intervals = self._overlap
            plain = {
                **({"distinct": paraphrase.distinct(self.outputs)} if self.outputs else {}),
                **self._token_scores,
                "loss": self.loss,
                "smoothed_loss": self.counts.smoothed_nats / self.counts.tokens,
                "perplexity": perplexity(self.counts.nats, self.counts.tokens),
            }
        return {**intervals, **{name: Interval(value) for name, value in plain.items()}}

    @property
    def _overlap(self) -> dict[str, Interval]:
        """What words the outputs share with the targets, and where that matters with the sources."""
        if self.metrics == "translation":
            return translation.translation_scores(self._texts, self._targets, tokenize=self.tokenize)
        return paraphrase.paraphrase_scores(self._texts, self._targets, self._sources, tokenize=self.tokenize)

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
        }
        if self.metrics != "exact":
            sources, targets, words = self._sources, self._targets, self.tokenize
            copying = translation.copy_baseline if self.metrics == "translation" else paraphrase.copying
            result |= {
                "signatures": {"bleu": translation.bleu_signature(words), "chrf": translation.chrf_signature()},
                "baselines": {"copy of the source": copying(sources, targets, tokenize=words)},
                "warnings": translation.warnings(self._texts, targets, self.capped, sources, tokenize=words),
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
        """Pieces that the vocabulary lacks, and answers that were cut."""
        found = [
            f"the {side} side has pieces that the model does not know: "
            + ", ".join(f'"{piece}" ({number} times)' for piece, number in listed)
            for side, counts in self.unknown.items()
            if (listed := counts.most_common(NUM_UNKNOWN))
        ]
        cut = f"{self.capped} predictions were cut at decode.max_length or decode.max_ratio"
        return [*found, cut] if self.capped else found

    @property
    def _texts(self) -> list[str]:
        return [prediction.text for prediction in self.predictions]

    @property
    def _targets(self) -> list[str]:
        return [example.target for example in self.examples]

    @property
    def _sources(self) -> list[str]:
        return [example.source for example in self.examples]

    @property
    def _token_scores(self) -> dict[str, float]:
        return {
            "token_accuracy": self.counts.right / self.counts.tokens,
            "bits_per_character": bits_per_character(self.counts.nats, self.counts.characters),
        }
