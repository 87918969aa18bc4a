"""Scores by class, confusion matrix, examples, and misclassified pictures."""

import io
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqlab.config.settings import Tree
from seqlab.metrics.classification import AVERAGES, class_table, confusion_matrix
from seqlab.report import wording
from seqlab.report.figures import GRID, INK, SERIES, Plot, canvas, thin
from seqlab.report.folder import Curve, RunRecord
from seqlab.runs.schema import Classified, Mistake, Pictures, Pixels

BESIDE = 14
"""Classes of which the table and the matrix stand beside each other; of more, the table opens on a click."""

NUM_CONFUSIONS = 3
"""Of the most frequent mistakes, which are named."""

MAX_BARS = 120
"""Correlations of more batches than this are a line."""


class Confusion(NamedTuple):
    """The matrix (K, K) of the K classes that are true or predicted anywhere, with their names."""

    matrix: np.ndarray
    names: list[str]


class Sentence(NamedTuple):
    """A text, or several, and its classes by name."""

    texts: list[str]
    classes: dict[str, str]
    correct: bool


def section(record: RunRecord) -> dict[str, Any] | None:
    """What a run has of classes: texts, correlations of batches, the classes themselves, pictures; None without any.

    Raises UserError when `sentences.json` or `pictures.json` is damaged.
    """
    sentences = record.artifact("sentences", list[Classified]) or []
    pictures = record.artifact("pictures", Pictures)
    batches = (record.results or {}).get("batch_matthews", [])
    whole = next((score.value for score in record.scores if score.name == "matthews"), None)
    found = confusion_of([(row.label, row.predicted) for row in record.label_predictions])
    parts = {
        "sentences": [_sentence(shown) for shown in sentences],
        "batches": [batch_correlations(batches, whole)] if len(batches) > 1 else [],
        "classes": _classes(found) if found else None,
        "mistakes": _mistakes(pictures, found) if pictures and found else None,
        "orders": _orders(pictures, record.config.get("data", {})) if pictures else None,
    }
    return parts if any(parts.values()) else None


# Examples


def _sentence(shown: Classified) -> Sentence:
    predicted = f"{shown.predicted} ({wording.per_cent(shown.probability)})"
    return Sentence(shown.source.split("\t"), {"class": shown.label, "predicted": predicted}, shown.correct)


def batch_correlations(values: Sequence[float], whole: float | None) -> Plot:
    """The Matthews correlation of every batch of test examples, and as a line that of all of them."""
    numbers = [float(number) for number in range(1, len(values) + 1)]
    with canvas("batch-matthews") as drawing:
        axes = drawing.axes
        if len(values) <= MAX_BARS:
            axes.bar(numbers, list(values), color=SERIES[0], alpha=0.6, gid="batches")
        else:
            axes.plot(*thin(Curve(numbers, list(values))), color=SERIES[0], linewidth=0.8, gid="batches")
        axes.axhline(0, color=GRID, linewidth=1)
        if whole is not None:
            axes.axhline(whole, color=INK, linewidth=1, linestyle=(0, (4, 3)), gid="all")
        axes.set_ylim(min(0, *values) - 0.02, 1.02)
        axes.set_xlim(0.4, len(values) + 0.6)
        axes.set_xlabel("batch of the test set")
        line = "" if whole is None else f" The dashed line is that of all examples, {wording.number(whole)}."
        caption = (
            f"Of 32 examples each, in the order of the file; 1 is perfect.{line} So few examples say little, and "
            "the mean of the bars is not the line. Always naming the most frequent class reaches 0."
        )
        return Plot("Matthews correlation batch by batch", caption, drawing.svg("Correlation against batch"))


# Classes


class AxisLabel(NamedTuple):
    """A text of the matrix around its height; turned ones are read from below."""

    x: float
    y: float
    text: str
    size: float
    anchor: str = "middle"
    css: str = ""
    turned: bool = False


class Field(NamedTuple):
    """A square of the matrix."""

    x: float
    y: float
    side: float
    colour: str
    opacity: float
    title: str


