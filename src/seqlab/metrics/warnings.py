"""Warnings about suspicious outputs, or about the data that they are scored on."""

import re
from collections import Counter
from collections.abc import Sequence
from string import punctuation

from seqlab.metrics.bleu import Bleu, BleuConfig, LengthRatio
from seqlab.metrics.metric import Outputs, quick_scores

SHORT = 0.8
"""Outputs that are shorter than this share of the references lose more than a fifth of their BLEU to brevity alone."""

NOTABLE = 0.05
"""A share of the outputs from which on a failure is more than an oddity of a few sentences."""


def warnings(
    predictions: Sequence[str],
    references: Sequence[str],
    capped: int,
    sources: Sequence[str] | None = None,
    *,
    words: BleuConfig = BleuConfig(),  # noqa: B008 - frozen
) -> list[str]:
    """Sentences about what looks wrong with the outputs, or with the data that they are judged by.

    Args:
        predictions: what the model wrote.
        references: one for each prediction.
        capped: outputs that were cut at the maximum length.
        sources: to find outputs that are copies of their source.
        words: how they are found and counted.
    """
    outputs = Outputs(predictions, [references])
    n = len(predictions)
    found = []
    if capped:
        limits = "decode.max_length or decode.max_ratio"
        found.append(f"{capped} of {n} outputs were cut at {limits}: raise it, unless they repeat themselves")
    if (ratio := quick_scores([LengthRatio(words)], outputs)["length_ratio"]) < SHORT:
        found.append(f"outputs have {ratio:.2f} of the words of the references: the brevity penalty lowers BLEU")
    right = sum(ours.strip() == theirs.strip() for ours, theirs in zip(predictions, references, strict=True))
    if 2 * right > n and (bleu := quick_scores([Bleu(words)], outputs)["bleu"]) < 1:
        found.append(
            f"BLEU is {bleu:.1f} although {right} of {n} outputs are exactly right: four words in a row are rare "
            "in them; choose by metrics=[chrf], or count characters, metrics.bleu.tokenize=char"
        )
    if empty := sum(not text.strip() for text in predictions):
        found.append(f"{empty} of {n} outputs are empty")
    found += _repetitions(predictions, references)
    # pairs, because a reference that occurs twice may well have one output
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
