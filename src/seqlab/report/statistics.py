"""How much data is there, and how long is it? Tables, histograms for the terminal, and figures.

Splits are given as `{"train-easy": [(source, target), ...]}`; lengths are counted in characters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from seqlab.report import markup
from seqlab.report.drawing import SERIES, Plot, canvas

Splits = Mapping[str, Sequence[tuple[str, str]]]

SIDES = ("source", "target")

BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class SplitLengths:
    """The size of one split, in characters."""

    split: str
    examples: int
    characters: int
    """of sources and targets together"""
    distinct_characters: int
    """how many different ones"""
    mean_source: float
    max_source: int
    mean_target: float
    max_target: int


def describe_lengths(splits: Splits) -> list[SplitLengths]:
    """One row a split, in the order given; an empty split has zeros."""
    return [_describe(name, examples) for name, examples in splits.items()]


def lengths_table(splits: Splits) -> Table:
    """The table of the data set for a terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("split", no_wrap=True)
    # The long titles stand on two lines, so that the table fits into 80 columns.
    titles = ("examples", "characters", "distinct", "mean\nsource", "max\nsource", "mean\ntarget", "max\ntarget")
    for title in titles:
        table.add_column(title, justify="right")
    for row in describe_lengths(splits):
        table.add_row(
            Text(row.split),
            f"{row.examples:,}",
            f"{row.characters:,}",
            f"{row.distinct_characters:,}",
            f"{row.mean_source:.1f}",
            f"{row.max_source:,}",
            f"{row.mean_target:.1f}",
            f"{row.max_target:,}",
        )
    return table


def length_histograms(splits: Splits, width: int = 32) -> Table:
    """One line of blocks a split and side; the bins of a side are the same for every split."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title, justify in (("length of", "left"), ("split", "left"), ("from", "right"), ("", "left"), ("to", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for side in range(len(SIDES)):
        longest = max((len(example[side]) for examples in splits.values() for example in examples), default=0)
        for name, examples in splits.items():
            bars = text_histogram([len(example[side]) for example in examples], longest, width)
            table.add_row(SIDES[side], Text(name), "0", Text(bars, style="cyan"), f"{longest:,}")
    return table


def text_histogram(lengths: Sequence[int], longest: int, width: int = 32) -> str:
    """Counts of 0..`longest` in at most `width` equally wide bins, as blocks; whatever is not empty can be seen."""
    bin_width = max(-(-(longest + 1) // width), 1)
    bins = -(-(longest + 1) // bin_width)
    counts = np.bincount(np.asarray(lengths, dtype=np.int64) // bin_width, minlength=bins)
    tops = np.ceil(counts / max(counts.max(initial=0), 1) * (len(BLOCKS) - 1)).astype(int)
    return "".join(BLOCKS[top] for top in tops)


def length_plots(splits: Splits) -> list[Plot]:
    """The distribution of the lengths of each side, one curve a split."""
    return [
        _length_plot(side, {name: [len(e[side]) for e in examples] for name, examples in splits.items()})
        for side in range(2)
    ]


def write_page(title: str, splits: Splits, path: Path) -> Path:
    """Table and length histograms as an offline page. Raises UserError when the place cannot be written."""
    head = ("split", "examples", "characters", "mean source", "max source", "mean target", "max target")
    rows = [
        (
            row.split,
            f"{row.examples:,}",
            f"{row.characters:,}",
            f"{row.mean_source:.1f}",
            f"{row.max_source:,}",
            f"{row.mean_target:.1f}",
            f"{row.max_target:,}",
        )
        for row in describe_lengths(splits)
    ]
    header = f"<header>\n<h1>{escape(title)}</h1>\n{markup.paragraph('The data, by split', 'lede')}\n</header>"
    sizes = markup.section("Sizes, in characters", markup.table(head, rows))
    plots = markup.section("Lengths", markup.figures(length_plots(splits), "large"))
    return markup.save_page(path, title, header + sizes + plots)


def _describe(name: str, examples: Sequence[tuple[str, str]]) -> SplitLengths:
    sources, targets = ([len(example[side]) for example in examples] for side in range(len(SIDES)))
    return SplitLengths(
        split=name,
        examples=len(examples),
        characters=sum(sources) + sum(targets),
        distinct_characters=len({character for example in examples for text in example for character in text}),
        mean_source=sum(sources) / max(len(sources), 1),
        max_source=max(sources, default=0),
        mean_target=sum(targets) / max(len(targets), 1),
        max_target=max(targets, default=0),
    )


def _length_plot(side: int, lengths: Mapping[str, list[int]]) -> Plot:
    title = f"{SIDES[side].capitalize()} length"
    longest = max((max(values, default=0) for values in lengths.values()), default=0)
    edges = np.arange(0, longest + 2, max(-(-(longest + 1) // 40), 1))
    edges = edges if edges[-1] > longest else np.append(edges, longest + 1)
    with canvas(f"{SIDES[side]}-length") as drawing:
        for index, (name, values) in enumerate(lengths.items()):
            counts, _ = np.histogram(values, edges)
            share = counts / max(len(values), 1)
            drawing.axes.stairs(share, edges, color=SERIES[index % len(SERIES)], linewidth=1.3, label=name, gid=name)
        drawing.axes.set_xlabel("characters")
        drawing.axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
        caption = "Splits whose curves lie apart differ in length: a model may know one and not the other."
        return Plot(title, caption, drawing.svg(f"Distribution of the {SIDES[side]} length"))
