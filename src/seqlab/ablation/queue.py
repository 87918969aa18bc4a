"""`seqlab ablate`: makes the plan of an ablation and runs it.

Every run is a process of its own and leaves a normal run folder. A queue that was stopped resumes where it was.
"""

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

from seqlab.ablation.measured import read_failures
from seqlab.ablation.page import run_line, write_ablation
from seqlab.ablation.plan import (
    OFF,
    ON,
    AblationFolder,
    Cell,
    Plan,
    PlannedRun,
    Settings,
    Switch,
    read_plan,
    slug,
    words,
)
from seqlab.ablation.switches import BaseConfig, find_switch, sharing_settings
from seqlab.config.settings import differences
from seqlab.errors import UserError
from seqlab.experiment.assembly import build_corpus, fitted
from seqlab.experiment.config import check, load
from seqlab.report.folder import load_run
from seqlab.runs.folder import unwritable, write_json
from seqlab.runs.lock import locked
from seqlab.runs.orphans import die_with_parent

MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0}

NOTHING = "(nothing)"


class Request(NamedTuple):
    """What the user asked for, in the words of the command line."""

    recipe: str
    changes: Sequence[str] = ()
    """key=value settings of all runs"""
    switches: str | None = None
    """such as one-cycle,buckets"""
    grid: Sequence[str] = ()
    """each a key with its values: model.sharing=none,cycle"""
    seeds: int = 3
    budget: str | None = None
    """such as 10m"""
    steps: int | None = None
    until: str | None = None
    """such as bleu>=30"""
    device: str = "auto"

    def length(self) -> Settings:
        """How long every run trains. A limit takes the place of those that the recipe has."""
        chosen: Settings = {"train.until": self.until} if self.until else {}
        if self.budget or self.steps:
            chosen |= {"train.max_minutes": minutes(self.budget) if self.budget else None}
            chosen |= {"train.max_steps": self.steps}
        return chosen

    def asked(self) -> dict[str, tuple[str, ...]]:
        """The words by option; recipe and settings stand without one."""
        options = {
            "--switches": self.switches,
            "--seeds": self.seeds,
            "--budget": self.budget,
            "--steps": self.steps,
            "--until": self.until,
            "--device": None if self.device == "auto" else self.device,
        }
        given = {option: (str(value),) for option, value in options.items() if value}
        return {"": (self.recipe, *self.changes), "--grid": tuple(self.grid), **given}


class QueueResult(NamedTuple):
    """How a queue ended."""

    failed: int
    """runs that ended with an error"""
    interrupted: bool


# The plan


def make_plan(request: Request) -> Plan:
    """All configurations, each of them known to be a valid recipe. Raises UserError otherwise."""
    if bool(request.switches) == bool(request.grid):
        raise UserError("name what to compare: --switches one-cycle,buckets or --grid model.sharing=none,cycle")
    if any(word.startswith("train.seed=") for word in request.changes):
        raise UserError("train.seed: every configuration is trained with the seeds 1 to N; set --seeds N")
    changes = [*request.changes, *words(request.length())]
    experiment = fitted(load(request.recipe, changes))
    base = BaseConfig(request.recipe, changes, experiment)
    switches = _switches(request.switches, base) if request.switches else []
    cells = _switched(switches, base) if switches else _grid(request.grid, base)
    for cell in cells:
        _check(cell, request.recipe)
    return Plan(
        recipe=request.recipe,
        asked=request.asked(),
        config=experiment.model_dump(mode="json"),
        switches=tuple(switches),
        cells=tuple(cells),
        seeds=request.seeds,
    )


