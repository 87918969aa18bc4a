"""What a plan consists of, what switches set, and what the page and the table of an ablation say."""

import csv
import io
import itertools
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from test_report import Page, read_page

from seqlab.ablation import queue
from seqlab.ablation.figures import spread
from seqlab.ablation.measured import at, measure, read_ablation, step_seconds, to_csv
from seqlab.ablation.page import summary_table, write_ablation
from seqlab.ablation.plan import AblationFolder, Cell, Plan, PlannedRun, words
from seqlab.ablation.queue import Request, make_plan, minutes
from seqlab.ablation.switches import NAMES, OF_TRANSFORMERS, BaseConfig, find_switch
from seqlab.errors import UserError
from seqlab.experiment.config import load
from seqlab.report.folder import Curve, load_run
from seqlab.runs.events import EventLog

pytestmark = pytest.mark.usefixtures("drawn_figures")

SMALL = tuple(
    words(
        {
            "model.encoder_layers": 2,
            "model.decoder_layers": 2,
            "batch.order": "buckets",
            "schedule.kind": "one-cycle",
        }
    )
)


def base(*changes: str) -> BaseConfig:
    return BaseConfig("math-place-value", [*SMALL, *changes], load("math-place-value", [*SMALL, *changes]))


def plan_of(switches: str | None = None, *changes: str, **more: object) -> Plan:
    return make_plan(Request("math-place-value", (*SMALL, *changes), switches, **more))  # type: ignore[arg-type]


def value_in(cell: Cell, *path: str) -> object:
    """A setting of a configuration, resolved."""
    node: object = load("math-place-value", list(cell.overrides))
    for part in path:
        node = getattr(node, part)
    return node


# Switches


@pytest.mark.parametrize("name", [name for name in NAMES if name != "bpe-dropout"])
def test_every_switch_makes_a_difference(name: str) -> None:
    here = base()
    switch = find_switch(name, here)
    off, on = (load(here.recipe, here.overrides(position)) for position in (switch.off, switch.on))
    assert off != on
    assert switch.doc


RECURRENT = ("one-cycle", "label-smoothing", "dropout", "ema", "tied-embeddings", "muon", "compile")


@pytest.mark.parametrize("name", RECURRENT)
def test_switches_for_recurrent_models(name: str) -> None:
    here = BaseConfig("luong-numbers", [], load("luong-numbers"))
    switch = find_switch(name, here)
    off, on = (load(here.recipe, here.overrides(position)) for position in (switch.off, switch.on))
    assert off != on
    if name == "dropout":
        assert switch.off == {"model.dropout": 0.0}


@pytest.mark.parametrize("name", OF_TRANSFORMERS)
def test_what_recurrent_models_do_not_have(name: str) -> None:
    message = f'the switch "{name}" does not apply: it needs model.kind=transformer, and the recipe has recurrent'
    with pytest.raises(UserError, match=re.escape(message)):
        find_switch(name, BaseConfig("luong-numbers", [], load("luong-numbers")))


def test_pieces_that_vary_need_pieces() -> None:
    with pytest.raises(UserError, match=r'the switch "bpe-dropout" does not apply: .*dropout=0\.1 has no effect'):
        find_switch("bpe-dropout", base())
    assert find_switch("bpe-dropout", base("text.unit=bpe")).on == {"text.dropout": 0.1}


def test_on_is_what_the_recipe_has_and_else_the_default() -> None:
    assert find_switch("label-smoothing", base()).on == {"task.label_smoothing": 0.1}
    assert find_switch("label-smoothing", base("task.label_smoothing=0.05")).on == {"task.label_smoothing": 0.05}
    assert find_switch("mixed-precision", base("train.precision=bf16")).on == {"train.precision": "bf16"}
    assert find_switch("mixed-precision", base("train.precision=fp32")).on == {"train.precision": "auto"}
    kept = find_switch("dropout", base("model.attention_dropout=0.3")).on
    assert kept["model.attention_dropout"] == 0.3


