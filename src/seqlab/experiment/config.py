"""The whole config of a run: what a recipe fills in."""

import re
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from seqlab.config import recipes
from seqlab.config.settings import Config, Tree, build, merge, read_toml
from seqlab.data.batching.buckets import BatchConfig
from seqlab.data.corpora.kinds import CorpusConfig
from seqlab.decode.settings import DecodeConfig
from seqlab.engine.optimizers import AdamW, OptimizerConfig
from seqlab.engine.precision import Clip
from seqlab.engine.schedules import OneCycle, Schedule
from seqlab.errors import UserError
from seqlab.experiment.model_kinds import ModelConfig
from seqlab.experiment.task_kinds import SUITS, TaskConfig
from seqlab.models.hf.encoder import PretrainedConfig
from seqlab.models.hf.encoder_decoder import PretrainedEncoderDecoderConfig
from seqlab.models.recurrent import RecurrentConfig
from seqlab.models.transformer import TransformerConfig
from seqlab.runs.folder import RunFolder
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequenceConfig
from seqlab.text.vocabularies import TextConfig


class About(Config):
    """What a recipe says of itself."""

    name: str = "unnamed"
    """how the run folder is called"""
    summary: str = ""
    """one line"""
    source: str = ""
    """where the setting comes from"""
    expected: str = ""
    """the score it promises"""
    time: str = ""
    """how long that takes, and on what"""


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

    max_steps: int | None = Field(default=None, ge=1)
    """updates after which training ends; the schedule is fitted to it"""
    max_minutes: float | None = Field(default=None, gt=0)
    """minutes after which training ends, evaluations included; the schedule is fitted to it"""
    until: str | None = None
    """a validation score at which training ends, such as accuracy>=0.99"""
    patience: int | None = Field(default=None, ge=1)
    """evaluations without a better main score after which training ends"""
    seed: int = Field(default=1, ge=0)
    """decides first weights, order of the data and dropout"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """arithmetic of the products; auto measures one real step at the start"""
    clip: Clip = Clip()
    """how gradients are kept from exploding"""
    average: float | None = Field(default=None, gt=0, lt=1)
    """decay of the exponential moving average of the weights, evaluated instead of the weights themselves"""
    compile: bool = False
    """run the model through torch.compile"""
    log_every: int = Field(default=10, ge=1)
    """updates between two lines of the log"""
    evaluate_every: int = Field(default=250, ge=1)
    """updates between two evaluations, each followed by a checkpoint"""
    evaluate_examples: int = Field(default=500, ge=1)
    """examples of the training and of the validation set that an evaluation looks at"""
    test_examples: int | None = Field(default=None, ge=1)
    """examples of the test set that the final score looks at; all when absent"""
    keep_best: int = Field(default=1, ge=0)
    """checkpoints with the best main score that stay"""
    keep_last: int = Field(default=1, ge=1)
    """newest checkpoints that stay"""
    final: Literal["best", "last", "average"] = "best"
    """weights of the finished run: best checkpoint, last, or the mean of all that were kept"""
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] | Literal["auto"] = "auto"
    """where curves are sent besides events.jsonl; auto: TensorBoard when it is installed"""

    @field_validator("until")
    @classmethod
    def _target_is_readable(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                Target.parse(text)
            except UserError as error:
                raise ValueError(str(error)) from None
        return text


class Experiment(Config):
    """Every setting of a run."""

    about: About = About()
    """what the recipe says of itself"""
    task: TaskConfig = SequenceToSequenceConfig()
    """what is minimised and how it is scored"""
    data: CorpusConfig
    """where the examples come from"""
    text: TextConfig = TextConfig()
    """how text becomes ids"""
    model: ModelConfig = TransformerConfig()
    """what is trained"""
    batch: BatchConfig = BatchConfig()
    """which examples an update sees"""
    optimizer: OptimizerConfig = AdamW()
    """how weights follow the gradient"""
    schedule: Schedule = OneCycle()
    """share of the peak learning rate over the run"""
    decode: DecodeConfig = DecodeConfig()
    """how an output is searched for"""
    train: TrainConfig = TrainConfig()
    """how long to train, how to look at it, what to keep"""
    sizes: Literal["given", "by-corpus"] = "given"
    """by-corpus: vocabulary size, model size and dropout, where not set, follow from the number of training pairs"""

    @model_validator(mode="before")
    @classmethod
    def _kind_may_be_left_out(cls, tree: Any) -> Any:
        """`optimizer.lr=1e-3` alone means the default kind of optimizer."""
        return merge(KINDS, tree)


KINDS: Tree = {
    name: {"kind": field.default.kind}
    for name, field in Experiment.model_fields.items()
    if hasattr(field.default, "kind")
}
"""The kinds that are meant where a recipe names none."""


OPTIONAL_TABLES = ("text", "decode", "sizes")
"""What only some tasks read."""


def load(name: str, overrides: list[str] | dict[str, object] = []) -> Experiment:  # noqa: B006 - never changed
    """The checked config of a recipe with overrides. Raises UserError for an unknown name, key or value."""
    return check(recipes.resolve(name, overrides, KINDS), name if name.endswith(".toml") else f"recipe {name}")


def read_experiment(paths: RunFolder) -> Experiment:
    """The config of a run; raises UserError when the folder is none."""
    if not paths.config.is_file():
        raise UserError(f"{paths.root}: not a run folder (no {paths.config.name} in it)")
    return check(read_toml(paths.config), str(paths.config))


def check(tree: Tree, origin: str) -> Experiment:
    """The checked config of a tree of settings, with what only the whole can tell."""
    experiment = build(Experiment, tree, origin)
    train = experiment.train
    if train.max_steps is None and train.max_minutes is None:
        raise UserError(f"{origin}: say how long to train: train.max_steps=N or --max-minutes M")
    measured = experiment.task.measured
    if train.until is not None and Target.parse(train.until).score not in measured:
        raise UserError(f"{origin}: train.until={train.until}: the scores are {', '.join(measured)}")
    if train.final == "best" and train.keep_best == 0:
        raise UserError(f'{origin}: train.final="best" needs it kept: set train.keep_best=1 or train.final=last')
    _check_kinds(experiment, origin)
    model, text = experiment.model, experiment.text
    if isinstance(model, TransformerConfig | RecurrentConfig) and model.tying == "all" and not text.shared:
        raise UserError(f'{origin}: model.tying="all" needs one vocabulary for both sides: set text.shared=true')
    comes_with_text = isinstance(model, PretrainedEncoderDecoderConfig)
    if comes_with_text and text.unit != "pretrained":
        raise UserError(f'{origin}: the checkpoint brings its own vocabulary: set text.unit="pretrained"')
    if text.unit == "pretrained" and not comes_with_text:
        raise UserError(f'{origin}: text.unit="pretrained" needs model.kind="pretrained-encoder-decoder"')
    if train.compile and isinstance(model, PretrainedConfig) and model.cache_frozen != "no":
        raise UserError(f"{origin}: train.compile=true does not go with model.cache_frozen: leave one of them out")
    if isinstance(experiment.task, SequenceToSequenceConfig) and experiment.task.normalize and not comes_with_text:
        raise UserError(f'{origin}: task.normalize has no effect with text.unit="{text.unit}": leave it out')
    same_order = text.reverse_source == text.reverse_target
    if isinstance(model, RecurrentConfig) and model.attention == "local-m" and not same_order:
        raise UserError(
            f'{origin}: model.attention="local-m" follows the order of the source, but only one side is reversed: '
            "set text.reverse_source and text.reverse_target alike"
        )
    return experiment


def _check_kinds(experiment: Experiment, origin: str) -> None:
    """The data and the model suit the task, and no table is set that the task does not read."""
    task = experiment.task.kind
    suits = SUITS[task]
    for name, kinds in (("data", suits.data), ("model", suits.models)):
        if (kind := getattr(experiment, name).kind) not in kinds:
            raise UserError(f'{origin}: {name}.kind="{kind}" does not suit the task {task}: set {" or ".join(kinds)}')
    for name in OPTIONAL_TABLES:
        field = Experiment.model_fields[name]
        if name not in suits.reads and getattr(experiment, name) != field.default:
            raise UserError(f"{origin}: {name} has no effect with the task {task}: leave it out")
