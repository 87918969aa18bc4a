"""How close are translations to their references? Strings in, floats out.

BLEU and chrF are sacreBLEU's, from 0 to 100; BLEU-1, BLEU-2, ROUGE-L and exact match are shares from 0 to 1, as the
exercises and papers that report them do. Every corpus score follows from sums over sentences, which is what makes
1,000 bootstrap resamples cheap. N: sentences.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from string import punctuation
from typing import TYPE_CHECKING

import numpy as np

from seqlab.errors import UserError, nearest
from seqlab.metrics.intervals import Interval, bootstrap, wilson
from seqlab.metrics.rouge import rouge_l
from seqlab.metrics.sacrebleu_statistics import BLEU_SUMS, bleu_from_sums, chrf_from_sums, sentence_statistics

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

SHORT = 0.8
"""Outputs that are shorter than this share of the references lose more than a fifth of their BLEU to brevity alone."""

NOTABLE = 0.05
"""A share of the outputs from which on a failure is more than an oddity of a few sentences."""


def translation_scores(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 1,
    tokenize: str = "13a",
) -> dict[str, Interval]:
    """Every corpus score with its 95 % interval: bootstrap, and Wilson's for exact match.

    Returns:
        bleu and chrf, 0 to 100, as sacreBLEU prints them; bleu1 and bleu2, 0 to 1: corpus BLEU of n-grams up to that
        order, with brevity penalty; rouge_l, 0 to 1: mean F1 over sentences; exact_match, 0 to 1; length_ratio: words
        of the predictions by words of the references.

    Args:
        predictions: what the model wrote, detokenised.
        references: one for each prediction.
        resamples: draws of the bootstrap.
        seed: of the draws.
        tokenize: how sacreBLEU finds words: 13a, or zh, ja-mecab, ko-mecab, char for languages without spaces.

    Raises:
        ValueError: if there are no sentences, or not as many predictions as references.
        UserError: if the tokenizer is unknown or not installed.
    """
    from sacrebleu.metrics.chrf import CHRF

    _check(predictions, references)
    bleu, n = sacrebleu_of(tokenize), len(predictions)
    rouge = [
        [rouge_l(bleu.tokenizer(ours), bleu.tokenizer(theirs))]
        for ours, theirs in zip(predictions, references, strict=True)
    ]
    statistics = [sentence_statistics(metric, predictions, references) for metric in (bleu, CHRF())]

    def scores(sums: np.ndarray) -> dict[str, float]:
        words, characters = sums[:BLEU_SUMS], sums[BLEU_SUMS:-1]
        return {
            "bleu": bleu_from_sums(words, 4),
            "chrf": chrf_from_sums(characters),
            "bleu1": bleu_from_sums(words, 1) / 100,
            "bleu2": bleu_from_sums(words, 2) / 100,
            "rouge_l": float(sums[-1]) / n,
            "length_ratio": _ratio(*words[:2]),
        }

    found = bootstrap(np.hstack([*statistics, rouge]), scores, resamples=resamples, seed=seed)
    exact = sum(ours == theirs for ours, theirs in zip(predictions, references, strict=True))
    return {**found, "exact_match": wilson(exact, n)}


def quick_scores(predictions: Sequence[str], references: Sequence[str], *, tokenize: str = "13a") -> dict[str, float]:
    """BLEU and chrF, 0 to 100, for validation during training; raises what `translation_scores` raises."""
    from sacrebleu.metrics.chrf import CHRF

    _check(predictions, references)
    return {
        "bleu": sacrebleu_of(tokenize).corpus_score(predictions, [references]).score,
        "chrf": CHRF().corpus_score(predictions, [references]).score,
    }


def copy_baseline(sources: Sequence[str], references: Sequence[str], *, tokenize: str = "13a") -> dict[str, float]:
    """BLEU and chrF of handing in the sources untranslated: names, numbers and punctuation earn points too."""
    return quick_scores(sources, references, tokenize=tokenize)


def sentence_scores(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """chrF of every sentence, 0 to 100; unlike BLEU it tells short sentences apart. Finds best and worst samples."""
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF()
    pairs = zip(predictions, references, strict=True)
    return [chrf.sentence_score(prediction, [reference]).score for prediction, reference in pairs]


def bleu_signature(tokenize: str = "13a") -> str:
    """What sacreBLEU prints beside BLEU, so that others can compute the same: settings and version."""
    bleu = sacrebleu_of(tokenize)
    bleu.corpus_score(["."], [["."]])  # the number of references is known only after a score
    return bleu.get_signature().format()


def chrf_signature() -> str:
    """What sacreBLEU prints beside chrF."""
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF()
    chrf.corpus_score(["."], [["."]])
    return chrf.get_signature().format()


def perplexity(nats: float, tokens: int) -> float:
    """exp of the mean loss. Compares runs with the same vocabulary only.

    Args:
        nats: sum of the cross-entropy over target tokens.
        tokens: how many.
    """
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        return math.inf


def bits_per_character(nats: float, characters: int) -> float:
    """The loss in units that no vocabulary changes: a token is a character in one run and a word in another.

    Args:
        nats: sum of the cross-entropy over the target tokens, ends of sentences included.
        characters: of the target texts.
    """
    return nats / math.log(2) / characters


def warnings(
    predictions: Sequence[str],
    references: Sequence[str],
    capped: int,
    sources: Sequence[str] | None = None,
    *,
    tokenize: str = "13a",
) -> list[str]:
    """Sentences about what looks wrong with the outputs, or with the data that they are judged by.

    Args:
        predictions: what the model wrote.
        references: one for each prediction.
        capped: outputs that were cut at the maximum length.
        sources: to find outputs that are copies of their source.
        tokenize: as in `translation_scores`.
    """
    _check(predictions, references)
    n = len(predictions)
    found = []
    if capped:
        limits = "decode.max_length or decode.max_ratio"
        found.append(f"{capped} of {n} outputs were cut at {limits}: raise it, unless they repeat themselves")
    if (ratio := _length_ratio(predictions, references, tokenize)) < SHORT:
        found.append(f"outputs have {ratio:.2f} of the words of the references: the brevity penalty lowers BLEU")
    if empty := sum(not text.strip() for text in predictions):
        found.append(f"{empty} of {n} outputs are empty")
    found += _repetitions(predictions, references)
    # pairs, because a reference that occurs twice may well have one answer
    texts = Counter(text for text, _ in set(zip(predictions, references, strict=True)) if text.strip())
    for text, times in texts.most_common(1):
        if times >= max(3, NOTABLE * n):
            same = text if len(text) <= 60 else f"{text[:60]}…"
            found.append(f'{times} different sentences have the same output "{same}": the model may ignore the source')
    given = zip(predictions, references, sources, strict=True) if sources else ()
    if (copies := sum(ours == source != theirs for ours, theirs, source in given)) > NOTABLE * n:
        found.append(f"{copies} of {n} outputs are copies of their source")
    if sum(text.endswith(" .") for text in references) > NOTABLE * n:
        found.append('references end in " ." and look tokenised: sacreBLEU compares with others on plain text only')
    return found


def _repetitions(predictions: Sequence[str], references: Sequence[str]) -> list[str]:
    phrases = [
        phrase
        for ours, theirs in zip(predictions, references, strict=True)
        if (phrase := repeated_ngram(ours)) and not repeated_ngram(theirs)
    ]
    if len(phrases) <= NOTABLE * len(predictions):
        return []
    common = Counter(phrases).most_common(1)[0][0]
    return [f'{len(phrases)} of {len(predictions)} outputs repeat a phrase, such as "{common}", three times or more']


def _check(predictions: Sequence[str], references: Sequence[str]) -> None:
    if len(predictions) != len(references) or not predictions:
        raise ValueError(f"cannot score {len(predictions)} predictions by {len(references)} references")


def sacrebleu_of(tokenize: str) -> "BLEU":
    """sacreBLEU's BLEU; `force` silences its warning about tokenised text, for which there is one of ours."""
    from sacrebleu.metrics.bleu import BLEU

    if tokenize not in BLEU.TOKENIZERS:
        known = ", ".join(sorted(BLEU.TOKENIZERS))
        raise UserError(f'sacreBLEU has no tokenizer "{tokenize}"{nearest(tokenize, BLEU.TOKENIZERS)} (it has {known})')
    try:
        return BLEU(tokenize=tokenize, force=True)
    except (ImportError, RuntimeError) as error:  # its message says what to install
        raise UserError(f'sacreBLEU tokenizer "{tokenize}": {" ".join(str(error).split())}') from None