def test_a_schedule_of_another_kind_is_not_the_technique() -> None:
    here = base("schedule.kind=linear", "schedule.final_factor=0.5")
    on = load(here.recipe, here.overrides(find_switch("one-cycle", here).on))
    assert on.schedule == load("math-place-value", list(SMALL)).schedule


def test_one_cycle_on_and_off_have_the_same_mean_rate() -> None:
    """At one peak for both, the peak would decide which of them learns faster."""
    here = base()
    switch = find_switch("one-cycle", here)
    on, off = (load(here.recipe, here.overrides(position)).schedule for position in (switch.on, switch.off))
    means = [statistics.mean(schedule.rates(step, 1000).factor for step in range(1000)) for schedule in (on, off)]
    assert means[0] == pytest.approx(means[1], rel=0.03)


def test_changes_to_a_table_go_with_it() -> None:
    """`schedule.shape` belongs to one-cycle, and a constant schedule knows nothing of it."""
    here = base("schedule.shape=linear", "schedule.warmup=0.2")
    switch = find_switch("one-cycle", here)
    on, off = (load(here.recipe, here.overrides(position)).schedule for position in (switch.on, switch.off))
    assert on.model_dump() == {**on.model_dump(), "kind": "one-cycle", "shape": "linear", "warmup": 0.2}
    assert off.model_dump() == {"kind": "constant", "warmup": 0.0, "level": 0.5}


@pytest.mark.parametrize(
    ("text", "changes", "distinct"),
    [
        ("sharing", ("model.encoder_layers=6", "model.decoder_layers=6"), 3),
        ("sharing", ("model.encoder_layers=6", "model.decoder_layers=4"), 2),
        ("sharing=sequence", ("model.encoder_layers=3", "model.decoder_layers=3"), 1),
        ("sharing=sequence", ("model.encoder_layers=1", "model.decoder_layers=4"), 1),
        ("sharing=cycle-rev", ("model.encoder_layers=4", "model.sharing=cycle", "model.distinct_layers=1"), 1),
        ("sharing=albert", ("model.sharing=cycle", "model.distinct_layers=2"), None),
    ],
)
def test_sharing_comes_with_the_layers_that_it_needs(text: str, changes: tuple[str, ...], distinct: int | None) -> None:
    assert find_switch(text, base(*changes)).on["model.distinct_layers"] == distinct


