"""The page of an ablation: one offline page and one table of all runs, written from run folders alone."""

from collections.abc import Callable
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from seqlab.ablation.figures import effect_plots, group, quality_plots
from seqlab.ablation.measured import (
    Ablation,
    Compared,
    MeasuredColumn,
    SwitchPair,
    measure,
    measures,
    read_ablation,
    to_csv,
)
from seqlab.ablation.plan import AblationFolder, Cell, words
from seqlab.metrics.intervals import Interval
from seqlab.report import wording
from seqlab.report.figures import COLOURS
from seqlab.report.folder import RunRecord
from seqlab.report.page import write_page, write_text

READING = (
    "Means over the seeds; the best of each column is bold. A multiple (×) is of the first row. Losses are those of "
    "the validation examples, without label smoothing, read off where the shortest run ended: after that much time, "
    "and after that many updates."
)


class Shown(NamedTuple):
    """A cell of a table: a value, and under it its interval, or how it stands to the baseline."""

    value: str
    aside: str = ""
    is_best: bool = False


class PageRow(NamedTuple):
    """A configuration, with the colour of its group in the figures."""

    name: str
    colour: str
    cells: list[Shown]


class Effect(NamedTuple):
    """What a switch changes, alone or with all others."""

    switch: str
    company: str
    cells: list[Shown]


class SwitchRow(NamedTuple):
    """What a switch is, and the settings that it stands for."""

    name: str
    doc: str
    off: list[str]
    on: list[str]


def write_ablation(folder: AblationFolder) -> Ablation:
    """Writes page and table of what is finished. Raises UserError when there is no plan or no place."""
    ablation = read_ablation(folder)
    plan = ablation.plan
    recipe = str(plan.config.get("about", {}).get("name") or plan.recipe)
    changes = _changes(ablation)
    write_page(
        folder.page,
        "ablation/page.html.jinja",
        title=f"{recipe}: ablation · seqlab",
        recipe=recipe,
        done=f"{len(ablation.records)} of {len(plan.runs)} runs",
        what=_what(ablation),
        origin={"recipe": str(plan.config.get("about", {}).get("summary") or ""), "each run": _length(ablation)},
        remarks=_remarks(ablation),
        reading=READING,
        headings=[column.heading for column in measures(ablation)],
        rows=_rows(ablation),
        groups=_groups(ablation),
        quality=quality_plots(ablation),
        effect_plots=effect_plots(ablation),
        effect_headings=[column.heading for column, _ in changes],
        effects=[_effect(ablation, pair, changes) for pair in ablation.pairs],
        switches=[SwitchRow(each.name, each.doc, words(each.off), words(each.on)) for each in plan.switches],
        command=plan.command,
        places=_places(ablation),
    )
    write_text(folder.table, to_csv(ablation))
    return ablation


def run_line(record: RunRecord) -> str:
    """What was measured in one run, for a line of progress."""
    values = measure(record)
    parts = [
        f"{1000 * values['step_s']:,.0f} ms per step" if "step_s" in values else "",
        f"{values['tokens_per_s']:,.0f} tokens/s" if "tokens_per_s" in values else "",
        f"padding {wording.per_cent(values['padding_share'])}" if "padding_share" in values else "",
        *(f"test {wording.title(score.name)} {wording.with_interval(score)}" for score in record.scores[:1]),
        f"{wording.number(record.last_step)} updates in {wording.duration(record.train_s)}",
    ]
    return ", ".join(part for part in parts if part)


