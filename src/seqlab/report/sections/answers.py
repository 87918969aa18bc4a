"""What did the model answer, on the way and in the end? Source, target and prediction beside each other on a page."""

from collections.abc import Callable, Sequence
from html import escape

from seqlab.report import markup, wording
from seqlab.report.folder import Prediction, RunRecord
from seqlab.report.sections import samples
from seqlab.report.sections.samples import Piece

NUM_ANSWERS, NUM_TRANSLATIONS = 5, 4
"""Cards in each group: answers stand in columns, translations in two rows."""

NUM_ON_THE_WAY = 6


def on_the_way(record: RunRecord) -> str:
    """How the answer to one validation example changed while the model was learning."""
    answers = samples.on_the_way(record, NUM_ON_THE_WAY)
    if not answers:
        return ""
    first = answers[0][1]
    lines = [_line("source", escape(first.source)), _line("target", escape(first.target))]
    for step, answer in answers:
        _, predicted = samples.differences(answer.target, answer.predicted, by_words=record.compares_words)
        lines.append(_line(f"update {step:,}", _marked(predicted)))
    css = "course prose" if record.compares_words else "course"
    return f'<h3>On the way</h3>\n<div class="{css}"><div class="sample"><dl>{"".join(lines)}</dl></div></div>'


def section(record: RunRecord) -> str:
    """The part of a page with the best, the worst and random test answers, and those that repeat themselves."""
    if not record.predictions:
        return ""
    groups = _translations(record.predictions) if record.is_translation else _answers(record.predictions)
    unit = "Words" if record.is_translation else "Characters"
    return markup.section(
        "What it answers",
        markup.paragraph(f"{unit} that differ are marked; answers are from the test examples.", "note"),
        markup.block("answers prose" if record.is_translation else "answers", *groups),
    )


def _answers(predictions: Sequence[Prediction]) -> list[str]:
    choice = samples.choose(predictions, NUM_ANSWERS, translations=False)
    return [
        _group("Best", "Nearest to the target, and sure of it.", choice.best, _answer),
        _group("Worst", "Furthest from the target, and sure of it.", choice.worst, _answer),
        _group("At random", "What to expect of the next question.", choice.drawn, _answer),
    ]


def _translations(predictions: Sequence[Prediction]) -> list[str]:
    choice = samples.choose(predictions, NUM_TRANSLATIONS, translations=True)
    number = len(samples.repeating(predictions))
    stuck = f"{wording.counted(number, 'translation')} with a phrase three times in a row, marked here."
    return [
        _group("Best", "Nearest to the target by chrF, long ones first.", choice.best, _translation),
        _group("Worst", "Furthest from the target by chrF.", choice.worst, _translation),
        _group("At random", "What to expect of the next sentence.", choice.drawn, _translation),
        _group("Repeating itself", stuck, choice.repeating, _repetition),
    ]


def _group(heading: str, caption: str, predictions: Sequence[Prediction], card: Callable[[Prediction], str]) -> str:
    if not predictions:
        return ""
    cards = markup.block("cards", *map(card, predictions))
    return f"<div>\n<h3>{heading}</h3>\n{markup.paragraph(caption, 'note')}\n{cards}\n</div>"


def _answer(prediction: Prediction) -> str:
    target, predicted = samples.differences(prediction.target, prediction.predicted, by_words=False)
    return _card(prediction, "right" if prediction.correct else "wrong", target, predicted)


def _translation(prediction: Prediction) -> str:
    target, predicted = samples.differences(prediction.target, prediction.predicted, by_words=True)
    heading = f"chrF {samples.chrf(prediction):.0f}"
    return _card(prediction, "right" if prediction.correct else "", target, predicted, heading)


def _repetition(prediction: Prediction) -> str:
    target = [Piece(prediction.target, marked=False)]
    return _card(prediction, "wrong", target, samples.repetitions(prediction.predicted))


def _card(prediction: Prediction, css: str, target: list[Piece], predicted: list[Piece], heading: str = "") -> str:
    lines = [
        _line("source", escape(prediction.source)),
        _line("target", _marked(target)),
        _line("predicted", _marked(predicted)),
    ]
    title = f"<h4>{escape(heading)}</h4>" if heading else ""
    return f'<div class="{f"sample {css}".strip()}">{title}<dl>{"".join(lines)}</dl></div>'


def _line(name: str, content: str) -> str:
    return f"<div><dt>{name}</dt><dd>{content}</dd></div>"


def _marked(pieces: list[Piece]) -> str:
    text = "".join(f"<mark>{escape(text)}</mark>" if marked else escape(text) for text, marked in pieces)
    return text or '<i class="empty">nothing</i>'
