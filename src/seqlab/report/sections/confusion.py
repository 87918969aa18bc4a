"""Which classes are taken for which? A confusion matrix as a picture: true classes in rows, predicted in columns."""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from seqlab.report import wording

LARGEST_CELL, SMALLEST_CELL = 42, 9
"""Sides of a field: of few classes, and of very many."""

SIDE = 720
"""Of the whole matrix, where the fields are neither largest nor smallest."""

FONT, SMALLEST_FONT, SMALLEST_NUMBER, LETTER = 13.0, 7.0, 6.0, 0.58
"""Sizes of labels and numbers, which are left out where they were smaller; the width of a letter by its size."""

LONGEST_LABEL = 12
AXIS = 26
"""Room for the name of an axis."""

NUM_CONFUSIONS = 3


def drawing(matrix: np.ndarray, names: Sequence[str]) -> str:
    """The matrix (K, K) as one `<svg>` in the colours of the page.

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
    marks = [
        _text(left + cell * num_classes / 2, 0.55 * AXIS, "predicted", FONT, css="axis"),
        _text(0.45 * AXIS, top + cell * num_classes / 2, "true", FONT, css="axis", turned=True),
        *(_text(left - 8, top + cell * (i + 0.5), label, font, anchor="end") for i, label in enumerate(labels)),
        *(_column_label(left + cell * (i + 0.5), top - 8, label, font, is_upright) for i, label in enumerate(labels)),
        *_cells(matrix, names, cell, left, top),
    ]
    return (
        f'<svg class="plot confusion" role="img" aria-label="Confusion matrix" viewBox="0 0 {width:.1f} {height:.1f}" '
        f'style="max-width:{1.12 * width:.0f}px" xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(marks) + "\n</svg>"
    )


def confusions(matrix: np.ndarray, names: Sequence[str]) -> str:
    """`4 taken for 9 (12 times), 7 for 2 (9 times)`: the most frequent mistakes; nothing where there are none."""
    wrong = _wrong(matrix)
    order = np.argsort(-wrong, axis=None, kind="stable")[:NUM_CONFUSIONS]
    found = [(*divmod(int(place), len(names)), int(wrong.flat[place])) for place in order if wrong.flat[place]]
    return ", ".join(
        f"{names[true]} {'for' if turn else 'taken for'} {names[predicted]} ({wording.counted(count, 'time')})"
        for turn, (true, predicted, count) in enumerate(found)
    )


def _cells(matrix: np.ndarray, names: Sequence[str], cell: float, left: float, top: float) -> Iterator[str]:
    """A faint ground, and on it a field for every count that is not 0."""
    side = cell * len(names)
    yield f'<rect class="ground" x="{left:.1f}" y="{top:.1f}" width="{side:.1f}" height="{side:.1f}"/>'
    most_wrong, totals = max(int(_wrong(matrix).max()), 1), matrix.sum(1)
    font = min(FONT, (cell - 4) / (LETTER * len(f"{matrix.max():,}")))
    gap = min(2.0, cell / 10)
    for true, predicted in np.argwhere(matrix):
        count, share = int(matrix[true, predicted]), matrix[true, predicted] / totals[true]
        x, y = left + cell * predicted, top + cell * true
        is_right = true == predicted
        strength = 0.9 * share if is_right else 0.1 + 0.7 * count / most_wrong
        title = f"true {names[true]}, predicted {names[predicted]}: {count:,} ({wording.per_cent(share)})"
        yield (
            f'<rect x="{x + gap / 2:.1f}" y="{y + gap / 2:.1f}" width="{cell - gap:.1f}" height="{cell - gap:.1f}" '
            f'fill="var(--{"accent" if is_right else "bad"})" fill-opacity="{strength:.2f}">'
            f"<title>{escape(title)}</title></rect>"
        )
        if font >= SMALLEST_NUMBER:
            yield _text(x + cell / 2, y + cell / 2, f"{count:,}", font, css="strong" if strength > 0.6 else "")


def _wrong(matrix: np.ndarray) -> np.ndarray:
    return matrix - np.diag(np.diagonal(matrix))


def _column_label(x: float, y: float, label: str, font: float, is_upright: bool) -> str:
    if is_upright:
        return _text(x, y - font / 2, label, font)
    return _text(x, y, label, font, anchor="start", turned=True)


def _text(
    x: float, y: float, text: str, size: float, *, anchor: str = "middle", css: str = "", turned: bool = False
) -> str:
    """A text around the height `y`; `turned` ones are read from below."""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    name = f' class="{css}"' if css else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" text-anchor="{anchor}" '
        f'dominant-baseline="central"{name}{turn}>{escape(text)}</text>'
    )
