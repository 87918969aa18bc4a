"""Scores of a set of questions, and where the mistakes are."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from seqlab.data.corpora.squad import Question
from seqlab.metrics.answers import (
    Match,
    Threshold,
    answer_scores,
    baselines,
    best_threshold,
    match,
    mean_scores,
    normalized,
    question_word,
)
from seqlab.metrics.intervals import Interval

SHOWN = 5
"""Questions that a report shows."""

LENGTHS = ((1, "1 word"), (2, "2 words"), (3, "3 words"), (5, "4 to 5 words"), (10, "6 to 10 words"))
"""Groups of answers by their longest."""


class FoundAnswer(NamedTuple):
    """A span of the text; from 0 to 0, and empty, it says that there is no answer."""

    text: str
    start: int
    end: int
    score: float
    """log-probability among the candidates"""


class BestSpan(NamedTuple):
    """What would be answered if there had to be an answer."""

    text: str
    margin: float
    """by how much "no answer" scores above it; infinite where no span is there"""


@dataclass(frozen=True)
class AnswerEvaluation:
    """A set of questions, and what the model makes of them."""

    examples: Sequence[Question]
    found: list[list[FoundAnswer]]
    """the n best answers to each, the best first"""
    loss: float
    """mean over the windows, in nats: of the first and the last token of the answer"""
    windows: int
    is_cut: Sequence[bool]
    """which questions were too long to be read whole"""
    spans: Sequence[BestSpan] = ()
    """of each question, where "no answer" is one of the answers"""

    @property
    def cut(self) -> int:
        """How many questions were too long."""
        return sum(self.is_cut)

    @property
    def quick_scores(self) -> Mapping[str, float]:
        """The scores of a curve."""
        return {"loss": self.loss, **mean_scores(self.matches)}

    @property
    def scores(self) -> Mapping[str, Interval]:
        """F1 and exact match with their intervals, and the loss; apart for questions that have no answer."""
        return self._intervals

    @cached_property
    def matches(self) -> list[Match]:
        """How well each best answer agrees with those of people."""
        return [match(best.text, texts) for best, texts in zip(self._best, self._texts, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """The part of results.json that a set of questions decides."""
        intervals = {
            name: {end: value for end, value in score._asdict().items() if value is not None}
            for name, score in self.scores.items()
        }
        found = self._best_thresholds
        return {
            "examples": len(self.examples),
            "scores": intervals,
            "baselines": baselines([example.context for example in self.examples], self._texts),
            "windows": self.windows,
            "questions_cut": self.cut,
            "by_question_word": self._grouped(lambda example: question_word(example.question)),
            "by_answer_length": self._grouped(_length_group),
            **({"best_thresholds": {name: best._asdict() for name, best in found.items()}} if found else {}),
        }

    def records(self) -> Iterator[dict[str, Any]]:
        """One line of JSON a question; `correct` says whether the answer is that of a person."""
        for example, best, agreement in zip(self.examples, self._best, self.matches, strict=True):
            yield {
                "id": example.id,
                "source": example.question,
                "context": example.context,
                "target": example.answers[0].text if example.answers else "",
                "answers": [answer.text for answer in example.answers],
                "predicted": best.text,
                "start": best.start,
                "end": best.end,
                "correct": agreement.exact,
                "f1": agreement.f1,
                "score": best.score,
            }

    def notes(self) -> list[str]:
        """What the log should say."""
        cut = [f"{self.cut} questions are longer than task.longest_question and were cut"] if self.cut else []
        better = [
            f"task.no_answer_threshold={best.threshold:.4g} is best for {name} on these questions: {best.value:.4f}"
            for name, best in self._best_thresholds.items()
        ]
        return [*cut, *better]

    def artifact(self) -> list[dict[str, Any]]:
        """A few questions with everything that a report marks in their texts."""
        rows = random.Random(1).sample(range(len(self.examples)), min(SHOWN, len(self.examples)))
        return [
            {
                "question": self.examples[row].question,
                "context": self.examples[row].context,
                "answers": [answer._asdict() for answer in self.examples[row].answers],
                "predicted": [answer._asdict() for answer in self.found[row]],
                "f1": self.matches[row].f1,
                "exact_match": self.matches[row].exact,
            }
            for row in sorted(rows)
        ]

    @cached_property
    def _intervals(self) -> dict[str, Interval]:  # the bootstrap takes a moment
        scores = answer_scores(self.matches)
        known = [bool(example.answers) for example in self.examples]
        if not all(known) and any(known):
            for has_answer, name in ((True, "has_answer"), (False, "no_answer")):
                part = [found for found, is_known in zip(self.matches, known, strict=True) if is_known == has_answer]
                scores |= {f"{name}_{key}": score for key, score in answer_scores(part).items()}
        return {**scores, "loss": Interval(self.loss)}

    @cached_property
    def _best_thresholds(self) -> dict[str, Threshold]:
        """By score, where some questions have an answer and some do not."""
        known = [bool(example.answers) for example in self.examples]
        if not self.spans or all(known) or not any(known):
            return {}
        margins = [span.margin for span in self.spans]
        matches = [match(span.text, texts) for span, texts in zip(self.spans, self._texts, strict=True)]
        return {
            "f1": best_threshold(margins, [found.f1 for found in matches], known),
            "exact_match": best_threshold(margins, [float(found.exact) for found in matches], known),
        }

    @property
    def _best(self) -> list[FoundAnswer]:
        return [found[0] for found in self.found]

    @cached_property
    def _texts(self) -> list[list[str]]:
        return [[answer.text for answer in example.answers] for example in self.examples]

    def _grouped(self, group: Callable[[Question], str]) -> dict[str, dict[str, float]]:
        """Scores of the questions of each group, the largest group first."""
        groups: dict[str, list[Match]] = {}
        for example, found in zip(self.examples, self.matches, strict=True):
            groups.setdefault(group(example), []).append(found)
        ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
        return {name: {"examples": len(found), **mean_scores(found)} for name, found in ordered}


def _length_group(example: Question) -> str:
    if not example.answers:
        return "no answer"
    words = len(normalized(example.answers[0].text).split())
    return next((name for longest, name in LENGTHS if words <= longest), "over 10 words")
