"""The task contract: what training, run folder, report and command line need of one, whatever its examples are."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import nn

from seqlab.config.settings import Config
from seqlab.data.batching.pairs import EncodedPairs
from seqlab.data.batching.stream import Encoded, evaluation_batches
from seqlab.data.corpora.corpus import Corpus
from seqlab.decode.search import Hypothesis, search
from seqlab.decode.settings import DecodeConfig
from seqlab.engine.loop import LossSum
from seqlab.metrics.intervals import Interval
from seqlab.runs.folder import RunFolder
from seqlab.text.tokenizer import SpecialIds
from seqlab.text.vocabularies import TextConfig

Autocast = Callable[[], AbstractContextManager[Any]]
"""Makes the context of the precision that is wanted."""


class Prediction(NamedTuple):
    """What a model makes of one source."""

    text: str
    score: float
    """log-probability of the text"""
    capped: bool = False
    """cut off at the maximum length"""
    unknown: int = 0
    """how many `<unk>` it has"""


class LineResult(NamedTuple):
    """What a run makes of one line of input."""

    predictions: list[Prediction]
    """the n best, the best first"""
    pieces: int = 1
    """into how many the source was cut: its sentences, if it has more of them than training sources have"""
    remark: str = ""
    """how a source was cut that is too long to be read whole"""
    unknown: Mapping[str, int] = {}
    """how often the source contains out-of-vocabulary tokens"""
    cut_at: str = ""
    """the setting that bounds the source, where only its beginning was read"""


class Sample(NamedTuple):
    """An example for people, and what the model makes of it."""

    source: str
    target: str
    predicted: str


class Evaluation(Protocol):
    """A set of examples, and how good the model is on them."""

    @property
    def quick_scores(self) -> Mapping[str, float]:
        """The scores of a curve: those that the config of the task names, `loss` among them."""
        ...

    @property
    def scores(self) -> Mapping[str, Interval]:
        """Every score, with its 95 % interval where there is one; the most important first."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The part of results.json that a set of examples decides: `examples`, `scores`, and what is the task's own."""
        ...

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines of predictions/test.jsonl: one example each, with what was predicted and whether it is right."""
        ...

    def notes(self) -> list[str]:
        """What the log should say of it."""
        ...


class TaskConfig(Protocol):
    """What the settings of any task tell of it, besides its `kind`."""

    @property
    def measured(self) -> tuple[str, ...]:
        """The scores of a curve, by the names that `--until` uses."""
        ...

    @property
    def main_score(self) -> str:
        """The one that chooses the best checkpoint, by its `Measure`."""
        ...


class Parts(NamedTuple):
    """What a task is assembled from."""

    config: Any
    """the settings of the task"""
    corpus: Any
    """where its examples come from; its files are there, unless `trained` says that they are not needed"""
    model: Any
    """the settings of the model"""
    model_class: Any
    """what these settings configure"""
    text: TextConfig
    decode: DecodeConfig
    seed: int
    trained: RunFolder | None
    """a run that has been started; what it learned from its data is not learned again"""


class Assembly(NamedTuple):
    """What an experiment is made of."""

    task: "Task"
    model: Any


class Task(Protocol):
    """A corpus, how its examples become batches, what is minimised, and how good that is."""

    @property
    def config_class(self) -> type[Config]:
        """Its settings. This and the next three are attributes of the class: `experiment.registry` reads them."""
        ...

    @property
    def example(self) -> type:
        """What it learns from: data that yields it suits the task."""
        ...

    @property
    def role(self) -> str:
        """The part that its model plays: a model of this role suits the task."""
        ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Tables of settings that it reads beside those of every task: text, decode, sizes."""
        ...

    @classmethod
    def assemble(cls, parts: Parts) -> Assembly:
        """The task and a freshly initialised model; UserError where they do not fit each other."""
        ...

    @property
    def corpus(self) -> Corpus[Any]:
        """Where the examples come from."""
        ...

    def save(self, folder: RunFolder) -> None:
        """Writes what a trained run needs besides its weights (vocabularies, classes); the folder exists."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a trained run needs to know of its training data; stored in environment.json."""
        ...

    def training(self, epoch: int) -> Encoded:
        """The encoded examples of an epoch, a pure function of its number."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> LossSum:
        """What is minimised, added up over the batch, and what it is to be divided by."""
        ...

    def evaluate(self, model: Any, examples: Any, *, quick: bool, autocast: Autocast) -> Evaluation:
        """How good the model is on examples of the corpus; `quick` for curves."""
        ...

    def samples(self, model: Any, examples: Any, *, autocast: Autocast) -> list[Sample]:
        """What the model makes of a few examples, to be printed; empty where no line of text shows it."""
        ...

    def artifacts(self, model: Any, evaluation: Any, *, autocast: Autocast) -> dict[str, Any]:
        """JSON values for the report by the name of their file, without .json: attention maps, pictures."""
        ...

    def inputs(self, path: Path) -> Iterable[str]:
        """The inputs in a user's file, one line of text each; UserError where the file cannot be read."""
        ...

    def parse(self, line: str, number: int) -> Any:
        """The input that a line of text stands for; UserError, with its number, where it stands for none."""
        ...

    def predict_batch(
        self, model: Any, inputs: Sequence[Any], *, autocast: Autocast, progress: Callable[[float], None]
    ) -> list[LineResult]:
        """The n best predictions for each of the parsed inputs, in order; `progress` learns the share that is done."""
        ...