def test_muon_keeps_the_rate_and_what_else_it_shares_with_adam() -> None:
    here = base("optimizer.lr=0.003", "optimizer.eps=1e-6", "optimizer.weight_decay=0.1")
    switch = find_switch("muon", here)
    on, off = (load(here.recipe, here.overrides(position)).optimizer for position in (switch.on, switch.off))
    assert (on.kind, on.lr, on.weight_decay) == ("muon", 0.003, 0.1)  # type: ignore[union-attr]
    assert off == here.experiment.optimizer


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("bucket", (), 'no switch "bucket"; did you mean "buckets"'),
        ("zzz", (), "the switches are one-cycle"),
        ("buckets=3", (), "only sharing takes a value"),
        ("sharing=albrt", (), 'did you mean "albert"'),
        ("sharing", ("model.encoder_layers=1", "model.decoder_layers=1"), "there is nothing to share"),
        ("muon", ("optimizer.kind=sgd",), "does not suit Muon"),
        ("fused-optimizer", ("optimizer.kind=adafactor",), "unknown setting optimizer.fused"),
    ],
)
def test_a_switch_that_means_nothing_is_told(text: str, changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_switch(text, base(*changes))


# The plan


@pytest.mark.parametrize(
    ("switches", "names"),
    [
        ("buckets", ["baseline", "buckets"]),
        ("buckets,ema", ["baseline", "buckets", "ema", "all"]),
        (
            "buckets,ema,sharing=albert",
            ["baseline", *(each := ["buckets", "ema", "sharing=albert"]), *(f"all but {name}" for name in each), "all"],
        ),
    ],
)
def test_none_each_all_but_each_and_all(switches: str, names: list[str]) -> None:
    cells = plan_of(switches, "train.average=null").cells
    assert [cell.name for cell in cells] == names
    assert len({cell.on for cell in cells}) == len(cells)
    for cell in cells:
        assert (value_in(cell, "batch", "order") == "buckets") == ("buckets" in cell.on)
        assert (value_in(cell, "train", "average") is not None) == ("ema" in cell.on)
        assert (value_in(cell, "model", "sharing") == "albert") == ("sharing=albert" in cell.on)


@pytest.mark.parametrize("order", ["muon,fused-optimizer,one-cycle", "one-cycle,fused-optimizer,muon"])
def test_a_switch_may_be_a_setting_of_another(order: str) -> None:
    for cell in plan_of(order).cells:
        assert value_in(cell, "optimizer", "fused") == ("fused-optimizer" in cell.on)
        assert value_in(cell, "optimizer", "kind") == ("muon" if "muon" in cell.on else "adamw")


def test_a_seed_of_all_configurations_comes_before_the_next() -> None:
    plan = plan_of("buckets,ema", seeds=2)
    assert [(run.cell.name, run.seed) for run in plan.runs] == [
        (cell.name, seed) for seed in (1, 2) for cell in plan.cells
    ]
    assert len({run.name for run in plan.runs}) == len(plan.runs)


def test_length_is_the_same_for_all_and_replaces_that_of_the_recipe() -> None:
    for cell in plan_of("buckets", budget="90s", until="accuracy>=0.9").cells:
        assert value_in(cell, "train", "max_minutes") == 1.5
        assert value_in(cell, "train", "max_steps") is None
        assert value_in(cell, "train", "until") == "accuracy>=0.9"
    assert value_in(plan_of("buckets", steps=7).cells[0], "train", "max_steps") == 7


def test_a_grid_is_every_combination() -> None:
    axes = ("model.sharing=none,albert,cycle", "model.num_heads=1,2", "optimizer.betas=[0.9,0.98],[0.8,0.9]")
    cells = plan_of(grid=axes).cells
    assert len(cells) == 12
    assert cells[-1].name == "cycle, num_heads=2, betas=[0.8,0.9]"
    assert cells[-1].levels == {"model.sharing": "cycle", "model.num_heads": "2", "optimizer.betas": "[0.8,0.9]"}
    found = {
        tuple(str(value_in(cell, *key.split("."))) for key in ("model.sharing", "model.num_heads", "optimizer.betas"))
        for cell in cells
    }
    assert len(found) == 12
    assert [value_in(cell, "model", "distinct_layers") for cell in cells[::4]] == [None, None, 1]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "name what to compare"),
        ({"switches": "buckets", "grid": ("model.width=16,32",)}, "name what to compare"),
        ({"switches": "sharing=albert,sharing=cycle"}, '"sharing" is listed twice'),
        ({"grid": ("model.width",)}, "is not a key with values"),
        ({"grid": ("model.width=16",)}, "at least two values"),
        ({"grid": ("model.width=16,16",)}, "is listed twice"),
        ({"grid": ("model.width=16,32", "model.width=64,128")}, "same key"),
        ({"grid": ("model.widht=16,32",)}, 'widht=16: .*unknown setting model.widht; did you mean "width"'),
        ({"grid": ("model.sharing=none,albrt",)}, 'albrt: .*did you mean "albert"'),
        ({"switches": "buckets", "budget": "10"}, "write for example 90s, 10m or 1.5h"),
        ({"switches": "buckets", "until": "bleu>=3"}, "the scores are loss, accuracy"),
        ({"switches": "buckets", "changes": ("train.seed=3",)}, "set --seeds N"),
    ],
)
def test_a_plan_that_cannot_be_is_told_before_training(request_: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(Request("math-place-value", **request_))  # type: ignore[arg-type]


def test_times_are_read() -> None:
    assert [minutes(text) for text in ("90s", "10m", "1.5h")] == [1.5, 10, 90]
    for text in ("10", "m", "-3m", "0s", "1d"):
        with pytest.raises(UserError, match="is not a time"):
            minutes(text)


def test_a_folder_holds_one_ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue._Trainings, "run", lambda self, command, log: pytest.fail("trained"))
    folder, plan = AblationFolder(tmp_path / "new" / "a"), plan_of("buckets", seeds=2)
    finish_all(plan, folder)
    captured: list[str] = []
    assert queue.run_queue(plan, folder, "cpu", captured.append) == (0, False)
    assert captured == ["2 configurations, 2 seeds each: 4 runs, 4 of them finished"]
    for other, message in (
        (plan_of("buckets", seeds=3), "--seeds 2 became 3"),
        (plan_of("ema", seeds=2), "--switches buckets became ema"),
        (plan_of("buckets", seeds=2, steps=9), r"--steps \(nothing\) became 9"),
        (plan.model_copy(update={"config": {**plan.config, "auto_size": True}}), "recipe .*auto_size: False became"),
    ):
        with pytest.raises(UserError, match=f"holds another ablation .*{message}.*--out"):
            queue.run_queue(other, folder, "cpu", captured.append)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(UserError, match="is not empty and holds no ablation"):
        queue.run_queue(plan, AblationFolder(tmp_path / "full"), "cpu", captured.append)