class Drawing(NamedTuple):
    """A confusion matrix, ready to be drawn: sizes of the whole, its ground, and what stands on it."""

    width: float
    height: float
    ground: tuple[float, float, float]
    """left, top, side"""
    fields: list[Field]
    labels: list[AxisLabel]


def confusion_of(labels: Sequence[tuple[str, str]]) -> Confusion | None:
    """Counts what was taken for what, from (true, predicted) names; None of none.

    Classes that are numbers stand in their order, others in that of the alphabet.
    """
    if not labels:
        return None
    names = sorted({name for pair in labels for name in pair}, key=_place)
    numbers = {name: number for number, name in enumerate(names)}
    true, predicted = np.array([[numbers[name] for name in pair] for pair in labels]).T
    return Confusion(confusion_matrix(true, predicted, len(names)), names)


def _classes(found: Confusion) -> dict[str, Any]:
    rows = class_table(found.matrix, found.names)
    return {
        "table": [[row.name, *(f"{score:.3f}" for score in row[1:4]), f"{row.support:,}"] for row in rows],
        "averages": AVERAGES,
        "drawing": matrix_drawing(found.matrix, found.names),
        "frequent": confusions(found.matrix, found.names),
        "beside": len(found.names) <= BESIDE,
        "count": len(found.names),
    }


