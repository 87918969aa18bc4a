"""Which answers are worth reading, and where do they differ from the truth?"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from seqlab.metrics.translation import repeated_ngram, sentence_scores
from seqlab.report.folder import AnyPrediction, Prediction, RunRecord

WORD = re.compile(r"\w+|[^\w\s]")
"""What is marked as a whole in a translation: a word, or a punctuation mark."""


class Piece(NamedTuple):
    """A stretch of text; a marked one is what the reader should look at."""

    text: str
    marked: bool


class Choice(NamedTuple):
    """Answers to read; no answer stands in two lists."""

    best: list[Prediction]
    worst: list[Prediction]
    drawn: list[Prediction]
    repeating: list[Prediction]


def choose(predictions: Sequence[Prediction], n: int, *, translations: bool, seed: int = 0) -> Choice:
    """The `n` best, the `n` worst and `n` at random; fewer of each when there are few.

    Good is what resembles its target. Among equal translations the longer ones are better: they are harder. Among
    other equals right answers that the model was sure of, and wrong ones that it was not sure of.

    Of translations that repeat a phrase for no reason, `n` more are drawn before.
    """
    n = min(n, -(-len(predictions) // 3))
    found = repeating(predictions) if translations else []
    stuck = draw(found, n, seed)
    taken = set(map(id, stuck))
    others = [prediction for prediction in predictions if id(prediction) not in taken]
    quality = _likeness_of_translations(others) if translations else [_likeness(other) for other in others]
    order = sorted(range(len(others)), key=lambda i: (*quality[i], -i))
    worst, rest = order[:n], order[n:]
    best, rest = rest[::-1][:n], rest[: max(len(rest) - n, 0)]
    drawn = random.Random(seed).sample(sorted(rest), min(n, len(rest)))
    best, worst, drawn = ([others[i] for i in chosen] for chosen in (best, worst, drawn))
    return Choice(best, worst, drawn, stuck)


def draw(predictions: Sequence[AnyPrediction], n: int, seed: int = 0) -> list[AnyPrediction]:
    """`n` answers at random, all of them when there are fewer, in their order in the file."""
    return [
        predictions[i] for i in sorted(random.Random(seed).sample(range(len(predictions)), min(n, len(predictions))))
    ]


def repeating(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Answers with a phrase three times in a row where their target has none: `petite petite petite`."""
    return [p for p in predictions if repeated_ngram(p.predicted) and not repeated_ngram(p.target)]


def chrf(prediction: Prediction) -> float:
    """How much a translation resembles its target, 0 to 100."""
    return sentence_scores([prediction.predicted], [prediction.target])[0]


def differences(target: str, predicted: str, *, by_words: bool) -> tuple[list[Piece], list[Piece]]:
    """Both texts cut into pieces; what the other lacks is marked, by whole words or by single characters.

    Without a space in either, they are compared by characters: they are single words, or their language writes none.
    """
    unit = WORD if by_words and " " in f"{target.strip()}{predicted.strip()}" else re.compile(r"(?s).")
    spans = [[match.span() for match in unit.finditer(text)] for text in (target, predicted)]
    left, right = (
        [text[slice(*span)] for span in found] for text, found in zip((target, predicted), spans, strict=True)
    )
    changes = [code for code in SequenceMatcher(None, left, right, autojunk=False).get_opcodes() if code[0] != "equal"]
    return (
        _pieces(target, [_stretch(spans[0], start, end) for _, start, end, _, _ in changes if start < end]),
        _pieces(predicted, [_stretch(spans[1], start, end) for _, _, _, start, end in changes if start < end]),
    )


def repetitions(text: str) -> list[Piece]:
    """The text, every phrase that follows itself marked as long as it goes on."""
    marked: list[tuple[int, int]] = []
    done = 0
    while phrase := repeated_ngram(text[done:]):
        words = r"\W+".join(map(re.escape, re.findall(r"\w+", phrase))) or re.escape(phrase)
        # Between two of them stand spaces and punctuation. Whole words are looked for first, then parts of words.
        runs = rf"(?:{words}\W*){{2,}}{words}"
        run = re.compile(rf"(?i)\b{runs}\b").search(text, done) or re.compile(rf"(?i){runs}").search(text, done)
        if run is None:
            break
        marked.append(run.span())
        done = run.end()
    return _pieces(text, marked)


def on_the_way(record: RunRecord, n: int) -> list[tuple[int, Prediction]]:
    """`n` answers to the question that was asked most often, as (step, answer).

    They are from the whole length of training, the first and the last among them.
    """
    samples = list(record.of_kind("sample"))
    if not samples:
        return []
    source = Counter(str(sample["source"]) for sample in samples).most_common(1)[0][0]
    asked = [sample for sample in samples if sample["source"] == source]
    by_step = {sample["step"]: (str(sample["target"]), str(sample["predicted"])) for sample in asked}
    rows = [
        (step, Prediction(source, target, predicted, target == predicted, 0.0))
        for step, (target, predicted) in by_step.items()
    ]
    if len(rows) <= n:
        return rows
    return [rows[round(i * (len(rows) - 1) / (n - 1))] for i in range(n)]


def _likeness_of_translations(predictions: Sequence[Prediction]) -> list[tuple[float, float]]:
    scores = sentence_scores([p.predicted for p in predictions], [p.target for p in predictions])
    return [(score, len(p.target)) for score, p in zip(scores, predictions, strict=True)]


def _likeness(prediction: Prediction) -> tuple[float, float]:
    likeness = SequenceMatcher(None, prediction.target, prediction.predicted, autojunk=False).ratio()
    return likeness, prediction.score if prediction.correct else -prediction.score


def _stretch(spans: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """From the beginning of one unit to the end of another, with the spaces between them."""
    return spans[start][0], spans[end - 1][1]


def _pieces(text: str, marked: list[tuple[int, int]]) -> list[Piece]:
    pieces, done = [], 0
    for start, end in marked:
        pieces += [Piece(text[done:start], marked=False), Piece(text[start:end], marked=True)]
        done = end
    return [piece for piece in [*pieces, Piece(text[done:], marked=False)] if piece.text]