def minutes(text: str) -> float:
    """`90s`, `10m`, `1.5h` in minutes; raises UserError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or float(match[1]) == 0:
        raise UserError(f'--budget: "{text}" is not a time: write for example 90s, 10m or 1.5h')
    return float(match[1]) * MINUTES[match[2]]


def _switches(texts: str, base: BaseConfig) -> list[Switch]:
    found = [find_switch(text.strip(), base) for text in texts.split(",")]
    names = [switch.name.partition("=")[0] for switch in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f'--switches: "{name}" is listed twice; --grid compares more than two ways')
    return found


def _switched(switches: list[Switch], base: BaseConfig) -> list[Cell]:
    """The baseline, each switch alone, all but each, and all; what would be the same only once."""
    names = [switch.name for switch in switches]
    everything = frozenset(names)
    wanted = {frozenset[str](): "baseline"}
    for name in names:
        wanted.setdefault(frozenset({name}), name)
    for name in names:
        wanted.setdefault(everything - {name}, f"all but {name}")
    wanted.setdefault(everything, "all")
    # Kinds first: a switch that chooses the optimizer carries its settings along, one of which may be a switch too.
    ordered = sorted(switches, key=lambda switch: not any(key.endswith(".kind") for key in switch.on))
    cells = []
    for on, name in wanted.items():
        position: Settings = {}
        for switch in ordered:
            position |= switch.on if switch.name in on else switch.off
        levels = {name: ON if name in on else OFF for name in names}
        cells.append(Cell(name=name, levels=levels, overrides=tuple(base.overrides(position))))
    return cells


def _grid(texts: Sequence[str], base: BaseConfig) -> list[Cell]:
    """One cell for every combination of the values of all axes."""
    axes = dict(_axis(text) for text in texts)
    if len(axes) < len(texts):
        raise UserError("--grid: the same key is listed twice; name all its values at once")
    cells = []
    for values in itertools.product(*axes.values()):
        levels = dict(zip(axes, values, strict=True))
        chosen = [word for key, value in levels.items() for word in _grid_words(key, value, base)]
        name = ", ".join(_level_name(key, value) for key, value in levels.items())
        cells.append(Cell(name=name, levels=levels, overrides=(*base.changes, *chosen)))
    folders = [slug(cell.name) for cell in cells]
    for cell, folder in zip(cells, folders, strict=True):
        if folders.count(folder) > 1:
            raise UserError(f'--grid: "{cell.name}" is listed twice')
    if len(cells) < 2:
        raise UserError("--grid: give at least two values to compare, as in model.sharing=none,cycle")
    return cells


def _axis(text: str) -> tuple[str, list[str]]:
    """`"a.b=1,[2,3]"` -> `("a.b", ["1", "[2,3]"])`: commas inside of brackets are part of a value."""
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise UserError(f'--grid: "{text}" is not a key with values: write for example model.sharing=none,cycle')
    return key.strip(), [value.strip() for value in re.split(r",(?![^\[]*\])", values)]


def _grid_words(key: str, value: str, base: BaseConfig) -> list[str]:
    """A sharing scheme comes with the number of layers that it needs."""
    return words(sharing_settings(base, value)) if key == "model.sharing" else [f"{key}={value}"]


def _level_name(key: str, value: str) -> str:
    """The value where it speaks for itself, such as `cycle`, else with the end of its key: `lr=1e-3`."""
    speaks = value[:1].isalpha() and value not in ("true", "false", "null", "inf", "nan")
    return value if speaks else f"{key.rpartition('.')[2]}={value}"


def _check(cell: Cell, recipe: str) -> None:
    try:
        load(recipe, list(cell.overrides))
    except UserError as error:
        raise UserError(f"{cell.name}: {error}") from None


# The queue


def run_queue(plan: Plan, folder: AblationFolder, device: str, report: Callable[[str], None]) -> QueueResult:
    """Trains what is not trained yet, one run after the other; page and table are written after each.

    Args:
        plan: what to train.
        folder: where; it may hold a part of the same ablation.
        device: auto, cpu, cuda or mps.
        report: takes one line per run.

    Raises:
        UserError: when the folder holds something else, or a file of the data is missing.
    """
    waiting = [run for run in plan.runs if not folder.run(run).results.is_file()]
    if waiting:
        build_corpus(check(plan.config, plan.recipe).data).check_files()
    with locked(folder.root, "choose another --out"):
        try:
            return _train_waiting(plan, folder, waiting, device, report)
        except OSError as error:
            if folder.plan.is_file():
                raise unwritable(error, folder.root, "runs so far are saved; the same command resumes") from None
            raise unwritable(error, folder.root, "choose another --out") from None


def _train_waiting(
    plan: Plan, folder: AblationFolder, waiting: list[PlannedRun], device: str, report: Callable[[str], None]
) -> QueueResult:
    _begin(plan, folder)
    done = len(plan.runs) - len(waiting)
    seeds = "1 seed" if plan.seeds == 1 else f"{plan.seeds} seeds"
    report(f"{len(plan.cells)} configurations, {seeds} each: {len(plan.runs)} runs, {done} of them finished")
    failures = read_failures(folder)
    write_ablation(folder)
    with _Trainings() as trainings:
        for run in waiting:
            code = trainings.run(_command(plan, folder, run, device), folder.log(run))
            failures.pop(run.name, None)
            if folder.run(run).results.is_file():
                line = run_line(load_run(folder.run(run).root))
            elif trainings.stopped:
                break
            else:
                failures[run.name] = _last_words(folder.log(run), code)
                line = f"FAILED: {failures[run.name]} ({folder.log(run)})"
            done += 1
            report(f"[{done}/{len(plan.runs)}] {run.cell.name}, seed {run.seed}: {line}")
            write_json(folder.failures, failures)
            write_ablation(folder)
            if trainings.stopped:
                break
    return QueueResult(len(failures), trainings.stopped)


class _Trainings:
    """Processes that train, one at a time. What is sent to the queue to stop it reaches the one that runs.

    A training is in a session of its own, so that Ctrl-C in a terminal reaches it once: a second one would end it
    before it has saved.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        numbers = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}  # Windows has no SIGHUP
        self._before = {number: signal.signal(number, self._stop) for number in numbers}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, command: list[str], log: Path) -> int:
        """The exit code; both streams go to the end of the log."""
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as file:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=None if sys.platform == "win32" else partial(die_with_parent, os.getpid()),
            )
            if self.stopped:  # by a signal that came while the process was being made
                self._child.terminate()
            return self._child.wait()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        if self._child is not None:
            self._child.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)


