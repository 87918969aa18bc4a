"""Evaluation of a classifier: one pass over the examples, and the scores that follow from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from seqlab.metrics import classification
from seqlab.metrics.intervals import Interval


@dataclass(frozen=True)
class ClassEvaluation:
    """The classes of a set of examples, and what the model takes them for."""

    classes: Sequence[str]
    """the name of every class, by its number"""
    labels: np.ndarray
    """(N,), true classes"""
    log_probabilities: np.ndarray
    """(N, K), of every class, in nats"""
    measured: Sequence[str]
    """the scores of a curve: the loss, the one that counts most, and others"""
    extra: dict[str, Any] = field(default_factory=dict)
    """what else belongs into results.json"""

    @property
    def loss(self) -> float:
        """Mean cross-entropy without label smoothing, in nats."""
        return -float(self.log_probabilities[np.arange(len(self.labels)), self.labels].mean())

    @cached_property
    def predicted(self) -> np.ndarray:
        """(N,), the most probable classes."""
        return self.log_probabilities.argmax(1)

    @property
    def probabilities(self) -> np.ndarray:
        """(N,), of the predicted classes."""
        return np.exp(self.log_probabilities.max(1))

    @cached_property
    def confusion(self) -> np.ndarray:
        """(K, K), rows true, columns predicted."""
        return classification.confusion_matrix(self.labels, self.predicted, len(self.classes))

    @property
    def quick_scores(self) -> dict[str, float]:
        """The scores of a curve."""
        found = {"loss": self.loss, **classification.quick_scores(self.confusion)}
        return {name: found[name] for name in self.measured}

    @property
    def scores(self) -> dict[str, Interval]:
        """Every score, with its 95 % interval where there is one; the most important first."""
        found = classification.classification_scores(self.confusion)
        first = self.measured[1]
        return {first: found.pop(first), **found, "loss": Interval(self.loss)}

    def to_json(self) -> dict[str, Any]:
        """The part of results.json that a set of examples decides."""
        majority = np.bincount(self.labels, minlength=len(self.classes)).max() / len(self.labels)
        return {
            "examples": len(self.labels),
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "baselines": {"always the most frequent class": {"accuracy": float(majority)}},
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            **self.extra,
        }

    def records(self) -> Iterator[dict[str, Any]]:
        """One line of JSON an example: its row, its class, the predicted one with its probability."""
        columns = self.labels.tolist(), self.predicted.tolist(), self.probabilities.tolist()
        for row, (label, predicted, probability) in enumerate(zip(*columns, strict=True)):
            yield {
                "row": row,
                "label": self.classes[label],
                "predicted": self.classes[predicted],
                "correct": label == predicted,
                "probability": round(probability, 6),
            }

    def notes(self) -> list[str]:
        """Classes that are never predicted."""
        missed = [self.classes[number] for number in np.flatnonzero(self.confusion.sum(0) == 0).tolist()]
        return [f"never predicted: {', '.join(missed)}"] if missed else []