# What was measured


def write_run(
    plan: Plan,
    folder: AblationFolder,
    run: PlannedRun,
    *,
    speed: float = 1000.0,
    step_s: float = 0.5,
    updates: int = 40,
    accuracy: float = 0.8,
    reached: bool = False,
    precision: str = "fp32",
) -> None:
    """A finished run with an evaluation every 10 updates, each of which takes 3 s; its loss is 4 - updates / 20."""
    paths = folder.run(run)
    paths.root.mkdir(parents=True)
    paths.config.write_text(tomli_w.dumps({"train": {"precision": "auto"}}), encoding="utf-8")
    environment = {"cpu": "Some CPU", "threads": 2, "precision": precision}
    paths.environment.write_text(json.dumps(environment), encoding="utf-8")
    log, time_s = EventLog(paths.events), 0.0
    for step in range(1, updates + 1):
        time_s += step_s
        log.write("update", step, time_s=time_s, loss=4.0, tokens_per_s=speed, padding_share=0.25, memory_mb=100.0)
        if step % 10 == 0:
            time_s += 3
            log.write("evaluation", step, time_s=time_s, split="validation", loss=4 - step / 20, accuracy=step / 50)
    results = {
        "step": updates,
        "train_s": time_s,
        "parameters": 1000,
        "peak_memory_mb": 200.0,
        "time_to_target": {"target": "accuracy>=0.5", "step": 30, "train_s": 15.0} if reached else None,
        "split": "test",
        "examples": 30,
        "scores": {"accuracy": {"value": accuracy, "low": 0.1, "high": 0.9}, "loss": {"value": 2.0}},
    }
    paths.results.write_text(json.dumps(results), encoding="utf-8")


def finish_all(
    plan: Plan, folder: AblationFolder, of_run: Callable[[PlannedRun], dict[str, Any]] = lambda run: {}
) -> None:
    queue._begin(plan, folder)
    for run in plan.runs:
        write_run(plan, folder, run, **of_run(run))


def test_a_run_is_measured(tmp_path: Path) -> None:
    plan, folder = plan_of("buckets", seeds=1), AblationFolder(tmp_path)
    finish_all(plan, folder)
    found = measure(load_run(folder.run(plan.runs[0]).root))
    assert found == {
        "step_s": pytest.approx(0.5),  # evaluations do not count
        "tokens_per_s": 1000.0,
        "padding_share": 0.25,
        "peak_memory_mb": 200.0,
        "parameters": 1000,
        "updates": 40,
        "train_s": 32.0,
        "test_accuracy": 0.8,
        "test_loss": 2.0,
    }


