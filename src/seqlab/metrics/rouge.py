"""ROUGE-L: the longest common subsequence of words."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from unicodedata import category

import numpy as np

from seqlab.metrics.bleu import BleuConfig, sacrebleu_of
from seqlab.metrics.metric import Measure, Outputs


@dataclass(frozen=True)
class RougeL:
    """The mean F1 over sentences, 0 to 1; of several references the nearest one counts."""

    settings: BleuConfig = field(default_factory=BleuConfig)

    @property
    def measure(self) -> Measure:
        """A fraction."""
        return Measure("rouge_l", "ROUGE-L", "fraction")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 1): F1 of every sentence, whose words the tokenizer of BLEU finds."""
        tokenize = sacrebleu_of(self.settings).tokenizer
        rows = zip(outputs.predictions, zip(*outputs.references, strict=True), strict=True)
        return np.array(
            [
                [max(rouge_l(tokenize(prediction), tokenize(reference)) for reference in references)]
                for prediction, references in rows
            ]
        )

    def score(self, sums: np.ndarray, n: int) -> float:
        """The mean."""
        return float(sums[0]) / n

    def signature(self) -> None:
        """That of BLEU says how words are found."""


def rouge_l(prediction: str, reference: str) -> float:
    """F1 of the longest common subsequence of words, from 0 to 1; 0 where a side has no words.

    Equal to `rouge-score` without stemming on English. That package knows the letters a to z only; here a word is
    made of the letters, digits and marks of any script.

    Source: Lin (2004), "ROUGE: a package for automatic evaluation of summaries".
    """
    ours, theirs = words(prediction), words(reference)
    return 2 * common_length(ours, theirs) / (len(ours) + len(theirs)) if ours and theirs else 0.0


def words(text: str) -> list[str]:
    """Runs of letters, digits and combining marks, in lower case."""
    return "".join(sign if category(sign)[0] in "LNM" else " " for sign in text.lower()).split()


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence: one big integer holds a row of the table, a zero bit is a step up.

    Source: Hyyrö (2004), "Bit-parallel LCS-length computation revisited".
    """
    places: dict[str, int] = defaultdict(int)
    for index, word in enumerate(first):
        places[word] |= 1 << index
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        matches = row & places[word]
        row = (row + matches | row - matches) & full
    return len(first) - row.bit_count()
