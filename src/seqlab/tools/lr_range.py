"""The learning-rate range test (Smith 2017): the rate grows, and where the loss has nearly done falling is a good peak.

Which rule reads the peak off the curve was measured (docs/techniques/schedules.md). Where the loss falls fastest is no
guide here: a model of text first learns how often each token occurs, fast and at any rate.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from seqlab.engine.distributed import DeviceName, connect
from seqlab.engine.loop import Budget, Update, updates
from seqlab.engine.schedules import Exponential
from seqlab.errors import UserError
from seqlab.experiment.config import Experiment
from seqlab.report.figures import MUTED, SERIES, Plot, canvas
from seqlab.report.page import write_page as fill_page
from seqlab.report.page import write_text
from seqlab.training.state import build_engine, choose_mode, seeded_assembly

SPAN = 0.1
"""Share of the test that the running mean of the loss looks back on; corrected for its start."""
FALLEN = 0.8
"""The peak is suggested where the smoothed loss has made this share of its fall."""
DIVERGED = 4.0
"""The test ends when the smoothed loss is this many times its minimum."""


class RangeTest(NamedTuple):
    """What the test saw, and where training would do well to peak."""

    points: list[tuple[float, float, float]]
    """(learning rate, loss, smoothed loss) of every update"""
    suggestion: float


def range_test(
    experiment: Experiment, steps: int, lowest: float, highest: float, device: DeviceName = "auto"
) -> RangeTest:
    """Trains `steps` updates with a learning rate that grows exponentially from `lowest` to `highest`.

    Raises:
        UserError: when the bounds make no sense, or the loss fell nowhere.
    """
    if not 0 < lowest < highest:
        raise UserError(f"--lowest {lowest} must be below --highest {highest}")
    if steps < 10:
        raise UserError(f"--steps {steps} is too few to see a slope; 100 is usual")
    optimizer = experiment.optimizer.model_copy(update={"lr": highest})
    schedule = Exponential(start_factor=lowest / highest)
    experiment = experiment.model_copy(update={"optimizer": optimizer, "schedule": schedule})
    world = connect(device)
    assembly = seeded_assembly(experiment, world)
    engine = build_engine(experiment, assembly, world, choose_mode(experiment, assembly, world).mode)
    try:
        points = _points(updates(engine, Budget(steps, None, world)), smoothing=1 - 1 / (SPAN * steps))
    finally:
        engine.stream.close()
        world.close()
    return RangeTest(points, suggest(points))


def suggest(points: list[tuple[float, float, float]]) -> float:
    """The learning rate at which the smoothed loss has made four fifths of its fall."""
    first, lowest = points[0][2], min(smoothed for _, _, smoothed in points)
    if lowest == first:
        raise UserError("the loss fell at no learning rate: widen --lowest and --highest, or add --steps")
    return next(rate for rate, _, smoothed in points if smoothed <= first - FALLEN * (first - lowest))


def _points(done: Iterable[Update], smoothing: float) -> list[tuple[float, float, float]]:
    points: list[tuple[float, float, float]] = []
    mean = 0.0
    for update in done:
        loss = update.loss.item()
        mean = smoothing * mean + (1 - smoothing) * loss
        smoothed = mean / (1 - smoothing ** (len(points) + 1))
        if not math.isfinite(loss):
            break
        points.append((update.learning_rate, loss, smoothed))
        if smoothed > DIVERGED * min(point[2] for point in points):
            break
    return points


Point = tuple[float, float, float]
"""Learning rate, loss of that update, smoothed loss."""


def write_page(points: Sequence[Point], suggestion: float | None, path: Path) -> Path:
    """Writes the plot to `path`, as a drawing when it ends in .svg and as a page otherwise.

    Raises UserError when no update was measured or the place cannot be written.
    """
    if not points:
        raise UserError("the learning-rate range test measured no update: there is nothing to draw")
    plot = range_plot(points, suggestion)
    if path.suffix == ".svg":
        return write_text(path, f"{plot.svg}\n")
    advice = (
        f"Suggested peak: optimizer.lr={suggestion:.2g}"
        if suggestion
        else "No learning rate stands out: test a wider range."
    )
    title = "Learning-rate range test"
    return fill_page(path, "tools/lr_range.html.jinja", title=title, advice=advice, plot=plot)


def range_plot(points: Sequence[Point], suggestion: float | None) -> Plot:
    """Loss against learning rate."""
    rates, losses, smoothed = (list(column) for column in zip(*points, strict=True))
    with canvas("lr-range", width=6.4, height=3.6) as drawing:
        axes = drawing.axes
        axes.plot(rates, losses, color=SERIES[0], alpha=0.3, linewidth=0.6, gid="every-update")
        axes.plot(rates, smoothed, color=SERIES[0], gid="smoothed")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        # the loss explodes at the end; what matters lies below where it began
        lowest, first = min(smoothed), smoothed[0]
        axes.set_ylim(lowest - 0.1 * abs(first - lowest) - 1e-9, max(first + 0.6 * abs(first - lowest), lowest + 1e-6))
        if suggestion:
            axes.axvline(suggestion, color=SERIES[1], linewidth=1, linestyle="--", gid="suggestion")
            axes.annotate(
                f" {suggestion:.2g}",
                (suggestion, 1),
                xycoords=("data", "axes fraction"),
                color=MUTED,
                va="bottom",
                ha="center",
            )
        caption = (
            "Where the dashed line stands, the smoothed loss has made four fifths of its fall; far to the right it "
            "explodes, and a peak learning rate has to stay clear of that."
        )
        return Plot("Loss while the learning rate grows", caption, drawing.svg("Loss against learning rate"))
