"""From a config to the objects of a run, and from a run folder to scores and predictions."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seqlab.config import read_toml
from seqlab.data.corpus import build_corpus
from seqlab.data.examples import Example
from seqlab.errors import UserError
from seqlab.experiment import Experiment, check
from seqlab.metrics.intervals import Interval
from seqlab.models.transformer import Transformer
from seqlab.paths import RunFolder
from seqlab.tasks.scores import Evaluation, Prediction
from seqlab.tasks.sequence_to_sequence import SequenceToSequence
from seqlab.text.vocabularies import Vocabularies, build_vocabularies
from seqlab.train import checkpoint
from seqlab.train.distributed import DeviceName, resolve_device
from seqlab.train.machine import prepare_cpu
from seqlab.train.precision import Mode, Precision

PREDICT_CHUNK = 2000
"""Lines that are read, sorted by length and answered together."""


class Assembly(NamedTuple):
    """What an experiment is made of."""

    task: SequenceToSequence
    model: Transformer


def assemble(experiment: Experiment, vocabularies: Vocabularies | None = None) -> Assembly:
    """Corpus, vocabularies, task and a freshly initialised model.

    Args:
        experiment: the checked config.
        vocabularies: those of an earlier run; made from the corpus when absent.
    """
    corpus = build_corpus(experiment.data)
    if vocabularies is None:
        corpus.check_files()
        vocabularies = build_vocabularies(experiment.text, *corpus.texts())
    task = SequenceToSequence(experiment.task, experiment.decode, corpus, vocabularies)
    model = Transformer(experiment.model, vocabularies.source.vocab_size, vocabularies.target.vocab_size)
    return Assembly(task, model)


@dataclass(frozen=True)
class Score:
    """The result of `evaluate`."""

    evaluation: Evaluation
    unknown: dict[str, Counter[str]]

    @property
    def scores(self) -> dict[str, Interval]:
        """Every score by its name, with its 95 % interval where there is one; the most important first."""
        return self.evaluation.final_scores

    def to_json(self) -> dict[str, Any]:
        """The part of results.json that a set of examples decides."""
        unknown = {side: dict(counts) for side, counts in self.unknown.items()}
        return {**self.evaluation.to_json(), "unknown": unknown}


class Run:
    """A trained model with everything around it, from its run folder alone."""

    def __init__(self, folder: str | Path, device: DeviceName = "auto") -> None:
        """Loads a run.

        Args:
            folder: the run folder; a run that has not finished yet offers its newest checkpoint.
            device: where to compute.

        Raises:
            UserError: if the folder holds no run, or a damaged one.
        """
        self.folder = Path(folder)
        paths = RunFolder(self.folder)
        self.experiment = read_experiment(paths)
        self.device = resolve_device(device)
        prepare_cpu()
        self.task, self.model = assemble(self.experiment, Vocabularies.load(paths.tokenizers))
        weights, origin = _weights(paths)
        checkpoint.load_into(self.model, weights, str(origin))
        self.model.to(self.device).eval()
        self._precision = Precision(_precision_of(paths, self.device), self.device)
        self.unknown: Counter[str] = Counter()
        """characters without an id in what was asked so far"""

    def evaluate(self, data: str | Path | None = None) -> Score:
        """Scores a file of the task's formats, or the test set of the run."""
        corpus = self.task.corpus
        examples = corpus.test() if data is None else corpus.shown(corpus.read(Path(data)))
        return score(self.task, self.model, examples, self._precision.autocast)

    def predict(self, sources: str | Iterable[str]) -> Any:
        """The answer to one source, or a list of the answers to many, in order."""
        if isinstance(sources, str):
            return next(self.answer([sources]))[0].text
        return [predictions[0].text for predictions in self.answer(sources)]

    def answer(self, sources: Iterable[str]) -> Iterator[list[Prediction]]:
        """The n best predictions for each source, in order, chunk by chunk; an empty source has an empty answer."""
        for chunk in _chunks(sources, PREDICT_CHUNK):
            asked = [source for source in chunk if source]
            self.unknown += self.task.vocabularies.source.unknown(asked)
            found = iter(self.task.predict(self.model, asked, autocast=self._precision.autocast) if asked else ())
            for source in chunk:
                yield [self._answered(best) for best in next(found)] if source else [Prediction("", 0.0, False)]

    def _answered(self, prediction: Prediction) -> Prediction:
        return prediction._replace(text=self.task.corpus.answer(prediction.text))


def score(
    task: SequenceToSequence,
    model: Transformer,
    examples: Sequence[Example],
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Score:
    """All scores and full predictions of a set of examples."""
    evaluation = task.evaluate(model, examples, quick=False, autocast=autocast)
    return Score(evaluation, task.vocabularies.unknown(examples))


def read_experiment(paths: RunFolder) -> Experiment:
    """The config of a run; raises UserError when the folder is none."""
    if not paths.config.is_file():
        raise UserError(f"{paths.root}: not a run folder (no {paths.config.name} in it)")
    return check(read_toml(paths.config), str(paths.config))


def read_environment(paths: RunFolder) -> dict[str, Any]:
    """What the run knows of its machine; raises UserError when the file is missing or damaged."""
    try:
        facts = json.loads(paths.environment.read_text(encoding="utf-8"))
        if not {"precision", "matrix_flops"} <= facts.keys():
            raise ValueError
    except OSError as error:
        raise UserError(f"{paths.environment}: cannot be read ({error.strerror}); take it from the run again") from None
    except (ValueError, AttributeError):
        raise UserError(f"{paths.environment}: damaged; take it from the run again") from None
    return facts


def _weights(paths: RunFolder) -> tuple[dict[str, torch.Tensor], Path]:
    """The final weights, or those of the newest checkpoint of a run that is still going."""
    if paths.weights.is_file():
        return checkpoint.load_weights(paths.weights), paths.weights
    newest = checkpoint.latest(paths.checkpoints)
    if newest is None:
        raise UserError(f"{paths.root}: nothing trained yet (no {paths.weights.name} and no checkpoint)")
    snapshot = checkpoint.load(newest)
    return snapshot.average or snapshot.model, newest


def _precision_of(paths: RunFolder, device: torch.device) -> Mode:
    """The precision that the run was trained in, where this device has it."""
    mode: Mode = read_environment(paths)["precision"]
    return "fp32" if mode == "fp16" and device.type == "cpu" else mode


def _chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while chunk := [item for _, item in zip(range(size), iterator, strict=False)]:
        yield chunk
