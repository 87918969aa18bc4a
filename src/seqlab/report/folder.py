"""What the tables, figures and pages are made from: a run folder, read once."""

import json
import statistics
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from seqlab.config import recipes
from seqlab.config.settings import Tree, read_toml
from seqlab.errors import UserError
from seqlab.metrics.metric import Measure
from seqlab.metrics.registry import declare
from seqlab.runs import events
from seqlab.runs.compatibility import upgraded
from seqlab.runs.folder import RunFolder
from seqlab.runs.schema import (
    AttentionMap,
    Environment,
    Judged,
    LabelPrediction,
    Results,
    TextPrediction,
    checked,
    first_fault,
)
from seqlab.runs.statistics import Statistics

NOT_SCORES = frozenset({"kind", "step", "time_s", "split", "loss"})
"""What an evaluation holds besides its scores."""

NEARNESS = frozenset({"bleu", "chrf", "rouge_l"})
"""Scores of texts that may be good without being the target."""

OF_CLASSES = frozenset({"macro_f1", "matthews"})
"""Scores that only classes have."""


class Score(NamedTuple):
    """A score on the test examples with the ends of its 95 % interval, where it has one."""

    name: str
    value: float
    low: float | None
    high: float | None


AnyPrediction = TypeVar("AnyPrediction", TextPrediction, LabelPrediction)
Artifact = TypeVar("Artifact")


class Curve(NamedTuple):
    """Points in the order in which they were measured; what was not measured is left out."""

    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class RunRecord:
    """A run as it was found; what a killed or unfinished run did not write is None or empty."""

    folder: RunFolder
    config: Tree
    environment: Tree
    events: list[Tree]
    results: Tree | None
    judged: list[TextPrediction] | list[LabelPrediction] | list[Judged]
    """the rows of predictions/test.jsonl, in the form that its columns make possible"""
    data: Statistics | None
    attention: list[AttentionMap]

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.root.resolve().name

    @property
    def about(self) -> Tree:
        """Name, summary, source and promise of the recipe."""
        return self.config.get("about", {})

    @property
    def recipe(self) -> str:
        """The recipe that was trained."""
        return str(self.about.get("name") or (self.results or {}).get("recipe") or self.name)

    @cached_property
    def own_data(self) -> str | None:
        """The user's training file, by its stem, in a run whose recipe comes with other data, or with none."""
        train = self.config.get("data", {}).get("train")
        first = train[0] if isinstance(train, list) and train else train
        path = first.get("path") if isinstance(first, dict) else first
        if not isinstance(path, str) or self.recipe not in recipes.names():
            return None
        if path == Path(path).stem:  # no file, but the name of a split
            return None
        return None if train == recipes.tree(self.recipe)["data"].get("train") else Path(path).name.partition(".")[0]

    @property
    def heading(self) -> str:
        """What was trained: the recipe, or the user's file with its settings."""
        return self.recipe if self.own_data is None else f"{self.own_data}, with the settings of {self.recipe}"

    @cached_property
    def predictions(self) -> list[TextPrediction]:
        """Test examples whose predictions are texts."""
        return [row for row in self.judged if isinstance(row, TextPrediction)]

    @cached_property
    def label_predictions(self) -> list[LabelPrediction]:
        """Test examples whose predictions are classes."""
        return [row for row in self.judged if isinstance(row, LabelPrediction)]

    @cached_property
    def measured(self) -> Set[str]:
        """The names of all scores, during training and in the end."""
        return {*self.score_names, *(self.results or {}).get("scores", {})}

    @property
    def writes_prose(self) -> bool:
        """Whether predictions are scored by their words, not as right or wrong."""
        return bool(self.measured & NEARNESS)

    @property
    def finds_passages(self) -> bool:
        """Whether answers are passages of texts, whose two scores are those of SQuAD."""
        return {"f1", "exact_match"} <= self.measured

    @property
    def counts_examples(self) -> bool:
        """Whether throughput is in examples: an output is not generated token by token."""
        return bool(self.label_predictions) or self.finds_passages or bool(self.measured & OF_CLASSES)

    def has_any(self, names: Iterable[str]) -> bool:
        """Whether the run folder has a file `NAME.json` or a folder `NAME`, or the results a key of that name."""
        files = {path.name.removesuffix(".json") for path in self.folder.root.iterdir()}
        return any(name in files or name in (self.results or {}) for name in names)

    def artifact(self, name: str, kind: type[Artifact]) -> Artifact | None:
        """What the task has written for the report under this name, if anything; UserError when it is damaged."""
        path = self.folder.artifact(name)
        return _read(path, kind) if path.is_file() else None

    @property
    def scores(self) -> list[Score]:
        """Scores on the test examples, the most important one first."""
        found = (self.results or {}).get("scores", {})
        return [
            Score(name, s["value"], s.get("low"), s.get("high"))
            for name, s in found.items()
            if _measured(s.get("value"))
        ]

    @property
    def score_names(self) -> list[str]:
        """Every score that was followed during training, in order of appearance."""
        names = dict.fromkeys(name for event in self.of_kind("evaluation") for name in event)
        return [name for name in names if name not in NOT_SCORES]

    @property
    def cut(self) -> str | None:
        """What is missing of the log of a finished run; None when nothing is."""
        missing = events.gap(self.events, self.results["step"]) if self.results else None
        return missing and f"{self.folder.events.name}: {missing}"

    def of_kind(self, kind: str) -> Iterator[Tree]:
        """The events of one kind, in order."""
        return (event for event in self.events if event.get("kind") == kind)

    def updates(self, measure: str, against: str = "step") -> Curve:
        """One measure of every update against its step or its training time in seconds."""
        return _curve(self.of_kind("update"), against, measure)

    def evaluations(self, split: str, measure: str, against: str = "step") -> Curve:
        """One measure of every evaluation on the `training` or the `validation` split."""
        return _curve((e for e in self.of_kind("evaluation") if e.get("split") == split), against, measure)

    def median(self, measure: str) -> float | None:
        """The median of a measure over all updates; None when it was never measured."""
        values = self.updates(measure).y
        return statistics.median(values) if values else None

    @property
    def last_step(self) -> int | None:
        """The last update that is known."""
        steps = [event["step"] for event in self.events if event.get("step") is not None]
        return (self.results or {}).get("step") or max(steps, default=None)

    @property
    def train_s(self) -> float | None:
        """Seconds of training so far."""
        times = [event["time_s"] for event in self.events if event.get("time_s") is not None]
        return (self.results or {}).get("train_s") or max(times, default=None)

    @property
    def peak_memory_mb(self) -> float | None:
        """The most memory that the process held."""
        final = (self.results or {}).get("peak_memory_mb")  # NaN where the system does not tell
        return final if _measured(final) else max(self.updates("memory_mb").y, default=None)


