"""Figures as SVG for a light and a dark page, a phone and paper: the house style, axes, curves, and those of one run.

Figures are drawn in the colours of `COLOURS`; in the finished SVG each becomes a CSS variable with that colour as its
fallback, so one drawing follows the page and also stands alone. matplotlib is imported on first use: it is slow
to load. Figures of a run are functions record -> Plot; None stands for a measure that was never taken.
"""

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from seqlab.report import wording
from seqlab.report.folder import Curve, RunRecord

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

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


@dataclass(frozen=True)
class Plot:
    """A figure for a page: a title, one sentence that says what to look for, and the drawing."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Canvas:
    """One pair of axes in the house style; `svg()` ends it."""

    figure: "Figure"
    axes: "Axes"
    name: str

    def svg(self, label: str) -> str:
        """The drawing as one `<svg>` element; `label` is what a screen reader says; labelled curves get a legend."""
        if self.axes.get_legend_handles_labels()[1]:
            ncols = 4 if self.figure.get_figwidth() > 4 else 3
            self.axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=ncols)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with warnings.catch_warnings():
            # Text stays text, and is drawn in a font of the reader that has its characters; here it is only measured.
            warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
            self.figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        return _for_pages(buffer.getvalue(), self.name, label)


@contextmanager
def canvas(name: str, width: float = 4.6, height: float = 2.6) -> Iterator[Canvas]:
    """Empty axes of `width` x `height` inches. `name` must be unique on its page: the SVG's ids begin with it."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(rc=STYLE):
        figure = Figure(figsize=(width, height))
        yield Canvas(figure, figure.add_subplot(), name)


