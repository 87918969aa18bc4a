"""The plan file of an ablation, which lists its runs: written by the queue, read by the report."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from seqlab.config.settings import Config, Tree, build, parse_override
from seqlab.errors import UserError
from seqlab.runs.folder import RunFolder

Settings = dict[str, Any]
"""Values by dotted key; None takes a setting away."""

ON, OFF = "on", "off"


class Switch(Config):
    """A technique that a recipe can do with and without."""

    name: str
    """as the user wrote it, such as buckets or sharing=cycle"""
    doc: str
    """what it is, and what stands in its place"""
    off: Settings
    """settings without it"""
    on: Settings
    """settings with it"""


class Cell(Config):
    """One configuration, to be trained with every seed."""

    name: str
    """what tables and figures call it"""
    levels: dict[str, str]
    """every switch by name, on or off; in a grid every key with its value"""
    overrides: tuple[str, ...]
    """key=value words that make it out of the recipe"""

    @property
    def on(self) -> frozenset[str]:
        """The switches that are on."""
        return frozenset(name for name, level in self.levels.items() if level == ON)


class PlannedRun(NamedTuple):
    """One training: a configuration and a seed."""

    cell: Cell
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{slug(self.cell.name)}-seed{self.seed}"


class Plan(Config):
    """An ablation: what was asked for, and the configurations that it needs, the baseline first."""

    recipe: str
    """name of the recipe, or path of its file"""
    asked: dict[str, tuple[str, ...]]
    """the words of the command line, by option; without one: the recipe and the settings of all runs"""
    config: Tree
    """every setting of the recipe as the user changed it, before any switch is touched"""
    switches: tuple[Switch, ...]
    """the techniques; none in a grid"""
    cells: tuple[Cell, ...]
    """the configurations"""
    seeds: int
    """each is trained with the seeds 1 to this"""

    @property
    def runs(self) -> list[PlannedRun]:
        """In the order of training: one seed of all configurations before the next.

        A queue that ends early has then compared like with like, and what else the machine does hits all alike.
        """
        return [PlannedRun(cell, seed) for seed in range(1, self.seeds + 1) for cell in self.cells]

    @property
    def command(self) -> str:
        """The command line that asks for this."""
        options = [part for option, values in self.asked.items() for value in values for part in (option, value)]
        return shlex.join(["seqlab", "ablate", *(part for part in options if part)])

    @property
    def baseline(self) -> Cell:
        """What the others are compared with: all switches off, or the first values of a grid."""
        return self.cells[0]

    def with_on(self, switches: frozenset[str]) -> Cell | None:
        """The configuration in which exactly these switches are on, if there is one."""
        return next((cell for cell in self.cells if cell.levels and cell.on == switches), None)


@dataclass(frozen=True)
class AblationFolder:
    """The name of every file of an ablation."""

    root: Path

    @property
    def plan(self) -> Path:
        """What was asked for."""
        return self.root / "plan.json"

    @property
    def page(self) -> Path:
        """The offline page."""
        return self.root / "ablation.html"

    @property
    def table(self) -> Path:
        """All measures, one row a run."""
        return self.root / "ablation.csv"

    @property
    def failures(self) -> Path:
        """The last line of every run that failed, by its name."""
        return self.root / "failures.json"

    def run(self, run: PlannedRun) -> RunFolder:
        """A run folder like any other."""
        return RunFolder(self.root / "runs" / run.name)

    def log(self, run: PlannedRun) -> Path:
        """What a training printed."""
        return self.root / "logs" / f"{run.name}.log"


def read_plan(folder: AblationFolder) -> Plan:
    """Raises UserError when the folder has no plan, or a damaged one."""
    try:
        return build(Plan, json.loads(folder.plan.read_text(encoding="utf-8")), str(folder.plan))
    except FileNotFoundError:
        raise UserError(f"{folder.root}: no ablation (no {folder.plan.name} in it)") from None
    except ValueError as error:
        raise UserError(f"{folder.plan}: not valid JSON: {error}") from None


def slug(name: str) -> str:
    """A name that every file system takes: `sharing=cycle, lr=1e-3` -> `sharing-cycle-lr-1e-3`."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def words(settings: Settings) -> list[str]:
    """Settings as one writes them on the command line, in quotes only where they would be read as something else."""
    return [f"{key}={_word(value)}" for key, value in settings.items()]


def _word(value: Any) -> str:
    if isinstance(value, str) and parse_override(f"key={value}") == {"key": value}:
        return value
    return json.dumps(value)
