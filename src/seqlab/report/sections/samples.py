"""Test samples worth reading: where predictions are wrong, and how one changed during training."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from seqlab.metrics.chrf import sentence_scores
from seqlab.metrics.warnings import repeated_ngram
from seqlab.report import wording
from seqlab.report.folder import AnyPrediction, RunRecord
from seqlab.runs.schema import LabelPrediction, TextPrediction

WORD = re.compile(r"\w+|[^\w\s]")
"""What is marked as a whole in a translation: a word, or a punctuation mark."""

NUM_ANSWERS, NUM_TRANSLATIONS = 5, 4
"""Cards in each group: short outputs stand in columns, translations in two rows."""

NUM_ON_THE_WAY = 6


class Piece(NamedTuple):
    """A stretch of text; a marked one is what the reader should look at."""

    text: str
    marked: bool


class Card(NamedTuple):
    """One sample on a page: a line each for the source, the target and what was predicted."""

    lines: list[tuple[str, list[Piece]]]
    css: str = ""
    heading: str = ""


class SampleGroup(NamedTuple):
    """Answers of one kind."""

    heading: str
    caption: str
    cards: list[Card]


class SampleChoice(NamedTuple):
    """Samples to read; none is in two lists."""

    best: list[TextPrediction]
    worst: list[TextPrediction]
    drawn: list[TextPrediction]
    repeating: list[TextPrediction]


# Page


def section(record: RunRecord) -> dict[str, Any] | None:
    """Test predictions beside their targets; None without any, and where a task marks them in `answers.json`."""
    if not record.predictions or record.folder.artifact("answers").is_file():
        return None
    groups = _translations(record.predictions) if record.writes_prose else _short_outputs(record)
    return {
        "groups": [group for group in groups if group.cards],
        "unit": "Words" if compares_words(record) else "Characters",
        "is_prose": record.writes_prose,
    }


def course(record: RunRecord) -> Card | None:
    """How the prediction for one validation example changed while the model was learning."""
    samples = on_the_way(record, NUM_ON_THE_WAY)
    if not samples:
        return None
    by_words, first = compares_words(record), samples[0][1]
    lines = [("source", _plain(first.source)), ("target", _plain(first.target))]
    for step, sample in samples:
        _, predicted = differences(sample.target, sample.predicted, by_words=by_words)
        lines.append((f"update {step:,}", predicted))
    return Card(lines)


def compares_words(record: RunRecord) -> bool:
    """Whether outputs differ by words, not by characters."""
    return record.writes_prose or record.finds_passages


def _short_outputs(record: RunRecord) -> list[SampleGroup]:
    choice = choose(record.predictions, NUM_ANSWERS, translations=False)
    by_words = compares_words(record)

    def cards(predictions: Sequence[TextPrediction]) -> list[Card]:
        return [_card(each, "right" if each.correct else "wrong", by_words=by_words) for each in predictions]

    return [
        SampleGroup("Best", "Nearest to the target, and sure of it.", cards(choice.best)),
        SampleGroup("Worst", "Furthest from the target, and sure of it.", cards(choice.worst)),
        SampleGroup("At random", "What to expect of the next question.", cards(choice.drawn)),
    ]


def _translations(predictions: Sequence[TextPrediction]) -> list[SampleGroup]:
    choice = choose(predictions, NUM_TRANSLATIONS, translations=True)

    def cards(predictions: Sequence[TextPrediction]) -> list[Card]:
        return [
            _card(each, "right" if each.correct else "", by_words=True, heading=f"chrF {chrf(each):.0f}")
            for each in predictions
        ]

    stuck = f"{wording.counted(len(repeating(predictions)), 'translation')} with a phrase three times in a row"
    return [
        SampleGroup("Best", "Nearest to the target by chrF, long ones first.", cards(choice.best)),
        SampleGroup("Worst", "Furthest from the target by chrF.", cards(choice.worst)),
        SampleGroup("At random", "What to expect of the next sentence.", cards(choice.drawn)),
        SampleGroup("Repeating itself", f"{stuck}, marked here.", [_repetition(each) for each in choice.repeating]),
    ]


def _card(prediction: TextPrediction, css: str, *, by_words: bool, heading: str = "") -> Card:
    target, predicted = differences(prediction.target, prediction.predicted, by_words=by_words)
    lines = [("source", _plain(prediction.source)), ("target", target), ("predicted", predicted)]
    return Card(lines, css, heading)


def _repetition(prediction: TextPrediction) -> Card:
    source, target = _plain(prediction.source), _plain(prediction.target)
    return Card([("source", source), ("target", target), ("predicted", repetitions(prediction.predicted))], "wrong")


def _plain(text: str) -> list[Piece]:
    return [Piece(text, marked=False)]


# Choice and differences


def choose(predictions: Sequence[TextPrediction], n: int, *, translations: bool, seed: int = 0) -> SampleChoice:
    """The `n` best, the `n` worst and `n` at random; fewer of each when there are few.

    Good is what resembles its target. Among equal translations the longer ones are better: they are harder. Among
    other equals right ones that the model was sure of, and wrong ones that it was not sure of.

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
    return SampleChoice(best, worst, drawn, stuck)


