"""What stands in a run folder? Everything that the tables, figures and pages are made of, read once."""

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from seqlab.config.settings import Tree, read_toml
from seqlab.errors import UserError
from seqlab.runs import events
from seqlab.runs.folder import RunFolder
from seqlab.runs.statistics import Statistics

NOT_SCORES = frozenset({"kind", "step", "time_s", "split", "loss"})
"""What an evaluation holds besides its scores."""


class Score(NamedTuple):
    """A score on the test examples with the ends of its 95 % interval, where it has one."""

    name: str
    value: float
    low: float | None
    high: float | None


class Prediction(NamedTuple):
    """One test example and what the run answered; `score` is the log-probability of the answer."""

    source: str
    target: str
    predicted: str
    correct: bool
    score: float
    f1: float | None = None
    """words that an answer to a question shares with those of people, as a share"""


class LabelPrediction(NamedTuple):
    """One test example of a classification and the class that the run took it for, with its probability."""

    row: int
    label: str
    predicted: str
    correct: bool
    probability: float
    source: str | None = None
    """the text, where texts are classified"""


@dataclass(frozen=True)
class AttentionMap:
    """What a model looked at while it wrote one answer; all weights are shares."""

    text: str
    """the source"""
    source: list[str]
    """S tokens"""
    predicted: list[str]
    """T tokens"""
    layers: int
    heads: list[list[list[float]]]
    """(H, T, S), the weights of the last layer"""
    all_layers: list[list[float]]
    """(T, S), the mean over heads and layers"""
    centres: list[float] | None = None
    """(T), the place in the source, counted from 1, around which each row looked; None: it could look everywhere"""
    window_radius: int | None = None
    """places on either side of a centre that could be seen"""


AnyPrediction = TypeVar("AnyPrediction", Prediction, LabelPrediction)
Exhibit = TypeVar("Exhibit")


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
    predictions: list[Prediction] | None
    """texts for texts"""
    label_predictions: list[LabelPrediction] | None
    """classes"""
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

    @property
    def is_translation(self) -> bool:
        """Whether answers are texts that are judged by how near they come, not only by whether they are right."""
        return self.config.get("task", {}).get("metrics") in ("translation", "paraphrase")

    @property
    def classifies(self) -> bool:
        """Whether the answers are classes."""
        return _classifies(self.config)

    @property
    def answers_questions(self) -> bool:
        """Whether the answers are passages of texts."""
        return self.config.get("task", {}).get("kind") == "answer"

    @property
    def compares_words(self) -> bool:
        """Whether answers differ by words, not by characters."""
        return self.is_translation or self.answers_questions

    def exhibit(self, name: str, kind: type[Exhibit]) -> Exhibit | None:
        """What the task has written for the report under this name, if anything; UserError when it is damaged."""
        path = self.folder.exhibit(name)
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
    config = read_toml(folder.config)
    classifies = _classifies(config)
    return RunRecord(
        folder=folder,
        config=config,
        environment=_read_json(folder.environment) or {},
        events=events.read(folder.events),
        results=_read_json(folder.results),
        predictions=None if classifies else _read_predictions(folder.predictions, _prediction),
        label_predictions=_read_predictions(folder.predictions, _label_prediction) if classifies else None,
        data=_read(folder.data, Statistics) if folder.data.is_file() else None,
        attention=_read(path, list[AttentionMap]) if (path := folder.exhibit("attention")).is_file() else [],
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
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: damaged ({place}: {first['msg']}): delete it to do without") from None


def _read_json(path: Path) -> Tree | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected one JSON object, found {type(content).__name__}")
    return content


def _classifies(config: Tree) -> bool:
    return str(config.get("task", {}).get("kind", "")).startswith("classify")


def _read_predictions(path: Path, parsed: Callable[[Tree], AnyPrediction]) -> list[AnyPrediction] | None:
    if not path.is_file():
        return None
    lines = path.read_bytes().split(b"\n")
    complete = lines[:-1]  # what follows the last line end is empty, or torn by a kill
    found = []
    for number, line in enumerate(complete, start=1):
        try:
            if line.strip():
                found.append(parsed(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}, line {number}: not a prediction ({type(error).__name__}: {error})") from None
    return found


def _prediction(row: Tree) -> Prediction:
    score = float(row.get("score") or 0)
    f1 = float(row["f1"]) if "f1" in row else None
    return Prediction(row["source"], row["target"], row["predicted"], bool(row["correct"]), score, f1)


def _label_prediction(row: Tree) -> LabelPrediction:
    return LabelPrediction(
        int(row["row"]),
        str(row["label"]),
        str(row["predicted"]),
        bool(row["correct"]),
        float(row["probability"]),
        str(row["source"]) if "source" in row else None,
    )