def _length_ratio(predictions: Sequence[str], references: Sequence[str], tokenize: str) -> float:
    find = sacrebleu_of(tokenize).tokenizer
    ours, theirs = (sum(len(find(text).split()) for text in side) for side in (predictions, references))
    return _ratio(ours, theirs)


def _ratio(ours: float, theirs: float) -> float:
    """As sacreBLEU prints it: 0 where the references are empty."""
    return float(ours / theirs) if theirs else 0.0


TIMES = 3
"""A phrase that follows itself less often is ordinary language: "très très petit"."""

LETTERS = 3
"""Shorter runs inside a word are ordinary German: "Schifffahrt", "erschienenen"."""

MARKS = punctuation + "…«»“”„’"


def repeated_ngram(text: str, max_n: int = 4) -> str | None:
    """The first phrase that stands three times in a row, or None; the shortest one, if several do.

    Phrases of up to `max_n` words are compared without case and punctuation. Where no words repeat, runs of up to
    `max_n` characters do: of three or more characters inside words, of one or more in a text without spaces (Chinese,
    Thai).
    """
    return _repeated_words(text.split(), max_n) or _repeated_characters(text, max_n)


def _repeated_words(written: list[str], max_n: int) -> str | None:
    compared = [word.casefold().strip(MARKS) or word for word in written]
    for n in range(1, max_n + 1):
        same = 0  # words in a row that equal the one n places before
        for place in range(n, len(compared)):
            same = same + 1 if compared[place] == compared[place - n] else 0
            if same == n * (TIMES - 1):
                phrase = " ".join(written[place + 1 - n * TIMES :][:n])
                return phrase.strip(MARKS) or phrase
    return None


def _repeated_characters(text: str, max_n: int) -> str | None:
    min_n = 1 if len(text.split()) == 1 else LETTERS
    if max_n < min_n:
        return None
    runs = re.finditer(rf"(\S{{{min_n},{max_n}}}?)\1{{{TIMES - 1}}}", text)
    # digits and signs repeat in ordinary text: 1000, "...", "-----"
    return next((run[1] for run in runs if any(map(str.isalpha, run[1]))), None)
