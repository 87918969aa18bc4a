"""Questions with their texts from files in the layout of SQuAD, and what is wrong with some of them.

Sources: Rajpurkar et al. (2016), "SQuAD: 100,000+ questions for machine comprehension of text"; Rajpurkar et al.
(2018), "Know what you don't know: unanswerable questions for SQuAD". Characters of a text are counted from 0.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import OPTIMISTIC, Overview
from seqlab.data.corpora.splitting import (
    check_sizes_are_used,
    fingerprint,
    held_out_sizes,
    sizes_of,
    take_units,
)
from seqlab.data.readers.columns import Columns
from seqlab.data.readers.json_records import holds_lines, read_document, read_json_lines
from seqlab.data.readers.lines import data_path, existing, find, folder_hint
from seqlab.data.readers.reading import DEFAULT, Reading, ReadingConfig, quote, text_fault
from seqlab.errors import UserError
from seqlab.runs.statistics import HELD_OUT

SETS = ("train", *HELD_OUT)

LISTED = 5
"""Ids that a remark names; all are counted."""


class SquadData(Config):
    """Questions whose answers are passages of a text."""

    kind: Literal["squad"] = "squad"
    """questions about texts, in the JSON layout of SQuAD 1.1 or 2.0"""
    train: str | None = None
    """training file"""
    validation: str | None = None
    """file to watch while training; when absent, whole articles are taken from training"""
    test: str | None = None
    """file of the final score; when absent, whole articles are taken from training"""
    folder: Path | None = None
    """where relative paths start; when absent, the environment variable SEQLAB_DATA, else the current folder"""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """share of the training questions that is trained on, drawn by the seed"""
    validation_size: int | None = Field(default=None, ge=1)
    """questions, at least, of the articles taken for validation; when absent one in 20, at most 1000"""
    test_size: int | None = Field(default=None, ge=1)
    """questions, at least, of the articles taken for the test; when absent one in 20, at most 1000"""
    seed: int = 1
    """picks the articles that are held out, and the fraction"""
    reading: ReadingConfig = ReadingConfig()
    """how files are read: how much of them at once"""

    @model_validator(mode="after")
    def _settings_are_used(self) -> "SquadData":
        check_sizes_are_used(self, [name for name in HELD_OUT if getattr(self, name) is not None], "articles")
        return self


class Span(NamedTuple):
    """An answer: what it says, and where it begins in the context; None where it does not occur there."""

    text: str
    start: int | None


class Question(NamedTuple):
    """A question about a text."""

    id: str
    article: str
    question: str
    context: str
    answers: tuple[Span, ...]
    """the answers of several people; none: the text does not answer it"""

    @property
    def target(self) -> Span | None:
        """The answer that is trained on: the first that stands in the text."""
        return next((answer for answer in self.answers if answer.start is not None), None)


@dataclass
class QuestionFaults:
    """Ids of what is wrong in a file and was put right or left out, by kind."""

    ids: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, id: str) -> None:
        """One more."""
        self.ids.setdefault(kind, []).append(id)

    def remarks(self, path: Path) -> Iterator[str]:
        """A line for each kind."""
        for kind, ids in self.ids.items():
            more = f" and {len(ids) - LISTED:,} more" if len(ids) > LISTED else ""
            yield f"{path.name}: {len(ids):,} {kind}: {', '.join(ids[:LISTED])}{more}"


MOVED = "answers are not at their answer_start and were found elsewhere (ids)"
ABSENT = "answers do not occur in their text and are not trained on (ids)"
NO_ANSWER = "questions without an answer that are not marked is_impossible left out (ids)"
REPEATED = "questions with an id that was there before left out (ids)"
BLANK = "questions with a blank question or text left out (ids)"


class Squad:
    """Questions with their texts, read when they are first asked for.

    Sets without a file are whole articles of training, so that no text is on both sides.
    """

    config_class = SquadData
    example = Question

    def __init__(self, config: SquadData) -> None:
        self.config = config

    def check_files(self) -> None:
        """Raises UserError when a file is missing, or none is named."""
        if self.config.train is None:
            raise UserError("data.train names no file: give the training file, for example data.train=train-v1.1.json")
        with folder_hint(self.config.folder):
            self.files()

    def files(self) -> list[Path]:
        """The file of each set that has one."""
        return [existing(path) for path in self._paths.values()]

    def training(self, epoch: int) -> Sequence[Question]:
        """The same questions every epoch."""
        return self._training

    def validation(self) -> Sequence[Question]:
        """Questions to watch while training."""
        return self._held_out("validation")

    def test(self) -> Sequence[Question]:
        """Questions of the final score."""
        return self._held_out("test")

    def splits(self) -> dict[str, Sequence[Question]]:
        """Training, validation and test questions."""
        return {"training": self._training, "validation": self.validation(), "test": self.test()}

    def overview(self) -> Overview:
        """The lengths of questions and of the answers that are trained on."""
        texts = {
            name: [(question.question, question.target.text if question.target else "") for question in questions]
            for name, questions in self.splits().items()
        }
        return Overview(texts=texts, unit="words", remarks=self.remarks())

    def remarks(self) -> list[str]:
        """What was wrong in the files, what was held out, and how many questions are trained on."""
        return [*self._remarks(), *self.leaks()]

    def leaks(self) -> list[str]:
        """Which held-out examples are also trained on."""
        return list(self._leaks())

    def read(self, path: Path) -> Sequence[Question]:
        """The questions of a user's file; UserError for one that cannot be scored."""
        questions, faults = read_squad(path, self.config.reading)
        for kind in (NO_ANSWER, BLANK, REPEATED):
            if ids := faults.ids.get(kind):
                raise UserError(f"{path}: {kind.removesuffix(' left out (ids)')}, first {ids[0]}: remove them")
        return questions

    def input_columns(self) -> list[Columns]:
        """A question and its text."""
        names = ("question", "context")
        return [Columns(names, guessed=True, names=names, are_languages=False)]

    @cached_property
    def _files(self) -> dict[str, tuple[list[Question], QuestionFaults]]:
        return {name: read_squad(path, self.config.reading) for name, path in self._paths.items()}

    @cached_property
    def _parts(self) -> dict[str, list[Question]]:
        """The training file, and the articles that were taken out of it."""
        questions = [question for question in self._files["train"][0] if trainable(question)]
        return split_by_article(questions, held_out_sizes(self.config, self._files), self.config.seed)

    @cached_property
    def _training(self) -> list[Question]:
        questions, seed = self._parts["train"], self.config.seed
        size = max(1, round(self.config.fraction * len(questions)))
        if size == len(questions):
            return questions
        chosen = set(sorted(range(len(questions)), key=lambda row: fingerprint(questions[row].id, seed))[:size])
        return [question for row, question in enumerate(questions) if row in chosen]

    def _held_out(self, name: str) -> list[Question]:
        if name not in self._files:
            return self._parts[name]
        questions = self._files[name][0]
        if not questions:
            raise UserError(f"{self._paths[name]}: no question that can be scored")
        return questions

    def _remarks(self) -> Iterator[str]:
        for name, (_, faults) in self._files.items():
            yield from faults.remarks(self._paths[name])
        taken = {name: part for name, part in self._parts.items() if name != "train"}
        for name, part in taken.items():
            articles = len({question.article for question in part})
            yield f"{name}: {len(part):,} questions of {articles} articles held out (data.seed={self.config.seed})"
        if len(self._training) < len(self._parts["train"]):
            yield f"training: {len(self._training):,} of {len(self._parts['train']):,} questions (data.fraction)"

    def _leaks(self) -> Iterator[str]:
        known = {question.context for question in self._training}
        for name, (questions, _) in self._files.items():
            leaked = sum(question.context in known for question in questions)
            if name != "train" and leaked:
                yield f"{name}: {leaked:,} questions are about a text that is also trained on: {OPTIMISTIC}"

    @property
    def _paths(self) -> dict[str, Path]:
        """Of the sets that have a file."""
        files = {name: getattr(self.config, name) for name in SETS}
        return {name: data_path(file, self.config.folder) for name, file in files.items() if file is not None}


