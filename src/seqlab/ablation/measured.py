"""Measurements of an ablation: numbers of each run, means over seeds, and paired differences."""

import csv
import io
import itertools
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from seqlab.ablation.plan import AblationFolder, Cell, Plan, PlannedRun, read_plan
from seqlab.metrics.intervals import Interval, student
from seqlab.report import wording
from seqlab.report.folder import Curve, RunRecord, load_run

Values = dict[str, float]
"""What was measured, by name; what was not is absent."""

Compared = Literal["ratio", "difference"]

Company = Literal["alone", "with all others"]
COMPANIES: tuple[Company, ...] = ("alone", "with all others")


class MeasuredColumn(NamedTuple):
    """A column of the table."""

    key: str
    heading: str
    shown: Callable[[float], str]
    better: Literal["more", "less"]
    compared: Compared | None = None
    """how a configuration stands to the baseline, where the table says so"""


class Moment(NamedTuple):
    """Where the shortest of the finished runs ended, and all others had come by as well."""

    time_s: float
    step: float


class SwitchPair(NamedTuple):
    """Two configurations that differ in one switch."""

    switch: str
    company: Company
    without: Cell
    having: Cell


@dataclass(frozen=True)
class Ablation:
    """A plan with the runs that are finished, and the complaints of those that failed."""

    folder: AblationFolder
    plan: Plan
    records: dict[str, RunRecord]
    """finished runs, by name"""
    failures: dict[str, str]

    @cached_property
    def main_score(self) -> str | None:
        """The score that counts most."""
        scores = [record.scores for record in self.records.values()]
        return scores[0][0].name if scores and scores[0] else None

    @cached_property
    def moment(self) -> Moment | None:
        """Where losses are compared."""
        by_time = [validation(record, "loss", "time_s").x for record in self.records.values()]
        by_step = [validation(record, "loss", "step").x for record in self.records.values()]
        if not any(by_time):
            return None
        return Moment(min(x[-1] for x in by_time if x), min(x[-1] for x in by_step if x))

    @cached_property
    def measured(self) -> dict[str, Values]:
        """By name of the run."""
        return {name: measure(record, self.moment) for name, record in self.records.items()}

    def values(self, cell: Cell, key: str) -> dict[int, float]:
        """One measure of a configuration, by seed."""
        runs = [run for run in self.plan.runs if run.cell == cell and run.name in self.measured]
        found = {run.seed: self.measured[run.name].get(key) for run in runs}
        return {seed: value for seed, value in found.items() if value is not None}

    def mean(self, cell: Cell, key: str) -> Interval | None:
        """Over the seeds."""
        values = self.values(cell, key)
        return student(list(values.values())) if values else None

    def finished(self, cell: Cell) -> list[RunRecord]:
        """The finished runs of a configuration, in the order of their seeds."""
        return [self.records[run.name] for run in self.plan.runs if run.cell == cell and run.name in self.records]

    @cached_property
    def pairs(self) -> list[SwitchPair]:
        """For every switch: the baseline against it alone, and all but it against all."""
        everything = frozenset(switch.name for switch in self.plan.switches)
        found = []
        for switch in self.plan.switches:
            for company in COMPANIES:
                others = everything - {switch.name} if company == "with all others" else frozenset[str]()
                without, having = self.plan.with_on(others), self.plan.with_on(others | {switch.name})
                if without is not None and having is not None:
                    found.append(SwitchPair(switch.name, company, without, having))
        return found if len(everything) > 1 else found[:1]

    def change(self, pair: SwitchPair, key: str, compared: Compared) -> Interval | None:
        """What the switch changed, seed by seed: the difference, or the ratio (its interval on the scale of logs)."""
        before, after = self.values(pair.without, key), self.values(pair.having, key)
        both = sorted(before.keys() & after.keys())
        if not both:
            return None
        if compared == "difference":
            return student([after[seed] - before[seed] for seed in both])
        logs = student([math.log(after[seed] / before[seed]) for seed in both])
        low, high = (None if end is None else math.exp(end) for end in logs[1:])
        return Interval(math.exp(logs.value), low, high)


def read_ablation(folder: AblationFolder) -> Ablation:
    """The plan and what stands in its run folders. Raises UserError when there is no plan."""
    plan = read_plan(folder)
    done = [run for run in plan.runs if folder.run(run).results.is_file()]
    return Ablation(folder, plan, {run.name: load_run(folder.run(run).root) for run in done}, read_failures(folder))


def read_failures(folder: AblationFolder) -> dict[str, str]:
    """The last line of every run that failed, by its name."""
    return json.loads(folder.failures.read_text(encoding="utf-8")) if folder.failures.is_file() else {}


