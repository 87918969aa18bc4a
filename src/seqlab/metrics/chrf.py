"""chrF as sacreBLEU computes it: F-score of character n-grams; with a word order of 2 it is chrF++.

The only file that uses private names of sacreBLEU's chrF (see bleu.py).

Source: Popović (2015), "chrF: character n-gram F-score for automatic MT evaluation".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from seqlab.config.settings import Config
from seqlab.metrics.metric import Measure, Outputs

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF


class ChrfConfig(Config):
    """Which n-grams are compared."""

    word_order: int = Field(default=0, ge=0, le=4)
    """longest word n-grams beside the character n-grams: 0 is chrF, 2 is chrF++"""
    lowercase: bool = False
    """compare without case"""


@dataclass(frozen=True)
class Chrf:
    """Corpus chrF, 0 to 100."""

    settings: ChrfConfig = field(default_factory=ChrfConfig)

    @property
    def measure(self) -> Measure:
        """chrF, or chrF++."""
        return Measure("chrf", "chrF++" if self.settings.word_order == 2 else "chrF", "points")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 18 or more): n-grams of both sides and their matches."""
        extract = self._sacrebleu()._extract_corpus_statistics
        return np.concatenate(
            [np.array(extract(part.predictions, part.references), dtype=np.int32) for part in outputs.parts()]
        )

    def score(self, sums: np.ndarray, n: int) -> float:
        """chrF of the sums."""
        return self._sacrebleu()._compute_score_from_stats(sums.tolist()).score

    def signature(self) -> str | None:
        """What sacreBLEU prints beside chrF: settings and version."""
        chrf = self._sacrebleu()
        chrf.corpus_score(["."], [["."]])  # the number of references is known only after a score
        return chrf.get_signature().format()

    def _sacrebleu(self) -> "CHRF":
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(word_order=self.settings.word_order, lowercase=self.settings.lowercase)


def sentence_scores(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """chrF of every sentence, 0 to 100; unlike BLEU it tells short sentences apart. Finds best and worst samples."""
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF()
    pairs = zip(predictions, references, strict=True)
    return [chrf.sentence_score(prediction, [reference]).score for prediction, reference in pairs]