def trainable(question: Question) -> bool:
    """Whether it has a span to point to, or is known to have none."""
    return not question.answers or question.target is not None


def split_by_article(
    questions: Sequence[Question], sizes: dict[str, int | None], seed: int
) -> dict[str, list[Question]]:
    """Takes sets of whole articles out of the training questions, which are `train` in the result.

    Args:
        questions: what there is.
        sizes: questions of each set, at least; None: one in 20, at most 1000.
        seed: picks the articles.

    Raises UserError when nothing would be left to train on.
    """
    articles: dict[str, list[Question]] = {}
    for question in questions:
        articles.setdefault(question.article, []).append(question)
    titles = sorted(articles, key=lambda title: fingerprint(title, seed), reverse=True)
    chosen = take_units({title: len(articles[title]) for title in titles}, sizes_of(len(questions), sizes))
    parts = {
        name: [question for title in taken for question in articles[title]]
        for name, taken in zip(sizes, chosen, strict=True)
    }
    left = set(titles).difference(*chosen)
    parts["train"] = [question for question in questions if question.article in left]
    if not parts["train"]:
        wanted = [
            f"{size:,} (data.{name}_size)" for name, size in zip(sizes, sizes_of(len(questions), sizes), strict=True)
        ]
        raise UserError(
            f"the training file has {len(questions):,} questions of {len(articles)} articles, too few to hold out "
            f"whole articles with {', '.join(wanted)}: lower these, or name files for data.validation and data.test"
        )
    return parts