def _place(name: str) -> tuple[bool, int, str]:
    """Numbers before words, by their value."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def confusions(matrix: np.ndarray, names: Sequence[str]) -> str:
    """`4 taken for 9 (12 times), 7 for 2 (9 times)`: the most frequent mistakes; nothing where there are none."""
    wrong = _wrong(matrix)
    order = np.argsort(-wrong, axis=None, kind="stable")[:NUM_CONFUSIONS]
    found = [(*divmod(int(place), len(names)), int(wrong.flat[place])) for place in order if wrong.flat[place]]
    return ", ".join(
        f"{names[true]} {'for' if turn else 'taken for'} {names[predicted]} ({wording.counted(count, 'time')})"
        for turn, (true, predicted, count) in enumerate(found)
    )


# The confusion matrix as a picture: true classes in rows, predicted in columns

LARGEST_CELL, SMALLEST_CELL = 42, 9
"""Sides of a field: of few classes, and of very many."""

SIDE = 720
"""Of the whole matrix, where the fields are neither largest nor smallest."""

FONT, SMALLEST_FONT, SMALLEST_NUMBER, LETTER = 13.0, 7.0, 6.0, 0.58
"""Sizes of labels and numbers, which are left out where they were smaller; the width of a letter by its size."""

LONGEST_LABEL = 12
AXIS = 26
"""Room for the name of an axis."""


def matrix_drawing(matrix: np.ndarray, names: Sequence[str]) -> Drawing:
    """The matrix (K, K) in the colours of the page.

    The diagonal is the stronger the larger the share of its row; mistakes have a scale of their own, as they are few
    where a model is good. Counts are numbers as long as they are legible, and titles of the fields in any case.
    """
    num_classes = len(names)
    cell = min(max(SIDE / num_classes, SMALLEST_CELL), LARGEST_CELL)
    font = max(min(FONT, 0.8 * cell), SMALLEST_FONT)
    labels = [name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…" for name in names]
    longest = max(map(len, labels)) * LETTER * font
    left, is_upright = AXIS + longest + 8, longest < cell
    top = AXIS + (1.3 * font if is_upright else longest) + 8
    width, height = left + cell * num_classes, top + cell * num_classes
    places = [(cell * (i + 0.5), label) for i, label in enumerate(labels)]
    marks = [
        AxisLabel(left + cell * num_classes / 2, 0.55 * AXIS, "predicted", FONT, css="axis"),
        AxisLabel(0.45 * AXIS, top + cell * num_classes / 2, "true", FONT, css="axis", turned=True),
        *(AxisLabel(left - 8, top + place, label, font, anchor="end") for place, label in places),
        *(_column_label(left + place, top - 8, label, font, is_upright) for place, label in places),
    ]
    fields = list(_fields(matrix, names, cell, left, top))
    return Drawing(
        width, height, (left, top, cell * num_classes), [f for f, _ in fields], [*marks, *(n for _, n in fields if n)]
    )


def _fields(
    matrix: np.ndarray, names: Sequence[str], cell: float, left: float, top: float
) -> Iterator[tuple[Field, AxisLabel | None]]:
    """A field for every count that is not 0, and the count as a number where it is legible."""
    most_wrong, totals = max(int(_wrong(matrix).max()), 1), matrix.sum(1)
    font = min(FONT, (cell - 4) / (LETTER * len(f"{matrix.max():,}")))
    gap = min(2.0, cell / 10)
    for true, predicted in np.argwhere(matrix):
        count, share = int(matrix[true, predicted]), matrix[true, predicted] / totals[true]
        x, y = left + cell * predicted, top + cell * true
        is_right = true == predicted
        opacity = 0.9 * share if is_right else 0.1 + 0.7 * count / most_wrong
        title = f"true {names[true]}, predicted {names[predicted]}: {count:,} ({wording.per_cent(share)})"
        colour = "accent" if is_right else "bad"
        field = Field(x + gap / 2, y + gap / 2, cell - gap, colour, opacity, title)
        css = "strong" if opacity > 0.6 else ""
        number = AxisLabel(x + cell / 2, y + cell / 2, f"{count:,}", font, css=css) if font >= SMALLEST_NUMBER else None
        yield field, number


def _wrong(matrix: np.ndarray) -> np.ndarray:
    return matrix - np.diag(np.diagonal(matrix))


def _column_label(x: float, y: float, label: str, font: float, is_upright: bool) -> AxisLabel:
    if is_upright:
        return AxisLabel(x, y - font / 2, label, font)
    return AxisLabel(x, y, label, font, anchor="start", turned=True)


# Pictures


class Picture(NamedTuple):
    """A small PNG inside the page, which the browser enlarges; `label` is what a screen reader says."""

    uri: str
    width: int
    height: int
    label: str


def picture(pixels: Pixels, label: str) -> Picture:
    """(H, W) shades from 0, black, to 255, white."""
    from PIL import Image

    shades, file = np.asarray(pixels, dtype=np.uint8), io.BytesIO()
    Image.fromarray(shades).save(file, "PNG", optimize=True)
    height, width = shades.shape
    return Picture(f"data:image/png;base64,{b64encode(file.getvalue()).decode()}", width, height, label)


def _mistakes(pictures: Pictures, found: Confusion) -> dict[str, Any] | None:
    """The mistakes that the model was surest of."""
    if not pictures.mistakes:
        return None
    total = int(found.matrix.sum())
    wrong = wording.counted(total - int(np.trace(found.matrix)), "mistake")
    return {"shown": [_mistake(mistake) for mistake in pictures.mistakes], "wrong": wrong, "total": f"{total:,}"}


def _mistake(mistake: Mistake) -> dict[str, Any]:
    return {
        "picture": picture(mistake.pixels, f"Image {mistake.row}, of class {mistake.label}"),
        "label": mistake.label,
        "predicted": mistake.predicted,
        "probability": wording.per_cent(mistake.probability, digits=2),
        "row": f"{mistake.row:,}",
    }


def _orders(pictures: Pictures, data: Tree) -> dict[str, Any] | None:
    """An image of each class as it is and permuted; `data` is that table of the config, which says what was read."""
    if not pictures.orders:
        return None
    height, width = pictures.height, pictures.width
    by_rows = data.get("by") == "rows"
    return {
        "shown": [
            (
                picture(orders.sequential, f"{orders.label}, in order"),
                picture(orders.permuted, f"{orders.label}, permuted"),
                orders.label,
            )
            for orders in pictures.orders
        ],
        "which": "lower" if data.get("order") == "permuted" else "upper",
        "by": "row by row" if by_rows else "pixel by pixel",
        "steps": f"{height} steps of {width}" if by_rows else f"{height * width:,} steps",
    }
