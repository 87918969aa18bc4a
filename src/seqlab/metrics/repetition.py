"""Does a text say the same thing over and over? The classic failure of decoders: "petite petite petite ..."."""

import re
from string import punctuation

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