def read_squad(path: Path, config: ReadingConfig = DEFAULT) -> tuple[list[Question], QuestionFaults]:
    """The questions of a file, `.gz`, `.xz` or `.zst` perhaps, and what is wrong with some.

    A file may also have a record for each question, with a `context` of its own, as the library `datasets` keeps them:
    in `data`, in an array, or on a line each.

    Raises UserError that names file and paragraph where the layout is not that of SQuAD.
    """
    found = find(path) or path
    faults, known = QuestionFaults(), set[str]()
    questions = [
        question
        for paragraph in _paragraphs(found, config)
        for qa in paragraph.questions
        if (question := _question(qa, paragraph, faults, known)) is not None
    ]
    if not questions and not faults.ids:
        raise UserError(f"{found}: has no questions")
    return questions, faults


def asked(path: Path, config: ReadingConfig = DEFAULT) -> Iterator[tuple[str, str]]:
    """Every question of a file with its text, in order: for prediction, where neither answers nor ids play a part.

    Raises UserError as `read_squad` does.
    """
    for paragraph in _paragraphs(find(path) or path, config):
        for qa in paragraph.questions:
            yield _get(qa, "question", str, paragraph.place), paragraph.context


class _Paragraph(NamedTuple):
    place: str
    article: str
    context: str
    questions: list[Any]


def _paragraphs(path: Path, config: ReadingConfig) -> Iterator[_Paragraph]:
    if holds_lines(path, config):
        with Reading(config).faults(path) as faults:
            for number, record in read_json_lines(path, FLAT, config, faults):
                yield _flat_paragraph(record, f"{path}:{number}")
        return
    document = read_document(path, config)
    is_array = isinstance(document, list) and all(isinstance(article, dict) for article in document)
    articles = document if is_array else _get(document, "data", list, str(path))
    for number, article in enumerate(articles, start=1):
        if isinstance(article, dict) and "context" in article and "paragraphs" not in article:
            yield _flat_paragraph(article, f"{path}: record {number}")
            continue
        place = f"{path}: article {number}"
        title = _get(article, "title", str, place) if _has(article, "title") else f"article {number}"
        for index, paragraph in enumerate(_get(article, "paragraphs", list, place), start=1):
            here = f"{path}: article {number} ({quote(title)}), paragraph {index}"
            yield _Paragraph(here, title, _get(paragraph, "context", str, here), _get(paragraph, "qas", list, here))


