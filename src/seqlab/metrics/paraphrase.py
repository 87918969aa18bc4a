"""Metrics of paraphrases: near to the reference, but not a copy of the input.

A copy of the input scores high against the reference, as a paraphrase shares most of its words. iBLEU takes off what an
output has in common with its input: alpha * BLEU(output, reference) - (1 - alpha) * BLEU(output, input).

Source: Sun and Zhou (2012), "Joint learning of a dual SMT system for paraphrase generation"; alpha is 0.8, as in
Hosking and Lapata (2021), "Factorising meaning and form for intent-preserving paraphrasing".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from seqlab.metrics import bleu
from seqlab.metrics.bleu import BleuConfig
from seqlab.metrics.metric import Measure, Outputs

ALPHA = 0.8
"""Weight of BLEU against the reference in iBLEU."""


@dataclass(frozen=True)
class IBleu:
    """BLEU against the references less BLEU against the inputs, in points; below 0 where copies dominate."""

    settings: BleuConfig = field(default_factory=BleuConfig)

    @property
    def measure(self) -> Measure:
        """Points."""
        return Measure("ibleu", "iBLEU", "points")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 20): those of BLEU against the references, then against the inputs."""
        return np.hstack([bleu.statistics(self.settings, outputs), _own(self.settings, outputs)])

    def score(self, sums: np.ndarray, n: int) -> float:
        """iBLEU of the sums."""
        near, own = (bleu.from_sums(part) for part in (sums[: bleu.SUMS], sums[bleu.SUMS :]))
        return ALPHA * near - (1 - ALPHA) * own

    def signature(self) -> None:
        """That of BLEU."""


@dataclass(frozen=True)
class SelfBleu:
    """BLEU against the inputs, 0 to 100: high for copies."""

    settings: BleuConfig = field(default_factory=BleuConfig)

    @property
    def measure(self) -> Measure:
        """Points, of which fewer are better."""
        return Measure("self_bleu", "self-BLEU", "points", "lower")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 10)."""
        return _own(self.settings, outputs)

    def score(self, sums: np.ndarray, n: int) -> float:
        """BLEU of the sums."""
        return bleu.from_sums(sums)

    def signature(self) -> None:
        """That of BLEU."""


@dataclass(frozen=True)
class Copied:
    """The share of outputs that are their input."""

    @property
    def measure(self) -> Measure:
        """A share of examples, of which fewer are better."""
        return Measure("copied", "Copied", "share", "lower")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 1): whether the output is its input."""
        rows = zip(outputs.predictions, outputs.sources, strict=True)
        return np.array([[prediction == source] for prediction, source in rows], dtype=np.bool_)

    def score(self, sums: np.ndarray, n: int) -> float:
        """The share."""
        return float(sums[0]) / n

    def signature(self) -> None:
        """Nothing varies."""


def _own(settings: BleuConfig, outputs: Outputs) -> np.ndarray:
    return bleu.statistics(settings, Outputs(outputs.predictions, [outputs.sources]))


def distinct(outputs: Sequence[Sequence[str]]) -> float:
    """The mean share, 0 to 1, of different texts among the outputs for one input; 1: no two of them are the same."""
    return sum(len(set(texts)) / len(texts) for texts in outputs) / len(outputs)
