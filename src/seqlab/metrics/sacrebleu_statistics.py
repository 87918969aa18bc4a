"""What sacreBLEU adds up over sentences, and the corpus scores that follow from sums of it.

The only file that uses private names of sacreBLEU, whose public functions take texts and not sums; 1,000 resamples of
a corpus would each count its n-grams anew. pyproject.toml has an upper bound for that reason. N: sentences.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

BLEU_SUMS = 10
"""Columns of BLEU: two lengths, then matches and totals of 1-grams to 4-grams."""


def sentence_statistics(metric: "BLEU | CHRF", predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """A row for each prediction and its reference, (N, columns of the metric); sums of rows are those of a corpus."""
    return np.array(metric._extract_corpus_statistics(predictions, [references]))


def bleu_from_sums(sums: np.ndarray, order: int) -> float:
    """Corpus BLEU, 0 to 100, of n-grams up to `order` from the sums of BLEU's columns."""
    from sacrebleu.metrics.bleu import BLEU

    ours, theirs, *counts = sums.astype(int).tolist()
    matches, totals = counts[:order], counts[4 : 4 + order]
    return BLEU.compute_bleu(matches, totals, ours, theirs, smooth_method="exp", max_ngram_order=order).score


def chrf_from_sums(sums: np.ndarray) -> float:
    """Corpus chrF, 0 to 100, from the sums of chrF's columns."""
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()._compute_score_from_stats(sums.tolist()).score