def _flat_paragraph(record: dict[str, Any], place: str) -> _Paragraph:
    """A record that is a question with its text. Without a title the text is the article."""
    context = _get(record, "context", str, place)
    title = _get(record, "title", str, place) if _has(record, "title") else context
    if "answers" not in record:
        return _Paragraph(place, title, context, [record])
    answers = _get(record, "answers", (dict, list), place)
    if isinstance(answers, dict):
        texts, starts = _get(answers, "text", list, place), _get(answers, "answer_start", list, place)
        if len(texts) != len(starts):
            raise UserError(
                f"{place}: answers.text has {len(texts)} entries, but answers.answer_start has {len(starts)}"
            )
        answers = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    return _Paragraph(place, title, context, [{"is_impossible": not answers, **record, "answers": answers}])


def _has(record: object, key: str) -> bool:
    return isinstance(record, dict) and record.get(key) is not None


def _question(qa: object, paragraph: _Paragraph, faults: QuestionFaults, known: set[str]) -> Question | None:
    """None for a question that is left out."""
    place, context = paragraph.place, paragraph.context
    id = str(_get(qa, "id", (str, int), place))
    place = f"{place}, question {quote(id)}"
    text = _get(qa, "question", str, place)
    assert isinstance(qa, dict)
    if id in known:
        return faults.add(REPEATED, id)
    known.add(id)
    if not text.strip() or not context.strip():
        return faults.add(BLANK, id)
    if qa.get("is_impossible"):
        return Question(id, paragraph.article, text, context, ())
    answers = tuple(_span(answer, context, place, id, faults) for answer in _get(qa, "answers", list, place))
    if not any(answer.text.strip() for answer in answers):
        return faults.add(NO_ANSWER, id)
    return Question(id, paragraph.article, text, context, tuple(answer for answer in answers if answer.text.strip()))


def _span(answer: object, context: str, place: str, id: str, faults: QuestionFaults) -> Span:
    """The answer where it stands: at its `answer_start`, else at the nearest place, whole words first."""
    text, start = _get(answer, "text", str, place), _get(answer, "answer_start", int, place)
    if text and start >= 0 and context.startswith(text, start):
        return Span(text, start)
    places = list(_occurrences(text, context)) if text.strip() else []
    if not places:
        faults.add(ABSENT, id)
        return Span(text, None)
    faults.add(MOVED, id)
    whole = [place for place in places if _is_whole(context, place, place + len(text))]
    return Span(text, min(whole or places, key=lambda place: abs(place - start)))


def _occurrences(text: str, context: str) -> Iterator[int]:
    place = context.find(text)
    while place >= 0:
        yield place
        place = context.find(text, place + 1)


def _is_whole(context: str, start: int, end: int) -> bool:
    """Whether no word is cut at either end."""
    return not (context[start - 1 : start].isalnum() and context[start].isalnum()) and not (
        context[end - 1].isalnum() and context[end : end + 1].isalnum()
    )


def _get(record: object, key: str, kind: type | tuple[type, ...], place: str) -> Any:
    """A value of a JSON object; UserError when it is not there, or something else."""
    if not isinstance(record, dict):
        raise UserError(f"{place}: expected an object with {key}, found {_shown(record)}")
    if key not in record:
        raise UserError(f"{place}: has no {key}; the layout is that of SQuAD 1.1 or 2.0")
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{place}: {key} is {_shown(value)}, which is no {_NAMES.get(kind, 'text')}")
    if isinstance(value, str) and (fault := text_fault(value)):
        raise UserError(f"{place}: {key} {fault}")
    return value


def _shown(value: object) -> str:
    return quote(json.dumps(value), 60)


_NAMES: dict[object, str] = {list: "list", str: "text", int: "number", (dict, list): "list"}

FLAT = ("id", "context", "question", "answers")
"""Keys of a record that is a question with its text."""