def draw(predictions: Sequence[AnyPrediction], n: int, seed: int = 0) -> list[AnyPrediction]:
    """`n` samples at random, all of them when there are fewer, in their order in the file."""
    return [
        predictions[i] for i in sorted(random.Random(seed).sample(range(len(predictions)), min(n, len(predictions))))
    ]


def repeating(predictions: Sequence[TextPrediction]) -> list[TextPrediction]:
    """Answers with a phrase three times in a row where their target has none: `petite petite petite`."""
    return [p for p in predictions if repeated_ngram(p.predicted) and not repeated_ngram(p.target)]


def chrf(prediction: TextPrediction) -> float:
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
    """The text, every phrase that follows itself marked as long as it lasts."""
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


def on_the_way(record: RunRecord, n: int) -> list[tuple[int, TextPrediction]]:
    """`n` predictions for the example that was shown most often, as (step, sample).

    They are from the whole length of training, the first and the last among them.
    """
    samples = list(record.of_kind("sample"))
    if not samples:
        return []
    source = Counter(str(sample["source"]) for sample in samples).most_common(1)[0][0]
    asked = [sample for sample in samples if sample["source"] == source]
    by_step = {sample["step"]: (str(sample["target"]), str(sample["predicted"])) for sample in asked}
    rows = [
        (step, TextPrediction(source, target, predicted, target == predicted, 0.0))
        for step, (target, predicted) in by_step.items()
    ]
    if len(rows) <= n:
        return rows
    return [rows[round(i * (len(rows) - 1) / (n - 1))] for i in range(n)]


def _likeness_of_translations(predictions: Sequence[TextPrediction]) -> list[tuple[float, float]]:
    scores = sentence_scores([p.predicted for p in predictions], [p.target for p in predictions])
    return [(score, len(p.target)) for score, p in zip(scores, predictions, strict=True)]


def _likeness(prediction: TextPrediction) -> tuple[float, float]:
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


# Terminal


def samples_table(record: RunRecord, n: int) -> Table:
    """`n` test examples drawn at random, with what was predicted; what is wrong stands out. None of images."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    classified = [row for row in record.label_predictions if row.source is not None]
    if not (classified or record.predictions):
        return table
    for title in ("source", "target", "predicted", ""):
        table.add_column(title, overflow="fold")
    for row in draw(classified, n):
        sure = wording.per_cent(row.probability)
        table.add_row(Text(row.source or ""), Text(row.label), Text(f"{row.predicted} ({sure})"), _right(row))
    by_words = compares_words(record)
    for prediction in draw(record.predictions, n):
        _, pieces = differences(prediction.target, prediction.predicted, by_words=by_words)
        predicted = Text.assemble(*((text, "bold red" if marked else "") for text, marked in pieces))
        table.add_row(Text(prediction.source), Text(prediction.target), predicted, _verdict(record, prediction))
    return table


def _verdict(record: RunRecord, prediction: TextPrediction) -> Text:
    if record.writes_prose:
        return Text(f"chrF {chrf(prediction):.0f}")
    if prediction.f1 and not prediction.correct:
        return Text(f"F1 {wording.per_cent(prediction.f1, digits=0)}")
    return _right(prediction)


def _right(prediction: TextPrediction | LabelPrediction) -> Text:
    return Text("right", style="green") if prediction.correct else Text("wrong", style="red")