NOTHING = LineResult([Prediction("", 0.0)])
"""The result of a blank line."""


def predict_lines(
    task: Task,
    model: Any,
    lines: Sequence[str],
    *,
    autocast: Autocast,
    first: int = 1,
    progress: Callable[[float], None] = lambda number: None,
) -> list[LineResult]:
    """The n best predictions for each line of text, in order; an empty one for a blank line.

    Args:
        task: knows what a line stands for.
        model: as `Task.evaluate` takes it.
        lines: they are predicted together.
        autocast: makes the context of the wanted precision.
        first: number of the first line, for messages.
        progress: learns after every batch how many lines are done, those before `first` among them.

    Raises:
        UserError: where a line is no input of the task; names its number.
    """
    inputs = {row: task.parse(line, first + row) for row, line in enumerate(lines) if line.strip()}
    results = [NOTHING] * len(lines)
    if inputs:
        found = task.predict_batch(
            model,
            list(inputs.values()),
            autocast=autocast,
            progress=lambda share: progress(first - 1 + share * len(lines)),
        )
        for row, result in zip(inputs, found, strict=True):
            results[row] = result
    progress(first - 1 + len(lines))
    return results


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off inside, and as it was afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


Examples = TypeVar("Examples")
Made = TypeVar("Made")


class Once(Generic[Examples, Made]):
    """Remembers what was made last; examples are the same when they are the same object, as a corpus promises."""

    def __init__(self, make: Callable[[Examples], Made]) -> None:
        self._make = make
        self._last: tuple[Examples, Made] | None = None

    def __call__(self, examples: Examples) -> Made:
        """What is made of the examples."""
        if self._last is None or self._last[0] is not examples:
            self._last = examples, self._make(examples)
        return self._last[1]


SAMPLING_SEED = 0
"""Sampled outputs are drawn from this, so that the same input twice gives the same output."""


def write(
    model: Any,
    pairs: EncodedPairs,
    special: SpecialIds,
    decode: DecodeConfig,
    *,
    tokens: int,
    autocast: Autocast,
    unk_id: int | None = None,
    references: Sequence[Sequence[int]] | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> list[list[Hypothesis]]:
    """The n best hypotheses for the source of each pair, in order.

    Args:
        model: meets the decoder contract.
        pairs: their targets are not looked at.
        special: the ids that an output begins and ends with.
        decode: how to search.
        tokens: budget of a batch.
        autocast: makes the context of the wanted precision.
        unk_id: the id that `decode.forbid_unk` forbids.
        references: see `search`.
        progress: learns how many are done after every batch.
    """
    found: dict[int, list[Hypothesis]] = {}
    generator = None
    if decode.method == "sample":
        generator = torch.Generator(next(model.parameters()).device).manual_seed(SAMPLING_SEED)
    with evaluating(model):
        for batch in evaluation_batches(pairs, model, tokens):
            with autocast():
                rows = search(
                    model,
                    batch.source,
                    batch.source_mask,
                    decode,
                    bos_id=special.bos,
                    eos_id=special.eos,
                    unk_id=unk_id,
                    references=None if references is None else [references[row] for row in batch.rows],
                    generator=generator,
                )
            found.update(zip(batch.rows.tolist(), rows, strict=True))
            progress(len(found))
    return [found[row] for row in range(len(pairs))]
