"""Evaluation of masked language modelling and next-sentence prediction in one pass.

Shapes: `N` rows, `M` hidden tokens of all rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqlab.data.batching.masked_rows import MaskedRows
from seqlab.metrics.intervals import Interval, wilson

MEASURED = ("loss", "masked_accuracy", "nsp_accuracy")
"""The scores of a curve."""

Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class MaskedEvaluation:
    """Rows with hidden tokens, and what the model makes of them; of its logits nothing is kept."""

    rows: MaskedRows
    predicted: np.ndarray
    """(M,), the most probable token at each hidden place, row after row"""
    nats: np.ndarray
    """(N,), cross-entropy of the hidden tokens, added up over each row"""
    nsp_nats: np.ndarray
    """(N,), cross-entropy of whether the second text follows"""
    nsp_predicted: np.ndarray
    """(N,), 1 where the model says that it does not"""
    decode: Decode
    """ids to text"""

    @property
    def masked_loss(self) -> float:
        """Mean cross-entropy of the hidden tokens, in nats."""
        return float(self.nats.sum()) / len(self.predicted)

    @property
    def loss(self) -> float:
        """What training minimises: the same, and that of each row's second text for each of its hidden tokens."""
        return self.masked_loss + float(self.nsp_nats @ self.rows.labels.lengths) / len(self.predicted)

    @property
    def scores(self) -> Mapping[str, Interval]:
        """Every score, with its 95 % interval where there is one; the most important first."""
        return {
            "masked_accuracy": wilson(int((self.predicted == self.rows.labels.ids).sum()), len(self.predicted)),
            "nsp_accuracy": wilson(int((self.nsp_predicted == self.rows.elsewhere).sum()), len(self.rows)),
            "masked_loss": Interval(self.masked_loss),
            "loss": Interval(self.loss),
        }

    @property
    def quick_scores(self) -> Mapping[str, float]:
        """The scores of a curve."""
        scores = self.scores
        return {name: scores[name].value for name in MEASURED}

    def to_json(self) -> dict[str, Any]:
        """The part of results.json that a set of documents decides."""
        shares = np.bincount(self.rows.labels.ids) / len(self.predicted)
        apart = float(self.rows.elsewhere.mean())
        return {
            "examples": len(self.rows),
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "baselines": {
                f'always "{self.decode([int(shares.argmax())])}"': {"masked_accuracy": float(shares.max())},
                "always the more frequent of both": {"nsp_accuracy": max(apart, 1 - apart)},
            },
            "hidden_tokens": len(self.predicted),
        }

    def records(self) -> Iterator[dict[str, Any]]:
        """One line of JSON a row: what the model saw, what was hidden, and what it says was there."""
        for row, (start, end) in enumerate(zip(self.rows.labels.offsets, self.rows.labels.offsets[1:], strict=False)):
            hidden, found = self.rows.labels.ids[start:end], self.predicted[start:end]
            ids = self.rows.ids.ids[self.rows.ids.offsets[row] : self.rows.ids.offsets[row + 1]]
            yield {
                "row": row,
                "source": self.decode(ids[1:-1].tolist()),
                "target": self.decode(hidden.tolist()),
                "predicted": self.decode(found.tolist()),
                "correct": bool((hidden == found).all()),
                "masked_accuracy": round(float((hidden == found).mean()), 6),
                "score": -float(self.nats[row]),
                "follows": not self.rows.elsewhere[row],
                "predicted_follows": not self.nsp_predicted[row],
            }

    def notes(self) -> list[str]:
        """Nothing to say."""
        return []
