"""Predicted answers marked in their texts, and the scores of each kind of question."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from seqlab.report import wording
from seqlab.report.folder import RunRecord
from seqlab.runs.schema import Asked, FoundSpan


class Stretch(NamedTuple):
    """A part of a text that people, or the model, or both, or nobody chose."""

    text: str
    gold: bool
    found: bool


class QuestionCard(NamedTuple):
    """A question on a page, its text cut into stretches, and what was answered by name."""

    question: str
    text: list[Stretch]
    facts: dict[str, str]
    css: str


class GroupTable(NamedTuple):
    """Scores of groups of questions; `head` names the columns, and the first cell of a row its group."""

    heading: str
    head: list[str]
    rows: list[list[str]]


def section(record: RunRecord) -> dict[str, Any] | None:
    """Questions with their texts, and the scores by kind of question; UserError when `answers.json` is damaged."""
    asked = record.artifact("answers", list[Asked]) or []
    tables = _tables(record.results or {})
    return {"cards": [_card(each) for each in asked], "tables": tables} if asked or tables else None


def stretches(asked: Asked) -> list[Stretch]:
    """The text cut wherever an answer of a person, or the best one of the model, begins or ends."""
    gold = [(answer.start, answer.start + len(answer.text)) for answer in asked.answers if answer.start is not None]
    found = [(answer.start, answer.end) for answer in asked.predicted[:1]]
    size = len(asked.context)
    cuts = sorted({0, size, *(min(max(end, 0), size) for span in (*gold, *found) for end in span)})
    return [
        Stretch(asked.context[start:end], _covered(start, gold), _covered(start, found))
        for start, end in pairwise(cuts)
    ]


def _covered(place: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start <= place < end for start, end in spans)


def _card(asked: Asked) -> QuestionCard:
    first, *others = asked.predicted
    gold = ", ".join(dict.fromkeys(answer.text for answer in asked.answers)) or "no answer"
    facts = {"people": gold, "model": _answer(first)}
    if others:
        facts["next"] = "; ".join(map(_answer, others))
    facts["agreement"] = "exact match" if asked.exact_match else f"F1 {wording.per_cent(asked.f1)}"
    css = "right" if asked.exact_match else "" if asked.f1 else "wrong"
    return QuestionCard(asked.question, stretches(asked), facts, css)


def _answer(found: FoundSpan) -> str:
    return f"{found.text or 'no answer'} ({wording.per_cent(math.exp(found.score))})"


def _tables(results: Mapping[str, Any]) -> list[GroupTable]:
    scores = {name: score.get("value") for name, score in results.get("scores", {}).items()}
    rows = {"this model": scores, **results.get("baselines", {})}
    found = [
        _table("By question word", "question word", results.get("by_question_word", {})),
        _table("By length of the answer", "answer", results.get("by_answer_length", {})),
        _table("Next to no model at all", "answer", rows, counted=False),
    ]
    return [table for table in found if table.rows]


def _table(heading: str, first: str, groups: Mapping[str, Mapping[str, Any]], *, counted: bool = True) -> GroupTable:
    """The groups that have both scores of SQuAD."""
    rows = [
        [
            name,
            *([wording.number(scores.get("examples"))] if counted else []),
            *(wording.per_cent(scores[score]) for score in ("f1", "exact_match")),
        ]
        for name, scores in groups.items()
        if {"f1", "exact_match"} <= scores.keys()
    ]
    return GroupTable(heading, [first, *(["questions"] if counted else []), "F1", "exact match"], rows)
