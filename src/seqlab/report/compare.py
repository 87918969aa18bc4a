"""Comparison of runs: a table for page and terminal, and the curves of all runs overlaid."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

from seqlab.errors import UserError
from seqlab.report import wording
from seqlab.report.figures import (
    COLOURS,
    SERIES,
    Plot,
    canvas,
    loss_axis,
    score_axis,
    smoothed,
    step_axis,
    thin,
    time_unit,
)
from seqlab.report.folder import Curve, RunRecord
from seqlab.report.page import write_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Named(NamedTuple):
    """A run with its colour in the figures."""

    name: str
    colour: str


class ComparisonRow(NamedTuple):
    """One measure of every run, in the order of the runs."""

    name: str
    cells: list[str]


def write_comparison(records: Sequence[RunRecord], path: Path) -> Path:
    """Writes the page. Raises UserError when there is nothing to compare or the place cannot be written."""
    if len(records) < 2:
        raise UserError("name at least two runs to compare")
    heading = " against ".join(dict.fromkeys(record.heading for record in records))
    return write_page(
        path,
        "report/compare.html.jinja",
        title=f"{heading} · seqlab",
        heading=heading,
        runs=[Named(record.name, COLOURS[SERIES[index % len(SERIES)]]) for index, record in enumerate(records)],
        rows=comparison_rows(records),
        plots=comparison_plots(records),
    )


def compare_table(records: Sequence[RunRecord]) -> Table:
    """The same in a terminal, one column per run; texts of others are never read as markup."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("", style="dim", overflow="fold")
    for record in records:
        table.add_column(Text(record.name), overflow="fold")
    for row in comparison_rows(records):
        table.add_row(Text(row.name), *map(Text, row.cells))
    return table


def comparison_rows(records: Sequence[RunRecord]) -> list[ComparisonRow]:
    """Differing settings, then scores, then time, speed, memory and size."""
    return [*_differing_settings(records), *_scores(records), *_best_validation(records), *_measures(records)]


class Panel(NamedTuple):
    """One measure of every run, against updates and against seconds."""

    title: str
    by_step: list[Curve]
    by_time: list[Curve]
    is_share: bool = False
    is_loss: bool = False


def comparison_plots(records: Sequence[RunRecord]) -> list[Plot]:
    """Every score on the validation split, and the losses, against updates and against time."""
    names = [*_union(dict.fromkeys(record.score_names, "") for record in records), "loss"]
    panels = [_validation_panel(records, name) for name in names]
    by_step = [smoothed(record.updates("loss")) for record in records]
    by_time = [smoothed(record.updates("loss", "time_s")) for record in records]
    panels.append(Panel("Training loss, smoothed", by_step, by_time, is_loss=True))
    drawn = [panel for panel in panels if any(curve.x for curve in panel.by_step)]
    return [plot for panel in drawn for plot in (_against_steps(panel), _against_time(panel))]


def _validation_panel(records: Sequence[RunRecord], name: str) -> Panel:
    return Panel(
        f"Validation {wording.title(name)}",
        [record.evaluations("validation", name) for record in records],
        [record.evaluations("validation", name, "time_s") for record in records],
        is_share=wording.is_share(name),
        is_loss=name == "loss",
    )


def _against_steps(panel: Panel) -> Plot:
    with canvas(f"{panel.title}-updates") as drawing:
        _draw(drawing.axes, panel, panel.by_step)
        step_axis(drawing.axes, [x for curve in panel.by_step for x in curve.x])
        caption = "Against updates: which run learns more from each batch."
        return Plot(panel.title, caption, drawing.svg(f"{panel.title} of every run against updates"))


def _against_time(panel: Panel) -> Plot:
    longest = max((x for curve in panel.by_time for x in curve.x), default=1.0)
    unit, name = time_unit(longest)
    with canvas(f"{panel.title}-time") as drawing:
        _draw(drawing.axes, panel, [Curve([x / unit for x in curve.x], curve.y) for curve in panel.by_time])
        drawing.axes.set_xlabel(f"training time, {name}")
        drawing.axes.set_xlim(0, longest / unit)
        caption = "Against training time: which run is better when the clock stops."
        return Plot(f"{panel.title}, by the clock", caption, drawing.svg(f"{panel.title} of every run against time"))


def _draw(axes: "Axes", panel: Panel, curves: list[Curve]) -> None:
    for index, curve in enumerate(curves):
        axes.plot(
            *thin(curve),
            color=SERIES[index % len(SERIES)],
            linestyle="-" if index < len(SERIES) else "--",
            linewidth=1.3,
            clip_on=False,
            in_layout=False,
            gid=f"run-{index + 1}",
        )
    values = [y for curve in curves for y in curve.y]
    if panel.is_loss:
        loss_axis(axes, values)
    else:
        score_axis(axes, values, share=panel.is_share)


def _differing_settings(records: Sequence[RunRecord]) -> list[ComparisonRow]:
    trees = [wording.flat({**record.config, "about": {}}) for record in records]
    configs = [{key: wording.setting(value) for key, value in tree.items()} for tree in trees]
    rows = [ComparisonRow(key, [config.get(key, wording.ABSENT) for config in configs]) for key in _union(configs)]
    return [row for row in rows if len(set(row.cells)) > 1]


def _scores(records: Sequence[RunRecord]) -> list[ComparisonRow]:
    found = [{score.name: wording.with_interval(score) for score in record.scores} for record in records]
    return [
        ComparisonRow(f"test {wording.title(name)}", [scores.get(name, wording.ABSENT) for scores in found])
        for name in _union(found)
    ]


def _best_validation(records: Sequence[RunRecord]) -> list[ComparisonRow]:
    """What a run without a test score can be judged by."""
    rows = []
    for name in _union(dict.fromkeys(record.score_names, "") for record in records):
        best = [wording.best(name, record.evaluations("validation", name).y) for record in records]
        rows.append(
            ComparisonRow(
                f"best validation {wording.title(name)}", [wording.score_value(name, value) for value in best]
            )
        )
    return rows


def _measures(records: Sequence[RunRecord]) -> list[ComparisonRow]:
    found = [wording.measures(record) for record in records]
    return [ComparisonRow(name, [measures[name] for measures in found]) for name in found[0]]


def _union(trees: Iterable[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(key for tree in trees for key in tree))