def test_a_step_without_evaluations_has_no_time(tmp_path: Path) -> None:
    plan, folder = plan_of("buckets", seeds=1), AblationFolder(tmp_path)
    queue._begin(plan, folder)
    write_run(plan, folder, plan.runs[0], updates=5)
    assert step_seconds(load_run(folder.run(plan.runs[0]).root)) is None


def test_a_curve_is_read_between_its_points() -> None:
    curve = Curve([10, 20, 40], [4.0, 2.0, 1.0])
    assert [at(curve, x) for x in (9, 10, 15, 30, 40, 41)] == [None, 4.0, 3.0, 1.5, 1.0, None]
    assert at(Curve([], []), 1) is None


def test_losses_are_compared_where_the_shortest_run_ended(tmp_path: Path) -> None:
    """20 slow updates end after 20 s, evaluations included; by then, 30 to 40 faster ones are made."""
    plan, folder = plan_of("buckets", seeds=2), AblationFolder(tmp_path)
    slow, fast = {"step_s": 0.7, "updates": 20}, {"step_s": 0.3, "updates": 40}
    finish_all(plan, folder, lambda run: fast if run.cell.on else slow)
    found = read_ablation(folder)
    baseline, switched = plan.cells
    assert found.moment == pytest.approx((20.0, 20))
    assert found.mean(baseline, "loss_at_equal_time") == pytest.approx((3.0, 3.0, 3.0))
    assert found.mean(switched, "loss_at_equal_time") == pytest.approx([2.5 - 0.5 * 2 / 6] * 3)  # 18 s and 24 s
    assert found.mean(switched, "loss_at_equal_updates") == pytest.approx((3.0, 3.0, 3.0))


def test_what_a_switch_changes_is_paired_by_seed(tmp_path: Path) -> None:
    """Seeds differ a lot, the switch always makes 1.5 times the speed and 0.1 more: no doubt is left."""
    plan, folder = plan_of("buckets,ema", seeds=3), AblationFolder(tmp_path)

    def measured(run: PlannedRun) -> dict[str, Any]:
        on = "buckets" in run.cell.on
        return {"speed": 100.0 * run.seed * (1.5 if on else 1), "accuracy": 0.2 * run.seed + (0.1 if on else 0)}

    finish_all(plan, folder, measured)
    found = read_ablation(folder)
    assert [(pair.switch, pair.company, pair.without.name, pair.having.name) for pair in found.pairs] == [
        ("buckets", "alone", "baseline", "buckets"),
        ("buckets", "with all others", "ema", "all"),
        ("ema", "alone", "baseline", "ema"),
        ("ema", "with all others", "buckets", "all"),
    ]
    for pair in found.pairs[:2]:
        assert found.change(pair, "tokens_per_s", "ratio") == pytest.approx((1.5, 1.5, 1.5))
        assert found.change(pair, "test_accuracy", "difference") == pytest.approx((0.1, 0.1, 0.1))
    for pair in found.pairs[2:]:
        assert found.change(pair, "test_accuracy", "difference") == pytest.approx((0.0, 0.0, 0.0))
    over_seeds = found.mean(plan.baseline, "test_accuracy")
    assert over_seeds is not None
    assert over_seeds == pytest.approx((0.4, 0.4 - 0.4968, 0.4 + 0.4968), abs=1e-3)  # t(2) = 4.303, s = 0.2, n = 3


# Page, table and figures


