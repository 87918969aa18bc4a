"""Figures of an ablation: quality against time for all configurations, and the effect of each switch."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from seqlab.ablation.measured import Ablation, SwitchPair, validation
from seqlab.ablation.plan import Cell
from seqlab.metrics.intervals import Interval
from seqlab.report import wording
from seqlab.report.figures import INK, MUTED, SERIES, Plot, canvas, score_axis, thousands, time_unit
from seqlab.report.folder import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 80
"""Moments at which the curves of several seeds are averaged."""

SAME_TIME = 1.1
"""Runs whose times lie within this factor took the same time."""

LINE = 0.052
"""Height of a line of text as a share of the height of the axes."""


class BarGroup(NamedTuple):
    """Configurations that belong together have one colour."""

    name: str
    colour: str


BASELINE, ALONE, ALL_BUT_ONE, ALL = (
    BarGroup("baseline", INK),
    BarGroup("one switch on", SERIES[0]),
    BarGroup("all but one on", SERIES[1]),
    BarGroup("all on", SERIES[2]),
)


def group(ablation: Ablation, cell: Cell) -> BarGroup:
    """Where a configuration belongs; in a grid, every one is a group of its own."""
    if not ablation.plan.switches:
        index = ablation.plan.cells.index(cell)
        return BarGroup(cell.name, SERIES[index % len(SERIES)])
    match len(cell.on):
        case 0:
            return BASELINE
        case count if count == len(ablation.plan.switches):
            return ALL
        case 1:
            return ALONE
        case _:
            return ALL_BUT_ONE


class Ended(NamedTuple):
    """The end of a curve, which its name stands beside."""

    x: float
    y: float
    cell: Cell
    colour: str


def quality_plots(ablation: Ablation) -> list[Plot]:
    """Validation score and loss of every configuration against training time, and the test scores."""
    score = ablation.main_score
    if score is None:
        return []
    plots = (_curves(ablation, score), _curves(ablation, "loss"), _test_scores(ablation, score))
    return [plot for plot in plots if plot is not None]


def effect_plots(ablation: Ablation) -> list[Plot]:
    """What every switch does to speed and to quality, alone and on top of all others."""
    score = ablation.main_score
    if not ablation.pairs or score is None:
        return []
    title = wording.title(score)
    speed = _effects(
        ablation,
        "tokens_per_s",
        "Speed with the switch, as a multiple of that without it",
        "Real tokens per second. Right of the line the switch makes training faster.",
    )
    quality = _effects(
        ablation,
        f"test_{score}",
        f"Change of test {title}{', in points of 100' if wording.is_share(score) else ''}",
        "Right of the line the switch makes the model better; a bar across the line may be chance. Bars are 95 % "
        "intervals over the seeds, pairs of runs with the same seed compared.",
    )
    return [plot for plot in (speed, quality) if plot is not None]


# Against the clock


def _curves(ablation: Ablation, score: str) -> Plot | None:
    cells = ablation.plan.cells
    found = {cell.name: [validation(run, score, "time_s") for run in ablation.finished(cell)] for cell in cells}
    longest = max((curve.x[-1] for curves in found.values() for curve in curves if curve.x), default=None)
    if longest is None:
        return None
    unit, unit_name = time_unit(longest)
    title = f"Validation {wording.title(score)} against training time"
    with canvas(f"ablation-{score}", height=4.0) as drawing:
        axes = drawing.axes
        ends = []
        for cell in cells:
            curves = [Curve([x / unit for x in curve.x], curve.y) for curve in found[cell.name] if curve.x]
            if curves:
                ends.append(_draw_seeds(axes, curves, cell, group(ablation, cell)))
        _finish_time_axis(axes, longest / unit, unit_name)
        values = [y for curves in found.values() for curve in curves for y in curve.y]
        if score == "loss":
            _loss_axis(axes, values)
        else:
            score_axis(axes, values, share=wording.is_share(score))
        _name_ends(axes, ends)
        seeds = "Means over the seeds, each band from the lowest to the highest. " if ablation.plan.seeds > 1 else ""
        better = "Without label smoothing; lower is better." if score == "loss" else "Higher is better."
        return Plot(title, seeds + better, drawing.svg(f"{title}, one line a configuration"))


def _draw_seeds(axes: "Axes", curves: Sequence[Curve], cell: Cell, group: BarGroup) -> Ended:
    """The mean of the seeds where all of them were measured."""
    start, end = max(curve.x[0] for curve in curves), min(curve.x[-1] for curve in curves)
    x = np.array(curves[0].x) if len(curves) == 1 else np.linspace(start, max(end, start), POINTS)
    lines = np.array([np.interp(x, curve.x, curve.y) for curve in curves])
    mean = lines.mean(0)
    if len(curves) > 1:
        axes.fill_between(
            x, lines.min(0), lines.max(0), color=group.colour, alpha=0.1, linewidth=0, clip_on=False, in_layout=False
        )
    width = 1.6 if group in (BASELINE, ALL) else 0.9
    axes.plot(x, mean, color=group.colour, linewidth=width, clip_on=False, in_layout=False, gid=f"cell-{cell.name}")
    return Ended(float(x[-1]), float(mean[-1]), cell, group.colour)


def _test_scores(ablation: Ablation, score: str) -> Plot | None:
    """A dot a run, small, and one for the mean of its seeds.

    Against the time that training took; against speed where all took the same time.
    """
    times = [time for cell in ablation.plan.cells for time in ablation.values(cell, "train_s").values()]
    if not times:
        return None
    by_time = max(times) > SAME_TIME * min(times)
    unit, unit_name = time_unit(max(times)) if by_time else (1, "")
    title = f"Test {wording.title(score)} against {'training time' if by_time else 'speed'}"
    with canvas("ablation-test", height=4.0) as drawing:
        axes = drawing.axes
        ends = []
        for cell in ablation.plan.cells:
            scores = ablation.values(cell, f"test_{score}")
            where = ablation.values(cell, "train_s" if by_time else "tokens_per_s")
            seeds = sorted(scores.keys() & where.keys())
            if seeds:
                x, y = [where[seed] / unit for seed in seeds], [scores[seed] for seed in seeds]
                ends.append(_draw_dots(axes, x, y, cell, group(ablation, cell).colour))
        axes.set_xlim(left=0)
        axes.set_xlabel(f"training time, {unit_name}" if by_time else "real tokens per second")
        axes.xaxis.set_major_formatter(lambda value, _: thousands(value))
        if wording.is_share(score):
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
        _name_ends(axes, ends)
        seeds = "Large dots are means over the seeds, small ones single runs. " if ablation.plan.seeds > 1 else ""
        better = "Better is higher and further left." if by_time else "All trained equally long; better is higher."
        return Plot(title, seeds + better, drawing.svg(f"{title}, one dot a configuration"))


def _draw_dots(axes: "Axes", x: list[float], y: list[float], cell: Cell, colour: str) -> Ended:
    style = {"color": colour, "linewidth": 0, "clip_on": False, "in_layout": False}
    middle = Ended(float(np.mean(x)), float(np.mean(y)), cell, colour)
    if len(x) > 1:
        axes.scatter(x, y, s=6, alpha=0.35, **style)
    axes.scatter([middle.x], [middle.y], s=22, **style)
    return middle


def _finish_time_axis(axes: "Axes", longest: float, name: str) -> None:
    axes.set_xlim(0, longest)
    axes.set_xlabel(f"training time, {name}")


def _loss_axis(axes: "Axes", losses: list[float]) -> None:
    """Logarithmic: halving the loss is as far at the top as at the bottom, and the ends, which matter, lie apart."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if min(losses) <= 0:
        return
    axes.set_yscale("log")
    spread = max(losses) / min(losses)
    subs = (1.0,) if spread > 100 else (1.0, 2.0, 5.0) if spread > 10 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _name_ends(axes: "Axes", ends: list[Ended]) -> None:
    """The names of all curves on the right, none over another, each tied to the end of its own by a thin line."""
    axes.autoscale_view()  # the limits as they will be drawn
    leader = {"arrowstyle": "-", "linewidth": 0.4, "alpha": 0.6, "shrinkA": 1, "shrinkB": 0}
    heights = [float(axes.transLimits.transform(axes.transScale.transform((end.x, end.y)))[1]) for end in ends]
    for end, height in zip(ends, spread(heights, LINE), strict=True):
        axes.annotate(
            end.cell.name,
            xy=(end.x, end.y),
            xytext=(1.06, height),
            textcoords="axes fraction",
            color=end.colour,
            fontsize=7.5,
            va="center",
            arrowprops=leader | {"color": end.colour},
            annotation_clip=False,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights from 0 to 1 moved apart so that neighbours keep `gap`, in the same order.

    Neighbours that touch become a heap, centred on the mean of where they wanted to be. A heap that is too tall to fit
    begins at 0.
    """
    heaps: list[list[float]] = []
    for height in sorted(heights):
        heaps.append([height])
        while len(heaps) > 1 and _lowest(heaps[-1], gap) < _lowest(heaps[-2], gap) + gap * len(heaps[-2]):
            heaps[-2:] = [heaps[-2] + heaps[-1]]
    placed = [_lowest(heap, gap) + gap * place for heap in heaps for place in range(len(heap))]
    order = sorted(range(len(heights)), key=heights.__getitem__)
    return [place for _, place in sorted(zip(order, placed, strict=True))]


def _lowest(heap: list[float], gap: float) -> float:
    """Where the lowest of a heap stands."""
    height = gap * (len(heap) - 1)
    return max(0.0, min(sum(heap) / len(heap) - height / 2, 1 - height))


# What a switch changes


def _effects(ablation: Ablation, key: str, title: str, caption: str) -> Plot | None:
    """Two lines a switch: alone, and on top of all others."""
    is_ratio = key == "tokens_per_s"
    changes = [(pair, ablation.change(pair, key, "ratio" if is_ratio else "difference")) for pair in ablation.pairs]
    if not any(change for _, change in changes):
        return None
    names = [switch.name for switch in ablation.plan.switches]
    with canvas(f"effect-{key}", height=0.7 + 0.34 * len(names)) as drawing:
        axes = drawing.axes
        axes.axvline(1 if is_ratio else 0, color=MUTED, linewidth=0.8)
        for pair, change in changes:
            if change is not None:
                _draw_change(axes, pair, change, -names.index(pair.switch))
        axes.set_yticks([-place for place in range(len(names))], names)
        axes.set_ylim(0.6 - len(names), 0.5)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False)
        axes.grid(axis="x", visible=True)
        axes.xaxis.set_major_formatter(_ticks(key, is_ratio))
        return Plot(title, caption, drawing.svg(f"{title}, by switch"))


def _draw_change(axes: "Axes", pair: SwitchPair, change: Interval, place: int) -> None:
    alone = pair.company == "alone"
    height, colour = place + (0.16 if alone else -0.16), (ALONE if alone else ALL).colour
    if change.low is not None and change.high is not None:
        axes.plot([change.low, change.high], [height, height], color=colour, linewidth=1.2, alpha=0.6)
    known = axes.get_legend_handles_labels()[1]
    label = pair.company if pair.company not in known else None
    axes.plot([change.value], [height], "o", color=colour, markersize=4, label=label)


def _ticks(key: str, is_ratio: bool) -> Callable[[float, float], str]:
    if is_ratio:
        return lambda value, _: f"{value:g}×"
    scale = 100 if wording.is_share(key.removeprefix("test_")) else 1
    return lambda value, _: f"{scale * value:+.3g}".replace("-", "−") if value else "0"
