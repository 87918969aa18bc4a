"""Evaluation of denoising: one pass under teacher forcing, and the scores that follow from it.

Shapes: `N` rows, `W` tokens to be written of all rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from seqlab.data.batching.pairs import EncodedPairs
from seqlab.metrics.intervals import Interval, wilson
from seqlab.metrics.metric import perplexity

MEASURED = ("loss", "hidden_accuracy", "token_accuracy")
"""The scores of a curve."""

Spell = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class DamagedRows:
    """Damaged rows as ids, and what is to be written for them."""

    pairs: EncodedPairs
    hidden: np.ndarray
    """(W,), whether the damaged row lacks this token; False for sentinels and for the end mark"""

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True)
class DenoisingEvaluation:
    """Damaged rows, and what the model makes of them; of its logits nothing is kept."""

    rows: DamagedRows
    predicted: np.ndarray
    """(W,), the most probable token at each place, given the right ones before it"""
    nats: np.ndarray
    """(W,), cross-entropy"""
    spell: Spell
    """ids to text, masks and sentinels included"""

    @property
    def loss(self) -> float:
        """Mean over the tokens to be written, in nats."""
        return float(self.nats.sum()) / len(self.nats)

    @property
    def scores(self) -> Mapping[str, Interval]:
        """Every score, with its 95 % interval where there is one; the most important first."""
        right, hidden = self._right, self.rows.hidden
        return {
            "hidden_accuracy": wilson(int(right[hidden].sum()), int(hidden.sum())),
            "token_accuracy": wilson(int(right.sum()), len(right)),
            "hidden_loss": Interval(float(self.nats[hidden].mean())),
            "loss": Interval(self.loss),
            "perplexity": Interval(perplexity(float(self.nats.sum()), len(self.nats))),
        }

    @property
    def quick_scores(self) -> Mapping[str, float]:
        """The scores of a curve."""
        scores = self.scores
        return {name: scores[name].value for name in MEASURED}

    def to_json(self) -> dict[str, Any]:
        """The part of results.json that a set of documents decides."""
        shares = np.bincount(self._labels[self.rows.hidden]) / self.rows.hidden.sum()
        return {
            "examples": len(self.rows),
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "baselines": {f'always "{self.spell([int(shares.argmax())])}"': {"hidden_accuracy": float(shares.max())}},
            "hidden_tokens": int(self.rows.hidden.sum()),
            "target_tokens": len(self.nats),
        }

    def records(self) -> Iterator[dict[str, Any]]:
        """One line of JSON a row: the damaged row, what is to be written, and what is most probable at each place."""
        sources = self.rows.pairs.sources
        for row, (start, end) in enumerate(pairwise(self.rows.pairs.targets.offsets.tolist())):
            hidden = self.rows.hidden[start:end]
            yield {
                "row": row,
                "source": self.spell(sources.ids[sources.offsets[row] : sources.offsets[row + 1]].tolist()),
                "target": self.spell(self._labels[start:end].tolist()),
                "predicted": self.spell(self.predicted[start:end].tolist()),
                "correct": bool(self._right[start:end].all()),
                "hidden_accuracy": round(float(self._right[start:end][hidden].mean()), 6),
                "score": -float(self.nats[start:end].sum()),
            }

    def notes(self) -> list[str]:
        """Nothing to say."""
        return []

    @property
    def _labels(self) -> np.ndarray:
        return self.rows.pairs.targets.ids

    @property
    def _right(self) -> np.ndarray:
        return self.predicted == self._labels