def test_table_has_a_row_a_run(tmp_path: Path) -> None:
    plan, folder = plan_of("buckets,sharing=albert", seeds=2), AblationFolder(tmp_path)
    queue._begin(plan, folder)
    for run in plan.runs[1:6]:
        write_run(plan, folder, run, accuracy=0.1 * run.seed)
    folder.failures.write_text(json.dumps({plan.runs[0].name: "the loss is not finite"}), encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(to_csv(read_ablation(folder)))))
    assert [(row["configuration"], int(row["seed"])) for row in rows] == [
        (run.cell.name, run.seed) for run in plan.runs
    ]
    assert [row["state"] for row in rows] == ["failed", *["finished"] * 5, *["waiting"] * 2]
    assert [row["test_accuracy"] for row in rows] == ["", "0.1", "0.1", "0.1", "0.2", "0.2", "", ""]
    assert {row["sharing=albert"] for row in rows} == {"on", "off"}
    assert rows[3]["loss_at_equal_updates"] == "2"
    assert load("math-place-value", rows[1]["overrides"].split(" ")).batch.order == "buckets"


def page_of(folder: AblationFolder) -> Page:
    write_ablation(folder)
    return read_page(folder.page)


def test_page_tells_what_was_measured(tmp_path: Path) -> None:
    plan = plan_of("one-cycle,buckets,mixed-precision", seeds=2, until="accuracy>=0.5", steps=40)
    folder = AblationFolder(tmp_path)

    def measured(run: PlannedRun) -> dict[str, Any]:
        return {"speed": 1000 + 500 * len(run.cell.on), "reached": run.seed > len(run.cell.on)}

    finish_all(plan, folder, measured)
    page = page_of(folder)
    assert page.tags.count("svg") == 5
    for cell in plan.cells:
        assert page.text.count(cell.name) >= 4  # its row, and its name in three figures
    assert "8 configurations of 3 switches, 2 seeds each" in page.text
    assert "2.50 ×" in page.text  # all on: 2,500 against 1,000 tokens per second
    assert "not in 32 s" in page.text
    assert "1 of 2 runs" in page.text
    assert "have the same mean" in page.text
    assert "schedule.kind=constant" in page.text
    assert plan.command in page.text
    assert "until accuracy>=0.5, at most 40 updates" in page.text


def test_page_tells_where_formats_differ_by_chance(tmp_path: Path) -> None:
    plan = plan_of("buckets", seeds=1)
    for name, second, message in (
        ("a", "fp32", "mixed precision was not used"),
        ("b", "bf16", "fp32 in baseline-seed1,"),
    ):
        folder = AblationFolder(tmp_path / name)
        finish_all(plan, folder, lambda run, second=second: {"precision": second if run.cell.on else "fp32"})
        assert message in page_of(folder).text


def test_page_of_a_queue_that_has_just_begun(tmp_path: Path) -> None:
    plan, folder = plan_of(grid=("model.norm=layer,rms", "model.width=16,32"), seeds=1), AblationFolder(tmp_path)
    queue._begin(plan, folder)
    assert "4 of 4 runs are still to come" in page_of(folder).text
    write_run(plan, folder, plan.runs[2])
    folder.failures.write_text(json.dumps({plan.runs[0].name: "out of <memory>"}), encoding="utf-8")
    page = page_of(folder)
    assert "2 of 4 runs are still to come" in page.text
    assert "failed: out of <memory>" in page.text
    assert "One seed" in page.text
    assert "4 configurations of model.norm × model.width, 1 seed each" in page.text
    assert "What each switch changes" not in page.text
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(summary_table(read_ablation(folder)))
    assert "rms, width=16" in console.export_text()


@given(st.lists(st.floats(-1, 2), max_size=18), st.floats(0.01, 0.055))
def test_names_keep_their_distance_and_their_order(heights: list[float], gap: float) -> None:
    placed = spread(heights, gap)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in placed)
    order = np.argsort(heights, kind="stable")
    for low, high in itertools.pairwise(order):
        assert placed[high] - placed[low] >= gap - 1e-9


def test_names_that_have_room_stay_where_they_are() -> None:
    assert spread([0.9, 0.1, 0.5], 0.1) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread([1.0, 0.99], 0.1) == pytest.approx([1.0, 0.9])
