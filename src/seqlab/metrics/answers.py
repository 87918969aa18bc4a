"""Exact match and F1 of answers as SQuAD defines them, and baselines.

Source: Rajpurkar et al. (2016), section 6.1, and the normalisation of the official scripts `evaluate-v1.1.py` and
`evaluate-v2.0.py`. They differ where nothing is left of a text when it is normalised; here it is as in version 2.0.
"""

import random
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np

from seqlab.metrics.intervals import Interval, bootstrap

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
SENTENCE_END = re.compile(r"(?<=[.!?])[\"”’)\]]*\s+(?=\S)")

QUESTION_WORDS = frozenset({"what", "who", "whom", "whose", "when", "where", "which", "why", "how"})

LONGEST_RANDOM = 5
"""Words of a random span, at most."""


class Match(NamedTuple):
    """How well one prediction agrees with the answers of people."""

    exact: bool
    f1: float


def normalized(text: str) -> str:
    """Lower case, without punctuation (ASCII), articles and extra white space: what both scores compare."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def match(predicted: str, answers: Sequence[str]) -> Match:
    """The best agreement with any of the answers; without answers, the right prediction is an empty text.

    An answer of which nothing is left when normalised, such as "The", does not count beside others.
    """
    golds = [answer for answer in answers if normalized(answer)] or [""]
    return Match(any(_exact(predicted, gold) for gold in golds), max(f1(predicted, gold) for gold in golds))


def f1(predicted: str, answer: str) -> float:
    """The harmonic mean of precision and recall of words, each as often as it occurs.

    Where one side has no words, it is 1 if neither has, else 0, as in the script of version 2.0.
    """
    found, wanted = normalized(predicted).split(), normalized(answer).split()
    if not found or not wanted:
        return float(found == wanted)
    common = (Counter(found) & Counter(wanted)).total()
    return 2 * common / (len(found) + len(wanted))


def answer_scores(matches: Sequence[Match]) -> dict[str, Interval]:
    """F1 and exact match of a set of questions with bootstrap intervals; shares, where the scripts print percent."""
    table = np.array([[match.f1, match.exact, 1.0] for match in matches])
    return bootstrap(table, lambda sums: {"f1": sums[0] / sums[2], "exact_match": sums[1] / sums[2]})


class Threshold(NamedTuple):
    """The best mean score that a threshold for "no answer" gives, and the threshold."""

    value: float
    threshold: float


def best_threshold(margins: Sequence[float], scores: Sequence[float], has_answer: Sequence[bool]) -> Threshold:
    """The threshold that the scored questions themselves choose, as the script of SQuAD 2.0 does.

    An answer is given where the margin does not exceed the threshold. Of equals the lowest threshold is taken.

    Args:
        margins: of each question, by how much "no answer" scores above its best span.
        scores: of that span, 0 to 1.
        has_answer: whether the text has an answer.

    Source: `find_best_thresh` of `evaluate-v2.0.py` (Rajpurkar et al. 2018).
    """
    total = sum(not known for known in has_answer)  # with no answer to any question
    best, threshold = total, min((margin for margin in margins if isfinite(margin)), default=0.0) - 1
    rows = sorted(zip(margins, scores, has_answer, strict=True), key=lambda row: row[0])
    for place, (margin, score, known) in enumerate(rows, start=1):
        total += score if known else -1
        if total > best and (place == len(rows) or rows[place][0] > margin):
            best, threshold = total, margin
    return Threshold(best / len(rows), threshold)


def mean_scores(matches: Sequence[Match]) -> dict[str, float]:
    """F1 and exact match of a set of questions."""
    return {
        "f1": sum(match.f1 for match in matches) / len(matches),
        "exact_match": sum(match.exact for match in matches) / len(matches),
    }


def baselines(
    contexts: Sequence[str], answers: Sequence[Sequence[str]], seed: int = 1
) -> Mapping[str, dict[str, float]]:
    """What needs no model: the first sentence of each text, and a random span of it.

    Args:
        contexts: the texts.
        answers: those of people for each.
        seed: draws the spans.
    """
    generator = random.Random(seed)
    guesses = {
        "first sentence": [first_sentence(context) for context in contexts],
        "random span": [random_span(context, generator) for context in contexts],
    }
    return {name: mean_scores(list(map(match, texts, answers))) for name, texts in guesses.items()}


def question_word(question: str) -> str:
    """What is asked for: the first word of the question that says so, or "other"."""
    words = normalized(question).split()
    return next((word for word in words if word in QUESTION_WORDS), "other")


def first_sentence(context: str) -> str:
    """The text up to the first end of a sentence."""
    return SENTENCE_END.split(context.strip(), maxsplit=1)[0]


def random_span(context: str, generator: random.Random) -> str:
    """One to five words in a row, from anywhere."""
    words = context.split()
    length = generator.randint(1, min(LONGEST_RANDOM, len(words)))
    start = generator.randrange(len(words) - length + 1)
    return " ".join(words[start : start + length])


def _exact(predicted: str, answer: str) -> bool:
    return normalized(predicted) == normalized(answer)
