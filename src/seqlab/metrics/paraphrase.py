"""How good are paraphrases? Near to the reference, but not a copy of the input. Strings in, floats out.

A copy of the input scores high against the reference, as a paraphrase shares most of its words. iBLEU takes off what an
output has in common with its input: alpha * BLEU(output, reference) - (1 - alpha) * BLEU(output, input).

Source: Sun and Zhou (2012), "Joint learning of a dual SMT system for paraphrase generation"; alpha is 0.8, as in
Hosking and Lapata (2021), "Factorising meaning and form for intent-preserving paraphrasing".
"""

from collections.abc import Sequence

import numpy as np

from seqlab.metrics.intervals import Interval, bootstrap, wilson
from seqlab.metrics.sacrebleu_statistics import BLEU_SUMS, bleu_from_sums, sentence_statistics
from seqlab.metrics.translation import quick_scores, sacrebleu_of, translation_scores

ALPHA = 0.8
"""Weight of BLEU against the reference in iBLEU."""


def ibleu(bleu: float, self_bleu: float) -> float:
    """From BLEU against the references and against the inputs, each 0 to 100; below 0 where copies dominate."""
    return ALPHA * bleu - (1 - ALPHA) * self_bleu


def paraphrase_scores(
    predictions: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 1,
    tokenize: str = "13a",
) -> dict[str, Interval]:
    """Every corpus score with its 95 % interval.

    Returns:
        ibleu; self_bleu, 0 to 100: BLEU against the inputs, which is high for copies; copied, 0 to 1: outputs that are
        their input; and all of `translation_scores`.

    Args:
        predictions: what the model wrote, detokenised.
        references: one for each prediction.
        sources: the inputs.
        resamples, seed, tokenize: as in `translation_scores`, which also says what is raised.
    """
    near = translation_scores(predictions, references, resamples=resamples, seed=seed, tokenize=tokenize)
    bleu = sacrebleu_of(tokenize)
    sums = np.hstack([sentence_statistics(bleu, predictions, texts) for texts in (references, sources)])

    def scores(sums: np.ndarray) -> dict[str, float]:
        target, own = (bleu_from_sums(part, 4) for part in (sums[:BLEU_SUMS], sums[BLEU_SUMS:]))
        return {"ibleu": ibleu(target, own), "self_bleu": own}

    found = bootstrap(sums, scores, resamples=resamples, seed=seed)
    copies = sum(ours == source for ours, source in zip(predictions, sources, strict=True))
    return {"ibleu": found["ibleu"], "self_bleu": found["self_bleu"], "copied": wilson(copies, len(sources)), **near}


def quick_paraphrase_scores(
    predictions: Sequence[str], references: Sequence[str], sources: Sequence[str], *, tokenize: str = "13a"
) -> dict[str, float]:
    """ibleu, self_bleu, bleu and chrf for validation during training."""
    near = quick_scores(predictions, references, tokenize=tokenize)
    own = quick_scores(predictions, sources, tokenize=tokenize)["bleu"]
    return {"ibleu": ibleu(near["bleu"], own), "self_bleu": own, **near}


def copying(sources: Sequence[str], references: Sequence[str], *, tokenize: str = "13a") -> dict[str, float]:
    """Every score of handing in the inputs as they are: what a model has to beat."""
    found = paraphrase_scores(sources, references, sources, resamples=2, tokenize=tokenize)
    return {name: score.value for name, score in found.items() if name not in ("copied", "exact_match")}


def distinct(outputs: Sequence[Sequence[str]]) -> float:
    """The mean share, 0 to 1, of different texts among the outputs for one input; 1: no two of them are the same."""
    return sum(len(set(texts)) / len(texts) for texts in outputs) / len(outputs)
