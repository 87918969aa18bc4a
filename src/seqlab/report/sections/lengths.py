"""Sizes and lengths of a corpus: tables and histograms, for the terminal and for a page."""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table
from rich.text import Text

from seqlab.report import wording
from seqlab.report.figures import SERIES, Plot, canvas
from seqlab.report.folder import RunRecord
from seqlab.runs.statistics import SIDES, Lengths, SplitStatistics, Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLOCKS = " ▁▂▃▄▅▆▇█"

SIZES = ("examples", "characters", "distinct", "mean\nsource", "max\nsource", "mean\ntarget", "max\ntarget")
WORDS = (
    *("words\nsource", "words\ntarget", "mean\nsource", "max\nsource", "mean\ntarget", "max\ntarget"),
    *("unknown\nsource", "unknown\ntarget"),
)
"""Titles of columns; those of a terminal stand on two lines, so that a table fits into 80 columns."""

RATIO = "target by source"


class Distribution(NamedTuple):
    """A histogram of every set over the same bins."""

    name: str
    unit: str
    edges: Sequence[float]
    counts: dict[str, list[int]]


# Terminal


def terminal_tables(statistics: Statistics) -> list[Table]:
    """Sizes and lengths of every set, in characters and in words, then the histograms; within 80 columns."""
    tables = [_terminal_table(*_kept(statistics, SIZES, _sizes))]
    if statistics.unit == "words":
        tables.append(_terminal_table(*_kept(statistics, WORDS, _words)))
    return [*tables, _histograms(statistics)]


