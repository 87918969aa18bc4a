"""What did training look like? Each function draws one figure of a run, record -> Plot.

None stands for a measure that was never taken.
"""

from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from seqlab.report import wording
from seqlab.report.drawing import SERIES, Plot, canvas, loss_axis, score_axis, step_axis, thousands
from seqlab.report.folder import Curve, RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING, VALIDATION = SERIES[0], SERIES[1]

MAX_POINTS = 800
"""A longer curve is thinned: more points than pixels only make the page heavy."""

MAX_MARKERS = 60
"""More evaluations than this are a line without dots."""


def learning_plots(record: RunRecord) -> list[Plot]:
    """Did it learn, and does it hold on examples it has not seen?"""
    plots = [loss(record), *(score(record, name) for name in record.score_names)]
    return [plot for plot in plots if plot]


def machine_plots(record: RunRecord) -> list[Plot]:
    """How did it run: the schedule, the gradients, and the use of the machine."""
    figures: list[Callable[[RunRecord], Plot | None]] = [
        learning_rate,
        gradient_norm,
        throughput,
        padding,
        utilisation,
        memory,
    ]
    return [plot for plot in (figure(record) for figure in figures) if plot]


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
        _draw_evaluations(axes, training, "training", TRAINING)
        _draw_evaluations(axes, validation, "validation", VALIDATION)
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
    title = wording.title(name)
    with canvas(f"score-{name}") as drawing:
        axes = drawing.axes
        _draw_evaluations(axes, training, "training", TRAINING)
        _draw_evaluations(axes, validation, "validation", VALIDATION)
        score_axis(axes, [*training.y, *validation.y], share=name in wording.SHARES)
        step_axis(axes, [*training.x, *validation.x])
        caption = (
            "A gap between the two is what was learned by heart rather than by rule; "
            f"the best validation value is {_best(name, validation)}."
        )
        return Plot(wording.heading(name), caption, drawing.svg(f"{title} against update"))


def learning_rate(record: RunRecord) -> Plot | None:
    """The schedule as it was used."""
    caption = "The schedule as it was used: the loss should fall fastest near the top and settle on the way down."
    return _small(record, "learning_rate", "Learning rate", caption, noisy=False)


def gradient_norm(record: RunRecord) -> Plot | None:
    """The norm before clipping."""
    caption = "Before clipping: single spikes are harmless, steady growth means the learning rate is too high."
    return _small(record, "grad_norm", "Gradient norm", caption)


def throughput(record: RunRecord) -> Plot | None:
    """Real target tokens a second, or examples."""
    caption = "Padding does not count; a curve that sags means that something else was using the machine."
    return _small(record, "tokens_per_s", f"{wording.counted_unit(record).capitalize()} a second", caption)


def padding(record: RunRecord) -> Plot | None:
    """Which share of the batch is not text."""
    caption = "The share of each batch that is not text: work for nothing, which length buckets keep to a few per cent."
    return _small(record, "padding_share", "Padding", caption, share=True)


def utilisation(record: RunRecord) -> Plot | None:
    """Useful floating-point work over the measured peak."""
    caption = (
        "Useful arithmetic as a share of the fastest matrix product measured on this machine: the higher, the better."
    )
    return _small(record, "mfu", "Utilisation (MFU)", caption, share=True)


def memory(record: RunRecord) -> Plot | None:
    """Peak memory so far."""
    caption = "The most memory held so far: it should be flat after the longest batch has been seen."
    return _small(record, "memory_mb", "Memory, MB", caption, noisy=False)


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


def _small(
    record: RunRecord, measure: str, title: str, caption: str, *, noisy: bool = True, share: bool = False
) -> Plot | None:
    curve = record.updates(measure)
    if not curve.x:
        return None
    from matplotlib.ticker import MaxNLocator

    with canvas(measure, width=3.4, height=2.0) as drawing:
        axes = drawing.axes
        if noisy:
            _draw_updates(axes, curve)
        else:
            axes.plot(*thin(curve), color=TRAINING, gid="every-update")
        axes.set_ylim(0, 1.1 * max(curve.y) or 1)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%" if share else thousands(value))
        step_axis(axes, curve.x)
        return Plot(title, caption, drawing.svg(f"{title} against update"))


def _draw_updates(axes: "Axes", curve: Curve) -> None:
    if not curve.x:
        return
    axes.plot(*thin(curve), color=TRAINING, alpha=0.3, linewidth=0.6, gid="every-update")
    axes.plot(*smoothed(curve), color=TRAINING, gid="smoothed")


def _draw_evaluations(axes: "Axes", curve: Curve, split: str, colour: str) -> None:
    if not curve.x:
        return
    marker = "o" if len(curve.x) <= MAX_MARKERS else None
    # the last marker sits on the edge of the axes: it is drawn whole, and the layout leaves it out of account
    style = {"linewidth": 1.1, "marker": marker, "markersize": 2.6, "clip_on": False, "in_layout": False}
    axes.plot(*thin(curve), color=colour, label=split, gid=split, **style)


def _best(name: str, curve: Curve) -> str:
    if not curve.y:
        return wording.ABSENT
    value = wording.best(name, curve.y)
    step = next(step for step, measured in zip(*curve, strict=True) if measured == value)
    return f"{wording.score_value(name, value)} at update {step:,}"
