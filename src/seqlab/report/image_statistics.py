"""How many images of every class are in every set? A table for the terminal."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from seqlab.report import wording


def class_table(labels: Mapping[str, np.ndarray], classes: Sequence[str], height: int, width: int) -> Table:
    """Counts of every class by set, with their share of the set; within 80 columns for three sets and short names.

    Args:
        labels: the class numbers (N,) of every set, by its name.
        classes: name of every class, by its number.
        height, width: of every image, in pixels.
    """
    counts = {name: np.bincount(numbers, minlength=len(classes)) for name, numbers in labels.items()}
    caption = f"{sum(map(len, labels.values())):,} images of {height} x {width} pixels"
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        show_footer=True,
        footer_style="bold",
        caption=caption,
        caption_style="dim",
        caption_justify="left",
    )
    table.add_column("class", footer="all", overflow="fold")
    for name, numbers in labels.items():
        table.add_column(Text(name), footer=f"{len(numbers):,}", justify="right")
        table.add_column("share", justify="right", style="dim")
    for label, title in enumerate(classes):
        table.add_row(Text(title), *(cell for count in counts.values() for cell in _cells(int(count[label]), count)))
    return table


def _cells(count: int, counts: np.ndarray) -> tuple[Text | str, str]:
    total = int(counts.sum())
    # a class that a set lacks cannot be learned from it, or judged by it
    return f"{count:,}" if count else Text("none", style="yellow"), wording.per_cent(count / total if total else None)