def _begin(plan: Plan, folder: AblationFolder) -> None:
    """Writes the plan, or finds the same one. Raises UserError that says what differs."""
    if folder.plan.is_file():
        difference = _difference(read_plan(folder), plan)
        if difference is not None:
            raise UserError(f"{folder.root}: holds another ablation ({difference}); choose another --out")
        return
    if folder.root.exists() and (folder.root.is_file() or any(folder.root.iterdir())):
        raise UserError(f"{folder.root}: is not empty and holds no ablation; choose another --out")
    folder.root.mkdir(parents=True, exist_ok=True)
    write_json(folder.plan, plan.model_dump(mode="json"))


def _difference(old: Plan, new: Plan) -> str | None:
    """What was asked for differs, or what the recipe says by now."""
    for option in dict.fromkeys([*old.asked, *new.asked]):
        texts = [" ".join(plan.asked.get(option, ())) for plan in (old, new)]
        if texts[0] != texts[1]:
            return f"{option} {texts[0] or NOTHING} became {texts[1] or NOTHING}".strip()
    configs = [check(plan.config, plan.recipe) for plan in (old, new)]
    changed = (line for line in differences(*configs) if not line.startswith("about."))
    return next((f"recipe {new.recipe}: {line}" for line in changed), None)


def _command(plan: Plan, folder: AblationFolder, run: PlannedRun, device: str) -> list[str]:
    """Resumes a run that has a checkpoint; starts it, or starts it again, otherwise."""
    paths = folder.run(run)
    start = [sys.executable, "-m", "seqlab", "train"]
    if any(paths.checkpoints.glob("step-*")):
        return [*start, "--resume", str(paths.root), "--device", device]
    again = ["--overwrite"] if paths.config.is_file() else []
    where = ["--seed", str(run.seed), "--out", str(paths.root), "--device", device]
    return [*start, plan.recipe, *run.cell.overrides, *where, *again]


def _last_words(log: Path, code: int) -> str:
    """The last line of a run that failed says why, unless the system ended it."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "it printed nothing")
    return f"ended by signal {-code}" if code < 0 else last.removeprefix("seqlab: ")
