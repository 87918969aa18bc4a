"""BLEU as sacreBLEU computes it, with its n-gram order as a choice, and what follows from its lengths.

The only file that uses private names of sacreBLEU's BLEU, whose public functions take texts and not sums; 1,000
resamples of a corpus would each count its n-grams anew. pyproject.toml has an upper bound for that reason.

Source: Papineni et al. (2002), "BLEU: a method for automatic evaluation of machine translation"; Post (2018), "A call
for clarity in reporting BLEU scores".
"""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from seqlab.config.settings import Config
from seqlab.errors import UserError, nearest
from seqlab.metrics.metric import Measure, Outputs

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

TOKENIZERS = {
    **dict.fromkeys(("zh", "zho", "chi", "chinese", "cmn"), ("zh",)),
    **dict.fromkeys(("ja", "jpn", "japanese"), ("ja-mecab", "char")),
    **dict.fromkeys(("ko", "kor", "korean"), ("ko-mecab", "char")),
    **dict.fromkeys(("th", "tha", "thai", "lo", "lao", "km", "khmer", "my", "burmese"), ("char",)),
}
"""Languages that part words by no spaces, and sacreBLEU's tokenizers for them; the first that is installed counts."""

SUMS = 10
"""Columns: two lengths, then matches and totals of 1-grams to 4-grams."""


class BleuConfig(Config):
    """How words are found and compared, in BLEU and in what is derived from it."""

    tokenize: str | None = None
    """sacreBLEU's tokenizer: 13a, zh, ja-mecab, ko-mecab, char, ...; when absent, it follows the target language"""
    lowercase: bool = False
    """compare without case"""


@dataclass(frozen=True)
class Bleu:
    """Corpus BLEU of n-grams up to `order`: 0 to 100 for order 4, as everybody reports it, 0 to 1 for lower ones."""

    settings: BleuConfig = field(default_factory=BleuConfig)
    order: int = 4

    @property
    def measure(self) -> Measure:
        """BLEU, BLEU-1 or BLEU-2."""
        if self.order == 4:
            return Measure("bleu", "BLEU", "points")
        return Measure(f"bleu{self.order}", f"BLEU-{self.order}", "fraction")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 10): lengths, matches and totals of every example."""
        return statistics(self.settings, outputs)

    def score(self, sums: np.ndarray, n: int) -> float:
        """BLEU of the sums."""
        value = from_sums(sums, self.order)
        return value if self.order == 4 else value / 100

    def signature(self) -> str | None:
        """sacreBLEU's, for order 4."""
        return signature(self.settings) if self.order == 4 else None


@dataclass(frozen=True)
class LengthRatio:
    """Words of the predictions by words of the references."""

    settings: BleuConfig = field(default_factory=BleuConfig)

    @property
    def measure(self) -> Measure:
        """A ratio; 1 is as long as the references."""
        return Measure("length_ratio", "Length ratio", "fraction")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 2): words of every prediction and of its reference."""
        return statistics(self.settings, outputs)[:, :2]

    def score(self, sums: np.ndarray, n: int) -> float:
        """As sacreBLEU prints it: 0 where the references are empty."""
        return float(sums[0] / sums[1]) if sums[1] else 0.0

    def signature(self) -> None:
        """That of BLEU says how words are found."""


def statistics(settings: BleuConfig, outputs: Outputs) -> np.ndarray:
    """(N, 10), a row for each prediction and its references; sums of rows are those of a corpus."""
    extract = sacrebleu_of(settings)._extract_corpus_statistics
    return np.concatenate(
        [np.array(extract(part.predictions, part.references), dtype=np.int32) for part in outputs.parts()]
    )


def from_sums(sums: np.ndarray, order: int = 4) -> float:
    """Corpus BLEU, 0 to 100, of n-grams up to `order` from the sums of the columns."""
    from sacrebleu.metrics.bleu import BLEU

    ours, theirs, *counts = sums.astype(int).tolist()
    matches, totals = counts[:order], counts[4 : 4 + order]
    return BLEU.compute_bleu(matches, totals, ours, theirs, smooth_method="exp", max_ngram_order=order).score


def signature(settings: BleuConfig) -> str:
    """What sacreBLEU prints beside BLEU: settings and version."""
    bleu = sacrebleu_of(settings)
    bleu.corpus_score(["."], [["."]])  # the number of references is known only after a score
    return bleu.get_signature().format()


def for_language(settings: BleuConfig, language: str) -> BleuConfig:
    """The settings with a tokenizer that finds words in texts of the language, unless one is set.

    Args:
        settings: those of the recipe.
        language: a code or an English name: zh, zh-CN, Chinese.
    """
    names = TOKENIZERS.get(re.split(r"[-_ ]", language.strip().lower())[0])
    if settings.tokenize is not None or names is None:
        return settings
    for name in names:
        found = settings.model_copy(update={"tokenize": name})
        try:
            sacrebleu_of(found)
        except UserError:  # mecab is not installed
            continue
        return found
    return settings


def sacrebleu_of(settings: BleuConfig) -> "BLEU":
    """sacreBLEU's BLEU; `force` silences its warning about tokenised text, for which there is one of ours.

    Raises UserError if the tokenizer is unknown or not installed.
    """
    from sacrebleu.metrics.bleu import BLEU

    name = settings.tokenize or "13a"
    if name not in BLEU.TOKENIZERS:
        known = ", ".join(sorted(BLEU.TOKENIZERS))
        raise UserError(f'sacreBLEU has no tokenizer "{name}"{nearest(name, BLEU.TOKENIZERS)} (it has {known})')
    try:
        return BLEU(tokenize=name, lowercase=settings.lowercase, force=True)
    except (ImportError, RuntimeError) as error:  # its message says what to install
        raise UserError(f'sacreBLEU tokenizer "{name}": {" ".join(str(error).split())}') from None
