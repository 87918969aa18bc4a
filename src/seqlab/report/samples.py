"""Which answers are worth reading, and where do they differ from the truth?"""

import random
from collections import Counter
from difflib import SequenceMatcher
from typing import NamedTuple

from seqlab.report.folder import Prediction, RunRecord


class Piece(NamedTuple):
    """A stretch of text that does, or does not, stand in the other text as well."""

    text: str
    differs: bool


class Choice(NamedTuple):
    """Answers to read; no answer stands in two lists."""

    best: list[Prediction]
    worst: list[Prediction]
    drawn: list[Prediction]


def choose(predictions: list[Prediction], n: int, seed: int = 0) -> Choice:
    """The `n` best, the `n` worst and `n` at random; fewer of each when there are few.

    Good is what resembles its target; among equals, right answers that the model was sure of, and wrong ones that it
    was not sure of.
    """
    n = min(n, -(-len(predictions) // 3))
    order = sorted(range(len(predictions)), key=lambda i: (*_quality(predictions[i]), -i))
    worst, rest = order[:n], order[n:]
    best, rest = rest[::-1][:n], rest[: max(len(rest) - n, 0)]
    drawn = random.Random(seed).sample(sorted(rest), min(n, len(rest)))
    return Choice(*([predictions[i] for i in chosen] for chosen in (best, worst, drawn)))


def draw(predictions: list[Prediction], n: int, seed: int = 0) -> list[Prediction]:
    """`n` answers at random, all of them when there are fewer, in their order in the file."""
    return [
        predictions[i] for i in sorted(random.Random(seed).sample(range(len(predictions)), min(n, len(predictions))))
    ]


def differences(target: str, predicted: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts cut into pieces; those that the other lacks are marked."""
    matcher = SequenceMatcher(None, target, predicted, autojunk=False)
    left, right = [], []
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        left.append(Piece(target[i:i_end], tag != "equal"))
        right.append(Piece(predicted[j:j_end], tag != "equal"))
    return [piece for piece in left if piece.text], [piece for piece in right if piece.text]


def on_the_way(record: RunRecord, n: int) -> list[tuple[int, Prediction]]:
    """`n` answers from the whole length of training, as (step, answer), the first and the last among them.

    Where the same source was asked several times, its answers are taken: they tell most.
    """
    samples = list(record.of_kind("sample"))
    asked = Counter(str(sample["source"]) for sample in samples)
    samples.sort(key=lambda sample: (sample["step"], -asked[str(sample["source"])]))
    by_step: dict[int, Prediction] = {}
    for sample in samples:
        source, target, predicted = (str(sample[key]) for key in ("source", "target", "predicted"))
        by_step.setdefault(sample["step"], Prediction(source, target, predicted, target == predicted, 0.0))
    rows = list(by_step.items())
    if len(rows) <= n:
        return rows
    return [rows[round(i * (len(rows) - 1) / (n - 1))] for i in range(n)]


def _quality(prediction: Prediction) -> tuple[float, float]:
    likeness = SequenceMatcher(None, prediction.target, prediction.predicted, autojunk=False).ratio()
    return likeness, prediction.score if prediction.correct else -prediction.score