def measure(record: RunRecord, moment: Moment | None = None) -> Values:
    """Everything that a run is compared by; losses are those of validation, without label smoothing."""
    results = record.results or {}
    found = {
        "step_s": step_seconds(record),
        "tokens_per_s": record.median("tokens_per_s"),
        "padding_share": record.median("padding_share"),
        "peak_memory_mb": record.peak_memory_mb,
        "parameters": results.get("parameters"),
        "updates": record.last_step,
        "train_s": record.train_s,
        "time_to_target_s": (results.get("time_to_target") or {}).get("train_s"),
    }
    if moment is not None:
        found["loss_at_equal_time"] = at(validation(record, "loss", "time_s"), moment.time_s)
        found["loss_at_equal_updates"] = at(validation(record, "loss", "step"), moment.step)
    found |= {f"test_{score.name}": score.value for score in record.scores}
    return {key: float(value) for key, value in found.items() if value is not None}


def validation(record: RunRecord, score: str, against: str) -> Curve:
    """A score on the validation examples against `step` or `time_s`."""
    return record.evaluations("validation", score, against)


def at(curve: Curve, x: float) -> float | None:
    """The curve at `x`, on a straight line between its points; None before the first and after the last one."""
    if not curve.x or not curve.x[0] <= x <= curve.x[-1]:
        return None
    return float(np.interp(x, curve.x, curve.y))


def step_seconds(record: RunRecord) -> float | None:
    """Seconds of an update: the median over the stretches between evaluations, which do not count themselves.

    The mean of a whole stretch, because a GPU works updates off later than they are handed to it.
    """
    times = dict(zip(*record.updates("time_s"), strict=True))
    ends = [0.0, *validation(record, "loss", "step").x]
    stretches = [(start + 1, end) for start, end in itertools.pairwise(ends) if end > start + 1]
    means = [(times[end] - times[start]) / (end - start) for start, end in stretches if start in times and end in times]
    return statistics.median(means) if means else None


def to_csv(ablation: Ablation) -> str:
    """One row a run: its configuration, seed and state, where every switch stands, and what was measured."""
    rows = [_row(ablation, run) for run in ablation.plan.runs]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(ablation: Ablation, run: PlannedRun) -> dict[str, object]:
    """The same keys for every run; what was not measured is empty."""
    record, moment = ablation.records.get(run.name), ablation.moment
    state = "finished" if record else "failed" if run.name in ablation.failures else "waiting"
    names = dict.fromkeys(name for values in ablation.measured.values() for name in values)
    values = ablation.measured.get(run.name, {})
    return {
        "configuration": run.cell.name,
        "seed": run.seed,
        "state": state,
        **run.cell.levels,
        "precision": record.environment.get("precision") if record else None,
        **{name: f"{values[name]:.6g}" if name in values else None for name in names},
        "equal_time_s": f"{moment.time_s:.6g}" if moment else None,
        "equal_updates": f"{moment.step:.0f}" if moment else None,
        "overrides": " ".join(run.cell.overrides),
        "folder": f"runs/{run.name}",
    }


def measures(ablation: Ablation) -> list[MeasuredColumn]:
    """The columns of the table, as far as there is something to measure."""
    records = list(ablation.records.values())
    unit = wording.counted_unit(records[0]) if records else "tokens"
    counted = "real tokens" if unit == "tokens" else unit
    columns = [
        MeasuredColumn("step_s", "a step", _step_time, "less", "ratio"),
        MeasuredColumn("tokens_per_s", f"{counted} per second", "{:,.0f}".format, "more", "ratio"),
        MeasuredColumn("padding_share", "padding", wording.per_cent, "less"),
        MeasuredColumn("peak_memory_mb", "peak memory", wording.memory, "less"),
        MeasuredColumn("parameters", "parameters", lambda count: wording.parameters(round(count)), "less"),
    ]
    if (moment := ablation.moment) is not None:
        time, step = wording.duration(moment.time_s), f"{moment.step:,.0f}"
        columns += [
            MeasuredColumn("loss_at_equal_time", f"loss after {time}", "{:.3f}".format, "less"),
            MeasuredColumn("loss_at_equal_updates", f"loss after {step} updates", "{:.3f}".format, "less"),
        ]
    if target := ablation.plan.config.get("train", {}).get("until"):
        columns.append(MeasuredColumn("time_to_target_s", f"time to {target}", wording.duration, "less"))
    if (score := ablation.main_score) is not None:
        shown = wording.per_cent if wording.is_share(score) else "{:.2f}".format
        columns.append(MeasuredColumn(f"test_{score}", f"test {wording.title(score)}", shown, "more"))
    return columns


def _step_time(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms" if seconds < 10 else f"{seconds:.1f} s"
