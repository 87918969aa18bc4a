"""Which passages were taken for answers? Questions with their texts marked, and the scores of each kind of question."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

from seqlab.report import markup, wording
from seqlab.report.folder import RunRecord


@dataclass(frozen=True)
class Gold:
    """The answer of a person; `start` is its first character in the text, if it stands there."""

    text: str
    start: int | None


@dataclass(frozen=True)
class Found:
    """A passage that the model chose, from `start` to before `end`; from 0 to 0 it says that there is no answer."""

    text: str
    start: int
    end: int
    score: float
    """log-probability among the candidates"""


@dataclass(frozen=True)
class Asked:
    """A question about a text, with what people and the model answer."""

    question: str
    context: str
    answers: list[Gold]
    predicted: list[Found]
    """the best first"""
    f1: float
    exact_match: bool


class Stretch(NamedTuple):
    """A part of a text that people, or the model, or both, or nobody chose."""

    text: str
    gold: bool
    found: bool


def section(record: RunRecord) -> str:
    """The part of a page that shows a run which answers questions; UserError when `answers.json` is damaged."""
    asked = record.exhibit("answers", list[Asked]) or []
    tables = _tables(record.results or {})
    columns = [*tables[:1], *([markup.block("column", *tables[1:])] if tables[1:] else [])]
    return "\n".join(
        part
        for part in (
            markup.section("What it answers", _legend(), *map(_card, asked)) if asked else "",
            markup.section("Which questions it answers", markup.block("groups", *columns)) if tables else "",
        )
        if part
    )


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


def _legend() -> str:
    gold, found = '<mark class="gold">underlined</mark>', '<mark class="found">shaded</mark>'
    return (
        f'<p class="note">Test examples, drawn at random. Answers of people are {gold} in the text, '
        f"the passage that the model chose is {found}.</p>"
    )


def _card(asked: Asked) -> str:
    text = "".join(map(_marked, stretches(asked)))
    first, *others = asked.predicted
    gold = ", ".join(dict.fromkeys(answer.text for answer in asked.answers)) or "no answer"
    lines = {"people": gold, "model": _answer(first)}
    if others:
        lines["next"] = "; ".join(map(_answer, others))
    verdict = "exact match" if asked.exact_match else f"F1 {wording.per_cent(asked.f1)}"
    side = markup.definitions({**lines, "agreement": verdict})
    css = "right" if asked.exact_match else "" if asked.f1 else "wrong"
    return (
        f'<div class="{f"sample asked {css}".strip()}">\n<h3>{escape(asked.question)}</h3>\n'
        f'<div class="text">\n<p>{text}</p>\n{side}\n</div>\n</div>'
    )


def _answer(found: Found) -> str:
    return f"{found.text or 'no answer'} ({wording.per_cent(math.exp(found.score))})"


def _marked(part: Stretch) -> str:
    css = " ".join(name for name, chosen in (("gold", part.gold), ("found", part.found)) if chosen)
    return f'<mark class="{css}">{escape(part.text)}</mark>' if css else escape(part.text)


def _tables(results: Mapping[str, Any]) -> list[str]:
    own = {name: score["value"] for name, score in results.get("scores", {}).items() if name in ("f1", "exact_match")}
    rows = {"this model": own, **results.get("baselines", {})} if own else {}
    found = [
        _table("By question word", "question word", results.get("by_question_word", {})),
        _table("By length of the answer", "answer", results.get("by_answer_length", {})),
        _table("Next to no model at all", "answer", rows, counted=False),
    ]
    return [table for table in found if table]


def _table(heading: str, first: str, groups: Mapping[str, Mapping[str, float]], *, counted: bool = True) -> str:
    """Scores of each group of questions; nothing without groups."""
    if not groups:
        return ""
    head = [first, *(["questions"] if counted else []), "F1", "exact match"]
    rows = [
        [
            escape(name),
            *([wording.number(scores["examples"])] if counted else []),
            *(wording.per_cent(scores[score]) for score in ("f1", "exact_match")),
        ]
        for name, scores in groups.items()
    ]
    return f"<div>\n<h3>{heading}</h3>\n{markup.block('measures', markup.table(head, rows))}\n</div>"
