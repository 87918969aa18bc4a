"""The whole config of a run: what a recipe fills in."""

import re
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from seqlab.config import recipes
from seqlab.config.settings import Config, Tree, build, merge, read_toml
from seqlab.data.batching.stream import BatchConfig
from seqlab.decode.settings import DecodeConfig
from seqlab.engine.precision import Clip
from seqlab.errors import UserError
from seqlab.experiment import registry
from seqlab.runs.compatibility import upgraded
from seqlab.runs.folder import RunFolder, check_links
from seqlab.text.vocabularies import TextConfig

FOLDER_NAME = re.compile(r'[^/\\:*?"<>|\x00-\x1f\s.][^/\\:*?"<>|\x00-\x1f]{0,99}(?<!\s)')
"""A name that every file system takes, and no path."""


class About(Config):
    """What a recipe says of itself."""

    name: str = "unnamed"
    """name of the run folder"""
    summary: str = ""
    """one line"""
    source: str = ""
    """where the setting comes from"""
    expected: str = ""
    """expected score"""
    time: str = ""
    """expected training time and hardware"""

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        """Runs are written to `runs/NAME-...`: a name with a path in it would lead elsewhere."""
        if not FOLDER_NAME.fullmatch(name):
            raise ValueError("must be a plain folder name of at most 100 characters")
        return name