def load_run(path: Path) -> RunRecord:
    """Reads the run folder `path`; only its config must be there. Raises UserError naming the file that is wrong."""
    folder = RunFolder(Path(path))
    if not folder.root.is_dir():
        raise UserError(f"{path}: no such folder; name a run folder, as `seqlab train` printed it")
    if not folder.config.is_file():
        raise UserError(f"{path}: not a run folder: {folder.config.name} is missing")
    config = upgraded(read_toml(folder.config))
    for section in ("about", "task", "data", "train"):
        checked(dict[str, Any], config.get(section, {}), f"{folder.config}, {section}")
    results = _read_object(folder.results, Results)
    declare(checked(dict[str, Measure], (results or {}).get("metrics", {}), f"{folder.results}, metrics").values())
    return RunRecord(
        folder=folder,
        config=config,
        environment=_read_object(folder.environment, Environment) or {},
        events=events.read(folder.events),
        results=results,
        judged=_read_predictions(folder.predictions),
        data=_read(folder.data, Statistics) if folder.data.is_file() else None,
        attention=_read(path, list[AttentionMap]) if (path := folder.artifact("attention")).is_file() else [],
    )


def _curve(rows: Iterator[Tree], x: str, y: str) -> Curve:
    points = [(row[x], row[y]) for row in rows if _measured(row.get(x)) and _measured(row.get(y))]
    return Curve([point[0] for point in points], [point[1] for point in points])


def _measured(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _read(path: Path, kind: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path}: damaged ({first_fault(error)}): delete it to do without") from None


def _read_object(path: Path, known: Any) -> Tree | None:
    """A JSON object, the values of its `known` keys checked. A key that is null is left out: it was not measured."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected one JSON object, found {type(content).__name__}")
    checked(known, content, str(path))
    return {key: value for key, value in content.items() if value is not None}


def _read_predictions(path: Path) -> list[Any]:
    """Every row as a prediction; the columns of the first one decide of what kind they all are."""
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    complete = lines[:-1]  # what follows the last line end is empty, or torn by a kill
    adapter, found = None, []
    for number, line in enumerate(complete, start=1):
        try:
            if line.strip():
                row = {name: value for name, value in json.loads(line).items() if value is not None}
                adapter = adapter or TypeAdapter(_row_type(row))
                found.append(adapter.validate_python(row))
        except ValidationError as error:
            raise UserError(f"{path}, line {number}: not a prediction ({first_fault(error)})") from None
        except (ValueError, AttributeError):
            raise UserError(f"{path}, line {number}: not a JSON object of a prediction") from None
    return found


def _row_type(row: Tree) -> type[TextPrediction] | type[LabelPrediction] | type[Judged]:
    if {"label", "probability"} <= row.keys():
        return LabelPrediction
    return TextPrediction if {"source", "target"} <= row.keys() else Judged
