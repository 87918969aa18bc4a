"""How does a matplotlib figure become an SVG that suits a light and a dark page, a phone and paper?

Figures are drawn in the colours of `COLOURS`; in the finished SVG each becomes a CSS variable with that colour as its
fallback, so one drawing follows the page and also stands alone. matplotlib is imported on first use: it is slow
to load.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = ("#0072b2", "#d55e00", "#009e73", "#b8528f", "#a87400", "#3d93c9", "#6a51a3", "#7a7a7a")
"""Colours of curves: Okabe and Ito's colour-blind safe palette, the pale ones darkened to be seen on white."""

INK, MUTED, GRID = "#1d2329", "#5e6974", "#e1e5e8"

COLOURS = {
    **{colour: f"series-{index}" for index, colour in enumerate(SERIES, start=1)},
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, and in the font of the page
    "svg.hashsalt": "seqlab",  # the same figure is the same file
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # ships with matplotlib, so the layout is the same everywhere
    "font.size": 8,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.borderaxespad": 0.0,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.6,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Plot:
    """A figure for a page: a title, one sentence that says what to look for, and the drawing."""

    title: str
    caption: str
    svg: str


class Canvas:
    """One pair of axes in the house style; `svg()` ends it."""

    def __init__(self, figure: "Figure", axes: "Axes", name: str):
        self._figure = figure
        self.axes = axes
        self._name = name

    def svg(self, label: str) -> str:
        """The drawing as one `<svg>` element; `label` is what a screen reader says; labelled curves get a legend."""
        if self.axes.get_legend_handles_labels()[1]:
            ncols = 4 if self._figure.get_figwidth() > 4 else 3
            self.axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=ncols)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        self._figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        return _for_pages(buffer.getvalue(), self._name, label)


@contextmanager
def canvas(name: str, width: float = 4.6, height: float = 2.6) -> Iterator[Canvas]:
    """Empty axes of `width` x `height` inches. `name` must be unique on its page: the SVG's ids begin with it."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(rc=STYLE):
        figure = Figure(figsize=(width, height))
        yield Canvas(figure, figure.add_subplot(), name)


def step_axis(axes: "Axes", values: list[float]) -> None:
    """Labels the x axis as updates; `12k` rather than `12000`."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("update")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value))
    if values:
        axes.set_xlim(0, max(values))


def time_unit(longest_s: float) -> tuple[int, str]:
    """The unit that suits a run of `longest_s` seconds: its length in seconds, and its name."""
    if longest_s > 3 * 3600:
        return 3600, "hours"
    return (60, "minutes") if longest_s > 180 else (1, "seconds")


def thousands(value: float) -> str:
    """`500`, `2k`, `1.5M`."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def score_axis(axes: "Axes", values: Sequence[float], *, share: bool) -> None:
    """A y axis from 0, of shares to 100 %; or one close around values that are all within a fifth of the highest.

    Correlations may be negative, and then the axis goes down to the lowest.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0.8 * high > 0:
        margin = 0.08 * max(high - low, 0.02 * high)
        axes.set_ylim(low - margin, high + margin)
    else:
        axes.set_ylim(min(0.0, 1.1 * low), 1.02 if share else None)
    if share:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def loss_axis(axes: "Axes", losses: list[float]) -> None:
    """A y axis from 0, or a logarithmic one labelled 0.01, 0.1, 1 where the losses span more than a factor of 30."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if not losses or min(losses) <= 0 or max(losses) < 30 * min(losses):
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if max(losses) > 100 * min(losses) else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _for_pages(svg: str, name: str, label: str) -> str:
    svg = svg[svg.index("<svg") :]
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0]
    opening = f'<svg class="plot" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" {_NAMESPACES}>'
    svg = re.sub(r"<svg[^>]*>", opening, svg, count=1)
    prefix = re.sub(r"[^\w-]", "-", name)  # several figures share one page, and their ids must not
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")
    for colour, variable in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    return svg.strip()


_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