def columns_of(text: str) -> int:
    """How wide a text is, in columns of a terminal or halves of an em: characters of East Asia have two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


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
        # A curve that hardly moves is a line, not noise blown up to the height of the axes.
        margin = 0.08 * (high - low) if high - low > 0.005 * high else 0.05 * high
        axes.set_ylim(low - margin, min(high + margin, 1.02) if share else high + margin)
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
    opening = f'<svg class="plot" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" {NAMESPACES}>'
    svg = re.sub(r"<svg[^>]*>", opening, svg, count=1)
    prefix = re.sub(r"[^\w-]", "-", name)  # several figures share one page, and their ids must not
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")
    for colour, variable in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    return svg.strip()


# Curves

MAX_POINTS = 800
"""A longer curve is thinned: more points than pixels only make the page heavy."""


def smooth(values: list[float], window: int) -> list[float]:
    """Mean of the `window` values around each one, fewer at the ends; centred, so that the curve does not lag."""
    sums = [0.0, *accumulate(values)]
    before, after = window // 2, window - window // 2
    ends = [(max(i - before, 0), min(i + after, len(values))) for i in range(len(values))]
    return [(sums[end] - sums[start]) / (end - start) for start, end in ends]


def smoothed(curve: Curve) -> Curve:
    """A curve without its noise, light enough to draw."""
    return thin(Curve(curve.x, smooth(curve.y, window=max(len(curve.y) // 50, 1))), 200)


def thin(curve: Curve, points: int = MAX_POINTS) -> Curve:
    """At most `points` points: of every stretch its smallest and its largest value, so that no spike is lost."""
    if len(curve.x) <= points:
        return curve
    size = -(-2 * len(curve.x) // points)
    chosen: list[int] = []
    for start in range(0, len(curve.x), size):
        stretch = range(start, min(start + size, len(curve.x)))
        chosen += sorted({min(stretch, key=curve.y.__getitem__), max(stretch, key=curve.y.__getitem__)})
    return Curve([curve.x[i] for i in chosen], [curve.y[i] for i in chosen])


# A run

TRAINING, VALIDATION = SERIES[0], SERIES[1]

MAX_MARKERS = 60
"""More evaluations than this are a line without dots."""


class UpdatePlot(NamedTuple):
    """What is measured at every update, and what to look for; `{unit}` is what throughput counts."""

    name: str
    title: str
    caption: str
    is_noisy: bool = True
    is_share: bool = False


MEASURES = (
    UpdatePlot(
        "learning_rate",
        "Learning rate",
        "The schedule as it was used: the loss should fall fastest near the top and settle on the way down.",
        is_noisy=False,
    ),
    UpdatePlot(
        "grad_norm",
        "Gradient norm",
        "Before clipping: single spikes are harmless, steady growth means the learning rate is too high.",
    ),
    UpdatePlot(
        "tokens_per_s",
        "{unit} per second",
        "Padding does not count; a curve that sags means that something else was using the machine.",
    ),
    UpdatePlot(
        "padding_share",
        "Padding",
        "The share of each batch that is not text: work for nothing, which length buckets keep to a few per cent.",
        is_share=True,
    ),
    UpdatePlot(
        "mfu",
        "Utilisation (MFU)",
        "Useful arithmetic as a share of the fastest matrix product measured on this machine: the higher, the better.",
        is_share=True,
    ),
    UpdatePlot(
        "memory_mb",
        "Memory, MB",
        "The most memory held so far: it should be flat after the longest batch has been seen.",
        is_noisy=False,
    ),
)


def learning_plots(record: RunRecord) -> list[Plot]:
    """Did it learn, and does it hold on examples it has not seen?"""
    return [plot for plot in (loss(record), *(score(record, name) for name in record.score_names)) if plot]


def machine_plots(record: RunRecord) -> list[Plot]:
    """How did it run: the schedule, the gradients, and the use of the machine."""
    return [plot for measure in MEASURES if (plot := _of_updates(record, measure))]


def loss(record: RunRecord) -> Plot | None:
    """Loss a target token: every update thin, smoothed thick, and the evaluations on both splits."""
    updates = record.updates("loss")
    training, validation = record.evaluations("training", "loss"), record.evaluations("validation", "loss")
    values = [value for curve in (updates, training, validation) for value in curve.y]
    if not values:
        return None
    with canvas("loss") as drawing:
        axes = drawing.axes
        _draw_updates(axes, updates)
        _draw_splits(axes, training, validation)
        loss_axis(axes, values)
        step_axis(axes, [*updates.x, *training.x, *validation.x])
        caption = (
            "Both splits should fall together; validation that turns up while training falls on is over-fitting "
            "(the thin line is every update)."
        )
        return Plot("Loss", caption, drawing.svg("Loss against update"))


def score(record: RunRecord, name: str) -> Plot | None:
    """One score on training and validation examples."""
    training, validation = record.evaluations("training", name), record.evaluations("validation", name)
    if not (training.x or validation.x):
        return None
    with canvas(f"score-{name}") as drawing:
        axes = drawing.axes
        _draw_splits(axes, training, validation)
        score_axis(axes, [*training.y, *validation.y], share=wording.is_share(name))
        step_axis(axes, [*training.x, *validation.x])
        caption = (
            "A gap between the two is what was learned by heart rather than by rule; "
            f"the best validation value is {_best(name, validation)}."
        )
        return Plot(wording.heading(name), caption, drawing.svg(f"{wording.title(name)} against update"))


def _of_updates(record: RunRecord, measure: UpdatePlot) -> Plot | None:
    curve = record.updates(measure.name)
    if not curve.x:
        return None
    from matplotlib.ticker import MaxNLocator

    title = measure.title.format(unit=wording.counted_unit(record).capitalize())
    with canvas(measure.name, width=3.4, height=2.0) as drawing:
        axes = drawing.axes
        if measure.is_noisy:
            _draw_updates(axes, curve)
        else:
            axes.plot(*thin(curve), color=TRAINING, gid="every-update")
        axes.set_ylim(0, 1.1 * max(curve.y) or 1)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%" if measure.is_share else thousands(value))
        step_axis(axes, curve.x)
        return Plot(title, measure.caption, drawing.svg(f"{title} against update"))


def _draw_updates(axes: "Axes", curve: Curve) -> None:
    if curve.x:
        axes.plot(*thin(curve), color=TRAINING, alpha=0.3, linewidth=0.6, gid="every-update")
        axes.plot(*smoothed(curve), color=TRAINING, gid="smoothed")


def _draw_splits(axes: "Axes", training: Curve, validation: Curve) -> None:
    for split, curve, colour in (("training", training, TRAINING), ("validation", validation, VALIDATION)):
        if curve.x:
            marker = "o" if len(curve.x) <= MAX_MARKERS else None
            # the last marker sits on the edge of the axes: it is drawn whole, and the layout leaves it out of account
            style = {"linewidth": 1.1, "marker": marker, "markersize": 2.6, "clip_on": False, "in_layout": False}
            axes.plot(*thin(curve), color=colour, label=split, gid=split, **style)


def _best(name: str, curve: Curve) -> str:
    value = wording.best(name, curve.y)
    if value is None:
        return wording.ABSENT
    return f"{wording.score_value(name, value)} at update {curve.x[curve.y.index(value)]:,}"