class Target(NamedTuple):
    """A score to reach, as in `accuracy>=0.99`."""

    score: str
    at_least: bool
    value: float

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Reads `NAME>=NUMBER` or `NAME<=NUMBER`; raises UserError otherwise."""
        match = re.fullmatch(r"\s*([a-z0-9_.-]+)\s*(>=|<=)\s*([0-9.eE+-]+)\s*", text)
        if match is None:
            raise UserError(f'"{text}" is not a target: write for example accuracy>=0.99 or loss<=0.1')
        try:
            return cls(match[1], match[2] == ">=", float(match[3]))
        except ValueError:
            raise UserError(f'"{match[3]}" in the target "{text}" is not a number') from None

    def reached(self, scores: dict[str, float]) -> bool:
        """Whether the scores of an evaluation meet it; raises UserError when there is no such score."""
        if self.score not in scores:
            raise UserError(f'the target score "{self.score}" is not measured; measured: {", ".join(scores)}')
        value = scores[self.score]
        return value >= self.value if self.at_least else value <= self.value


class TrainConfig(Config):
    """How long to train, how to look at it, what to keep."""

    epochs: float | None = Field(default=None, gt=0)
    """passes over the training data, such as 3 or 0.2, after which training ends; the schedule is fitted to it"""
    max_steps: int | None = Field(default=None, ge=1)
    """updates after which training ends; the schedule is fitted to it"""
    max_minutes: float | None = Field(default=None, gt=0)
    """minutes after which training ends, evaluations included; the schedule is fitted to it"""
    until: str | None = None
    """a validation score at which training ends, such as accuracy>=0.99"""
    patience: int | None = Field(default=None, ge=1)
    """evaluations without a better main score after which training ends"""
    seed: int = Field(default=1, ge=0)
    """seed of the initial weights, the order of the data and dropout"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """number format of matrix products; auto times one real step at the start"""
    clip: Clip = Clip()
    """how gradients are kept from exploding"""
    average: float | None = Field(default=None, gt=0, lt=1)
    """decay of the exponential moving average of the weights, evaluated instead of the weights themselves"""
    compile: bool = False
    """run the model through torch.compile"""
    log_every: int = Field(default=10, ge=1)
    """updates between two log lines"""
    evaluate_every: Annotated[int, Field(ge=1)] | Literal["epoch"] = 250
    """updates between two evaluations, each followed by a checkpoint; epoch: at the end of each"""
    evaluate_examples: int = Field(default=500, ge=1)
    """number of training and of validation examples per evaluation"""
    test_examples: int | None = Field(default=None, ge=1)
    """number of test examples in the final score; all when absent"""
    keep_best: int = Field(default=1, ge=0)
    """number of checkpoints to keep with the best main score"""
    keep_last: int = Field(default=1, ge=1)
    """number of newest checkpoints to keep"""
    final: Literal["best", "last", "average"] = "best"
    """weights of the finished run: best checkpoint, last, or the mean of all that were kept"""
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] | Literal["auto"] = "auto"
    """where curves are sent besides events.jsonl; auto: TensorBoard when it is installed"""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        others = [name for name in ("max_steps", "max_minutes") if getattr(self, name) is not None]
        if self.epochs is not None and others:
            raise ValueError(f"epochs and {others[0]} both say how long to train: leave one of them out")
        return self

    @field_validator("until")
    @classmethod
    def _target_is_readable(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                Target.parse(text)
            except UserError as error:
                raise ValueError(str(error)) from None
        return text


def _is_table(settings: Any) -> Any:
    if not isinstance(settings, Config):
        raise PydanticCustomError("model_type", "a table of settings")
    return settings


Chosen = Annotated[Any, AfterValidator(_is_table)]
"""Settings whose class is the one that `kind` names: see `registry`."""


class Experiment(Config):
    """Every setting of a run."""

    about: About = About()
    """what the recipe says of itself"""
    task: Chosen
    """what is minimised and how it is scored"""
    data: Chosen
    """where the examples come from"""
    text: TextConfig = TextConfig()
    """how text becomes ids"""
    model: Chosen
    """what is trained"""
    batch: BatchConfig = BatchConfig()
    """the examples of an update"""
    optimizer: Chosen
    """update rule of the weights"""
    schedule: Chosen
    """share of the peak learning rate over the run"""
    decode: DecodeConfig = DecodeConfig()
    """decoding: greedy, beam search or sampling"""
    train: TrainConfig = TrainConfig()
    """how long to train, how to look at it, what to keep"""
    auto_size: bool = False
    """choose vocabulary size, model size and dropout, where not set, by the number of training pairs"""


OPTIONAL_TABLES = ("text", "decode", "auto_size")
"""What only some tasks read."""


def load(name: str, overrides: list[str] | dict[str, object] = [], *, warn: bool = True) -> Experiment:  # noqa: B006 - never changed
    """The checked config of a recipe with overrides; `warn` of former names of settings.

    Raises UserError for an unknown name, key or value.
    """
    tree = recipes.resolve(
        name, overrides, registry.DEFAULT_TREE, lambda change: one_length(upgraded(change, warn=warn))
    )
    return check(tree, name if name.endswith(".toml") else f"recipe {name}")


def one_length(tree: Tree) -> Tree:
    """Settings in which epochs take the place of other limits that stand below them, and the other way round."""
    train = tree.get("train")
    if not isinstance(train, dict):
        return tree
    if train.get("epochs") is not None:
        return {**tree, "train": {"max_steps": None, "max_minutes": None, **train}}
    if any(train.get(name) is not None for name in ("max_steps", "max_minutes")):
        return {**tree, "train": {"epochs": None, **train}}
    return tree


def read_experiment(paths: RunFolder, *, trust_code: bool = False) -> Experiment:
    """The config of a run; raises UserError when the folder is none.

    Args:
        paths: the run folder.
        trust_code: import the user's own classes that it names; without it only modules that the user has named.
    """
    if not paths.config.is_file():
        raise UserError(f"{paths.root}: not a run folder (no {paths.config.name} in it)")
    check_links(paths)
    tree = upgraded(read_toml(paths.config))
    if not trust_code:
        registry.check_trusted(tree, str(paths.config))
    return check(tree, str(paths.config))


def check(tree: Tree, origin: str) -> Experiment:
    """The checked config of a tree of settings, with what only the whole can tell."""
    tree = merge(registry.DEFAULT_TREE, tree)
    experiment = build(Experiment, tree | _chosen(tree, origin), origin)
    train = experiment.train
    if train.epochs is None and train.max_steps is None and train.max_minutes is None:
        raise UserError(f"{origin}: set the length of training: train.epochs=N, train.max_steps=N or --max-minutes M")
    measured = experiment.task.measured
    if train.until is not None and Target.parse(train.until).score not in measured:
        raise UserError(f"{origin}: train.until={train.until}: the scores are {', '.join(measured)}")
    if train.final == "best" and train.keep_best == 0:
        raise UserError(
            f'{origin}: train.final="best" needs a best checkpoint: set train.keep_best=1 or train.final=last'
        )
    _check_kinds(experiment, origin)
    for section in registry.BUILT_IN:
        for complaint in getattr(experiment, section).complaints(experiment):
            raise UserError(f"{origin}: {complaint}")
    return experiment


def _chosen(tree: Tree, origin: str) -> Tree:
    """The sections whose class depends on their kind, each as an object of that class."""
    found: Tree = {}
    for section in registry.BUILT_IN:
        table = tree.get(section)
        if not isinstance(table, dict):
            continue  # it is an object already, or no table: the check of the whole says so
        if not isinstance(kind := table.get("kind"), str):
            raise UserError(f"{origin}: {section}.kind is required: the other settings depend on it")
        try:
            settings = registry.config_class(section, kind)
        except UserError as error:
            raise UserError(f"{origin}: {error}") from error
        found[section] = build(settings, table, origin, section)
    return found


def _check_kinds(experiment: Experiment, origin: str) -> None:
    """The data and the model suit the task, and no table is set that the task does not read."""
    name = experiment.task.kind
    task = registry.find("task", name)
    for section in ("data", "model"):
        kind = getattr(experiment, section).kind
        if not registry.suits(section, registry.find(section, kind), task):
            known = registry.suiting(section, task)
            hint = f": set {' or '.join(known)}" if known else ""
            raise UserError(f'{origin}: {section}.kind="{kind}" does not suit the task {name}{hint}')
    for table in unread_tables(experiment):
        if getattr(experiment, table) != Experiment.model_fields[table].default:
            raise UserError(f"{origin}: {table} has no effect with the task {name}: leave it out")


def unread_tables(experiment: Experiment) -> list[str]:
    """The tables that the task of the experiment does not read."""
    task = registry.find("task", experiment.task.kind)
    return [table for table in OPTIONAL_TABLES if table not in task.reads]
