"""How well are the classes told apart? Scores class by class, what is taken for what, and mistakes as pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from seqlab.config.settings import Tree
from seqlab.errors import UserError
from seqlab.metrics.classification import AVERAGES, class_table, confusion_matrix
from seqlab.report import markup, wording
from seqlab.report.folder import RunRecord
from seqlab.report.sections import confusion
from seqlab.report.sections.picture import image

BESIDE = 14
"""Classes of which the table and the matrix stand beside each other; of more, the table opens on a click."""


Pixels = list[list[int]]
"""(H, W), shades from 0, black, to 255, white."""


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for another class; `row` is its number among the test images, from 0."""

    row: int
    pixels: Pixels
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Orders:
    """An image with its pixels in their places, and in those of the permutation."""

    label: str
    sequential: Pixels
    permuted: Pixels


@dataclass(frozen=True)
class Pictures:
    """What `pictures.json` holds."""

    height: int
    width: int
    mistakes: list[Mistake]
    """the surest first"""
    orders: list[Orders]


class Confusion(NamedTuple):
    """The matrix (K, K) of the K classes that are true or predicted anywhere, with their names."""

    matrix: np.ndarray
    names: list[str]


def section(record: RunRecord) -> str:
    """The parts of a page that show a classification run; nothing of a run without predicted classes."""
    if not record.label_predictions:
        return ""
    found = confusion_of([(line.label, line.predicted) for line in record.label_predictions])
    pictures = load_pictures(record.folder.exhibit("pictures"))
    parts = [classes_section(found)]
    if pictures is not None:
        parts += [mistakes_section(pictures, found), orders_section(pictures, record.config.get("data", {}))]
    return "\n".join(part for part in parts if part)


def load_pictures(path: Path) -> Pictures | None:
    """The pictures of a run; None where it has none. UserError when the file is damaged."""
    if not path.is_file():
        return None
    try:
        return TypeAdapter(Pictures).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: damaged ({place}: {first['msg']}): delete it to do without") from None


def confusion_of(labels: Sequence[tuple[str, str]]) -> Confusion:
    """Counts what was taken for what, from (true, predicted) names.

    Classes that are numbers stand in their order, others in that of the alphabet.
    """
    names = sorted({name for pair in labels for name in pair}, key=_place)
    numbers = {name: number for number, name in enumerate(names)}
    true, predicted = np.array([[numbers[name] for name in pair] for pair in labels]).T
    return Confusion(confusion_matrix(true, predicted, len(names)), names)


def classes_section(found: Confusion) -> str:
    """The table of the classes and the confusion matrix."""
    note = (
        "Precision: of the examples predicted to be of a class, the share that is. Recall: of the examples of a class, "
        "the share that was found. F1 is their harmonic mean, support the number of examples."
    )
    heading, figure, table = "Scores of each class", _confusion_figure(found), _class_table(found)
    if len(found.names) <= BESIDE:
        content = markup.block("classes beside", f"<div>\n<h3>{heading}</h3>\n{table}\n</div>", figure)
    else:
        preview = f"{len(found.names)} classes"
        content = markup.block("classes", figure, markup.details(heading, preview, table))
    return markup.section("Class by class", markup.paragraph(note, "note"), content)


def mistakes_section(pictures: Pictures, found: Confusion) -> str:
    """The mistakes that the model was surest of."""
    total = int(found.matrix.sum())
    wrong = total - int(np.trace(found.matrix))
    if not pictures.mistakes:
        return ""
    note = (
        f"{wording.counted(wrong, 'mistake')} in {total:,} test examples; these are the ones the model was surest of, "
        "with the probability that it gave to what it took them for."
    )
    cards = [_mistake(mistake) for mistake in pictures.mistakes]
    return markup.section("Sure and wrong", markup.paragraph(note, "note"), markup.block("pictures", *cards))


def orders_section(pictures: Pictures, data: Tree) -> str:
    """An image of each class as it is and permuted; `data` is that table of the config, which says what was read."""
    if not pictures.orders:
        return ""
    by_rows = data.get("by") == "rows"
    steps = f"{pictures.height} steps of {pictures.width}" if by_rows else f"{pictures.height * pictures.width:,} steps"
    permuted = data.get("order") == "permuted"
    note = (
        "Above, the pixels in their order; below, in the places that the permutation gives them, the same in every "
        f"image. This run read the {'lower' if permuted else 'upper'} ones, "
        f"{'row by row' if by_rows else 'pixel by pixel'}, in {steps}."
    )
    cards = [_orders(orders) for orders in pictures.orders]
    return markup.section("What it reads", markup.paragraph(note, "note"), markup.block("pictures orders", *cards))


def _class_table(found: Confusion) -> str:
    rows: list[Iterable[str]] = []
    for row in class_table(found.matrix, found.names):
        cells = [escape(row.name), *(f"{score:.3f}" for score in row[1:4]), f"{row.support:,}"]
        rows.append([f"<b>{cell}</b>" for cell in cells] if row.name in AVERAGES else cells)
    return markup.block("measures", markup.table(["class", "precision", "recall", "F1", "support"], map(list, rows)))


def _confusion_figure(found: Confusion) -> str:
    frequent = confusion.confusions(found.matrix, found.names)
    caption = "A row is a true class, a column what it was taken for: right on the diagonal, mistakes beside it. "
    caption += f"Most frequent: {frequent}." if frequent else "There are no mistakes."
    svg = confusion.drawing(found.matrix, found.names)
    return f"<figure>\n<h3>Confusion matrix</h3>\n{svg}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def _mistake(mistake: Mistake) -> str:
    picture = image(mistake.pixels, f"Image {mistake.row}, of class {mistake.label}")
    words = f"<b>{escape(mistake.label)}</b> taken for <b>{escape(mistake.predicted)}</b>"
    sure = f"<span>{wording.per_cent(mistake.probability, digits=2)}</span> <span>image {mistake.row:,}</span>"
    return f"<figure>\n{picture}\n<figcaption>{words}<br>{sure}</figcaption>\n</figure>"


def _orders(orders: Orders) -> str:
    above = image(orders.sequential, f"{orders.label}, in order")
    below = image(orders.permuted, f"{orders.label}, permuted")
    return f"<figure>\n{above}\n{below}\n<figcaption>{escape(orders.label)}</figcaption>\n</figure>"


def _place(name: str) -> tuple[bool, int, str]:
    """Numbers before words, by their value."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)
