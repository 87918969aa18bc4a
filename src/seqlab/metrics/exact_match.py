"""Exact match: the share of outputs that are a reference, letter by letter."""

from dataclasses import dataclass

import numpy as np

from seqlab.metrics.metric import Measure, Outputs


@dataclass(frozen=True)
class ExactMatch:
    """The share of predictions that equal one of their references."""

    name: str = "exact_match"
    """or accuracy, where nothing else counts"""

    @property
    def measure(self) -> Measure:
        """A share of examples."""
        return Measure(self.name, self.name.replace("_", " ").capitalize(), "share")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 1): whether the prediction is right."""
        rows = zip(outputs.predictions, zip(*outputs.references, strict=True), strict=True)
        return np.array([[prediction in references] for prediction, references in rows], dtype=np.bool_)

    def score(self, sums: np.ndarray, n: int) -> float:
        """The share."""
        return float(sums[0]) / n

    def signature(self) -> None:
        """Nothing varies."""