def blocks(counts: Sequence[int]) -> str:
    """A histogram as one line of text; whatever is not empty can be seen."""
    most = max([*counts, 1])
    return "".join(BLOCKS[-(-count * (len(BLOCKS) - 1) // most)] for count in counts)


def _terminal_table(titles: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Table:
    table = _borderless()
    table.add_column("", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right")
    for name, cells in rows.items():
        table.add_row(Text(name), *cells)
    return table


def _histograms(statistics: Statistics) -> Table:
    table = _borderless()
    for title in ("length", "", "from", "", "to"):
        table.add_column(title, justify="right" if title == "from" else "left")
    for distribution in distributions(statistics):
        what = distribution.name.removesuffix(" length").removeprefix("length ")
        edges = distribution.edges
        first, last = (f"{edge:,}" if isinstance(edge, int) else f"{edge:.2g}" for edge in (edges[0], edges[-1]))
        for name, counts in distribution.counts.items():
            table.add_row(what, Text(name), first, Text(blocks(counts), style="cyan"), last)
    return table


def _borderless() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


# Page


class PageTable(NamedTuple):
    """Numbers of every set, a row each."""

    head: list[str]
    rows: list[list[str]]


def section(record: RunRecord) -> dict[str, Any] | None:
    """The data of a run; None where its numbers were not written."""
    return contents(record.data) if record.data else None


def contents(statistics: Statistics) -> dict[str, Any]:
    """What a page shows of the data."""
    tables = [
        _page_table("in characters", *_kept(statistics, (*SIZES, RATIO), lambda split: [*_sizes(split), _ratio(split)]))
    ]
    if statistics.unit == "words":
        tables.append(_page_table("in words", *_kept(statistics, WORDS, _words)))
    return {
        "remarks": statistics.remarks,
        "tables": [table for table in tables if table.rows],
        "note": _note(statistics),
        "plots": plots(statistics),
    }


def plots(statistics: Statistics) -> list[Plot]:
    """The distributions of source lengths, target lengths and length ratios, one curve a set."""
    captions = (
        "Sets whose curves lie apart differ in length: a model may do well on one and not on the other.",
        "How much there is to write; the last column holds all longer texts too.",
        "Characters of the target for each one of the source; pairs far out are often no translations of each other.",
    )
    return [_plot(found, caption) for found, caption in zip(distributions(statistics), captions, strict=False)]


def distributions(statistics: Statistics) -> list[Distribution]:
    """Source lengths, target lengths, length ratios; the first alone where texts have no target but a class."""
    splits = statistics.splits
    lengths = [
        Distribution(
            f"{SIDES[side]} length",
            statistics.unit,
            statistics.edges[side],
            {name: split.sides[side].histogram for name, split in splits.items()},
        )
        for side in range(2)
    ]
    if not _has_targets(statistics):
        return lengths[:1]
    ratios = {name: split.ratios for name, split in splits.items()}
    return [*lengths, Distribution("length ratio", RATIO, statistics.ratio_edges, ratios)]


def _has_targets(statistics: Statistics) -> bool:
    return any(split.target.characters.longest for split in statistics.splits.values())


def _kept(
    statistics: Statistics, titles: Sequence[str], cells: Callable[[SplitStatistics], Sequence[str]]
) -> tuple[list[str], dict[str, list[str]]]:
    """The columns that say something, and their cells in the row of every set: no targets, no columns of them."""
    kept = [_has_targets(statistics) or "target" not in title for title in titles]
    rows = {name: list(compress(cells(split), kept)) for name, split in statistics.splits.items()}
    return list(compress(titles, kept)), rows


def _page_table(corner: str, titles: Sequence[str], rows: Mapping[str, Sequence[str]]) -> PageTable:
    head = [corner, *(title.replace("\n", " ") for title in titles)]
    return PageTable(head, [[name, *cells] for name, cells in rows.items()])


def _note(statistics: Statistics) -> str:
    """What the numbers do not say themselves."""
    words = statistics.unit == "words"
    notes = ["Unknown words are those that no training text has, as a share of all words of a set."] if words else []
    parts = [split.counted for split in statistics.splits.values() if split.counted < split.examples]
    if parts:
        bounds = "; shares of unknown words are then upper bounds" if words else ""
        notes.append(f"Sets of more pairs are estimated from {max(parts):,} of them{bounds}.")
    return " ".join(notes)


def _plot(found: Distribution, caption: str) -> Plot:
    from matplotlib.ticker import MaxNLocator

    title = found.name.capitalize()
    with canvas(found.name, width=3.4, height=2.3) as drawing:
        axes = drawing.axes
        for index, (name, counts) in enumerate(found.counts.items()):
            share = [count / max(sum(counts), 1) for count in counts]
            colour = SERIES[index % len(SERIES)]
            axes.stairs(share, found.edges, color=colour, linewidth=1.2, label=name, gid=name)
        axes.set_xlabel(found.unit)
        if found.unit == RATIO:
            _ratio_axis(axes, found.edges)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
        return Plot(title, caption, drawing.svg(f"Distribution of the {found.name}"))


def _ratio_axis(axes: "Axes", edges: Sequence[float]) -> None:
    """A logarithmic x axis: half as long is as far from equal as twice as long."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


# Cells


def _sizes(split: SplitStatistics) -> list[str]:
    lengths = [side.characters for side in split.sides]
    total = sum(round(length.mean * split.examples) for length in lengths)
    return [f"{split.examples:,}", f"{total:,}", f"{split.distinct_characters:,}", *_mean_and_longest(lengths)]


def _words(split: SplitStatistics) -> list[str]:
    lengths = [side.words for side in split.sides if side.words]
    unknown = [wording.per_cent(side.unknown_words) for side in split.sides]
    return [*(f"{round(length.mean * split.examples):,}" for length in lengths), *_mean_and_longest(lengths), *unknown]


def _mean_and_longest(lengths: Sequence[Lengths]) -> list[str]:
    return [cell for length in lengths for cell in (f"{length.mean:.1f}", f"{length.longest:,}")]


def _ratio(split: SplitStatistics) -> str:
    source, target = (side.characters.mean for side in split.sides)
    return f"{target / source:.3g}" if source else wording.ABSENT