def summary_table(ablation: Ablation) -> Table:
    """The table of the page, as far as a terminal has room for it."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    columns = [column for column in measures(ablation) if column.key not in ("peak_memory_mb", "parameters")]
    table.add_column("configuration", no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right")
    for cell in ablation.plan.cells:
        table.add_row(Text(cell.name), *(Text(_value(ablation, cell, column)) for column in columns))
    return table


def _what(ablation: Ablation) -> str:
    plan = ablation.plan
    what = f"{len(plan.switches)} switches" if plan.switches else " × ".join(plan.baseline.levels)
    return f"{len(plan.cells)} configurations of {what}, {wording.counted(plan.seeds, 'seed')} each"


def _length(ablation: Ablation) -> str:
    train = ablation.plan.config.get("train", {})
    limits = [
        wording.duration(60 * train["max_minutes"]) if train.get("max_minutes") else "",
        f"{train['epochs']:g} epochs" if train.get("epochs") else "",
        f"{train['max_steps']:,} updates" if train.get("max_steps") else "",
    ]
    length = " or ".join(limit for limit in limits if limit)
    return f"until {train['until']}, at most {length}" if train.get("until") else length


def _remarks(ablation: Ablation) -> list[str]:
    """What the reader should know before believing the numbers."""
    plan, remarks = ablation.plan, []
    failed = [f"{name} failed: {line}" for name, line in ablation.failures.items()]
    waiting = len(plan.runs) - len(ablation.records) - len(ablation.failures)
    if waiting:
        remarks.append(f"{waiting} of {len(plan.runs)} runs are still to come; the moments of comparison may move.")
    if plan.seeds == 1:
        remarks.append("One seed: nothing here says how much of a difference is chance.")
    switched = {switch.name for switch in plan.switches}
    if "one-cycle" in switched:
        remarks.append("One-cycle and the constant rate have the same mean; each may have a better peak of its own.")
    remarks += _formats(ablation)
    return [*remarks, *failed]


def _formats(ablation: Ablation) -> list[str]:
    """Whether train.precision=auto, which decides at the start of each run, decided alike."""
    chosen = {
        name: record.environment.get("precision")
        for name, record in ablation.records.items()
        if record.config.get("train", {}).get("precision") == "auto"
    }
    plain = [name for name, mode in chosen.items() if mode == "fp32"]
    if plain and len(plain) == len(chosen):
        return ["train.precision=auto found fp32 to be the fastest format here: mixed precision was not used."]
    if plain:
        where = f"fp32 in {', '.join(plain)}, a 16-bit format elsewhere"
        return [f"train.precision=auto chose {where}: name a format to compare like with like."]
    return []


# The table


def _rows(ablation: Ablation) -> list[PageRow]:
    columns = measures(ablation)
    best = {column.key: _best(ablation, column) for column in columns}
    return [
        PageRow(
            cell.name,
            COLOURS[group(ablation, cell).colour],
            [_shown(ablation, cell, column, best[column.key]) for column in columns],
        )
        for cell in ablation.plan.cells
    ]


def _shown(ablation: Ablation, cell: Cell, column: MeasuredColumn, best: str | None) -> Shown:
    value = _value(ablation, cell, column)
    return Shown(value, _aside(ablation, cell, column), value == best)


def _value(ablation: Ablation, cell: Cell, column: MeasuredColumn) -> str:
    mean = ablation.mean(cell, column.key)
    if mean is not None:
        return column.shown(mean.value)
    longest = ablation.mean(cell, "train_s")
    if column.key == "time_to_target_s" and longest is not None:
        return f"not in {wording.duration(longest.value)}"
    return wording.ABSENT


def _aside(ablation: Ablation, cell: Cell, column: MeasuredColumn) -> str:
    """What stands under a value: its interval, how it stands to the baseline, or how many runs it is from."""
    mean = ablation.mean(cell, column.key)
    if mean is None:
        return ""
    if column.key == "time_to_target_s":
        reached, runs = len(ablation.values(cell, column.key)), len(ablation.finished(cell))
        return f"{reached} of {runs} runs" if reached < runs else ""
    if column.key.startswith("test_"):
        return _ends(mean, column.shown)
    base = ablation.mean(ablation.plan.baseline, column.key)
    if column.compared is None or base is None or cell == ablation.plan.baseline:
        return ""
    return f"{mean.value / base.value:.2f} ×"


def _ends(interval: Interval, shown: Callable[[float], str]) -> str:
    if interval.low is None or interval.high is None:
        return ""
    low, high = shown(interval.low), shown(interval.high)
    unit = high.partition(" ")[2]  # said once
    return f"{low.removesuffix(f' {unit}')} to {high}"


def _best(ablation: Ablation, column: MeasuredColumn) -> str | None:
    """The best value as it is shown; None where all are the same."""
    means = [ablation.mean(cell, column.key) for cell in ablation.plan.cells]
    values = [mean.value for mean in means if mean is not None]
    if len({column.shown(value) for value in values}) < 2:
        return None
    return column.shown(max(values) if column.better == "more" else min(values))


def _groups(ablation: Ablation) -> dict[str, str]:
    """The colours of the groups of configurations, by name; in a grid every configuration is one of its own."""
    if not ablation.plan.switches:
        return {}
    return {g.name: COLOURS[g.colour] for g in (group(ablation, cell) for cell in ablation.plan.cells)}


# What a switch changes


def _effect(ablation: Ablation, pair: SwitchPair, columns: list[tuple[MeasuredColumn, Compared]]) -> Effect:
    return Effect(
        pair.switch, pair.company, [_change(ablation, pair, column, compared) for column, compared in columns]
    )


def _changes(ablation: Ablation) -> list[tuple[MeasuredColumn, Compared]]:
    """Speed, memory and size as multiples, losses and quality as differences."""
    multiples = ("tokens_per_s", "peak_memory_mb", "parameters")
    others = ("step_s", "padding_share", "time_to_target_s")
    return [
        (column, "ratio" if column.key in multiples else "difference")
        for column in measures(ablation)
        if column.key not in others
    ]


def _change(ablation: Ablation, pair: SwitchPair, column: MeasuredColumn, compared: Compared) -> Shown:
    change = ablation.change(pair, column.key, compared)
    if change is None:
        return Shown(wording.ABSENT)

    def shown(value: float) -> str:
        return f"{value:.2f} ×" if compared == "ratio" else _signed(value, column)

    return Shown(shown(change.value), "" if column.key == "parameters" else _ends(change, shown))


def _signed(value: float, column: MeasuredColumn) -> str:
    """A difference in the unit of its score; shares in points of a hundred."""
    if wording.is_share(column.key.removeprefix("test_")):
        shown = f"{100 * value:+.1f} points"
    else:
        shown = f"{value:+.3f}" if column.key.startswith("loss") else f"{value:+.2f}"
    return shown.replace("-", "−")


def _places(ablation: Ablation) -> dict[str, str]:
    """Where it was measured, and where all numbers are."""
    machines = sorted({wording.machine(record) for record in ablation.records.values()})
    table = ablation.folder.table.name
    return {"machine": "; ".join(machines), "all numbers, a row a run": table, "run folders": "runs"}
