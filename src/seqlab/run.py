"""From a config to the objects of a run, and from a run folder to scores and predictions."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import reduce
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seqlab.config import Overrides, changes, merge, read_toml
from seqlab.data.corpus import build_corpus
from seqlab.data.examples import Example
from seqlab.data.mathematics import MathematicsData
from seqlab.data.numbers import NumbersData
from seqlab.data.parallel import ParallelData
from seqlab.decode.settings import METHODS_OF
from seqlab.errors import UserError
from seqlab.experiment import Experiment, check
from seqlab.metrics.intervals import Interval
from seqlab.models.kinds import Model, build_model
from seqlab.paths import RunFolder
from seqlab.tasks.scores import Evaluation, Prediction
from seqlab.tasks.sequence_to_sequence import SequenceToSequence
from seqlab.text.sentences import cut, sentences
from seqlab.text.vocabularies import Vocabularies, build_vocabularies
from seqlab.train import checkpoint
from seqlab.train.distributed import DeviceName, resolve_device
from seqlab.train.machine import prepare_cpu
from seqlab.train.precision import Mode, Precision

CHUNK = 2000
"""Sources that are read, sorted by length and answered together."""


class Assembly(NamedTuple):
    """What an experiment is made of."""

    task: SequenceToSequence
    model: Model


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
    task = SequenceToSequence(experiment.task, experiment.decode, corpus, vocabularies, experiment.train.seed)
    model = build_model(experiment.model, vocabularies.source.vocab_size, vocabularies.target.vocab_size)
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


class Answer(NamedTuple):
    """What a run makes of one source."""

    predictions: list[Prediction]
    """the n best, the best first"""
    pieces: int = 1
    """into how many the source was cut: its sentences, if it has more of them than training sources have"""
    remark: str = ""
    """how a source was cut that is too long to be read whole"""


class _Limits(NamedTuple):
    """Which sources are answered whole."""

    tokens: int
    sentences: int | None
    cuts: bool
    """whether others are cut: half a question of mathematics is none"""


class _Pieces(NamedTuple):
    """A source as the model reads it; a blank one has no pieces."""

    texts: list[str]
    remark: str = ""


class Run:
    """A trained model with everything around it, from its run folder alone."""

    def __init__(self, folder: str | Path, device: DeviceName = "auto", settings: Overrides = ()) -> None:
        """Loads a run.

        Args:
            folder: the run folder; a run that has not finished yet offers its newest checkpoint.
            device: where to compute.
            settings: of the search, where they differ: `["decode.beam_width=8"]` or `{"decode.beam_width": 8}`.

        Raises:
            UserError: if the folder holds no run, or a damaged one; if a setting is none of the search.
        """
        self.folder = Path(folder)
        paths = RunFolder(self.folder)
        self.experiment = _with_search(read_experiment(paths), settings)
        self.device = resolve_device(device)
        prepare_cpu()
        self.task, self.model = assemble(self.experiment, Vocabularies.load(paths.tokenizers))
        weights, origin = _weights(paths)
        checkpoint.load_into(self.model, weights, str(origin))
        self.model.to(self.device).eval()
        self._whole = self._limits(read_environment(paths).get("usual_sentences"))
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
            return self.answer([sources])[0].predictions[0].text
        return [answer.predictions[0].text for chunk in chunks(sources) for answer in self.answer(chunk)]

    def answer(
        self, sources: Sequence[str], first: int = 1, progress: Callable[[float], None] = lambda number: None
    ) -> list[Answer]:
        """The n best predictions for each source, in order. A blank source has an empty answer.

        A source with more tokens than `decode.max_source` or more sentences than `decode.max_sentences` is cut, and its
        answer put together from those to the pieces.

        Args:
            sources: one line each; they are answered together, so give a `CHUNK` of many.
            first: number of the first one.
            progress: learns after every batch how many are done, those before `first` among them.

        Raises:
            UserError: if a source is longer than the model can read, and the run does not cut.
        """
        source = self.task.vocabularies.source
        lengths = map(len, source.encode_batch(sources))
        read = [self._read(*line) for line in zip(sources, lengths, count(first), strict=False)]
        texts = [text for pieces in read for text in pieces.texts]
        self.unknown += source.unknown(texts)
        found = iter(
            self.task.predict(
                self.model,
                texts,
                autocast=self._precision.autocast,
                progress=lambda rows: progress(first - 1 + rows / len(texts) * len(sources)),
            )
        )
        return [
            Answer(self._joined([next(found) for _ in pieces.texts]), len(pieces.texts), pieces.remark)
            for pieces in read
        ]

    @property
    def languages(self) -> tuple[str, str] | None:
        """What the run translates from and into; None if it does something else."""
        match self.experiment.data:
            case MathematicsData():
                return None
            case NumbersData() | ParallelData() as data:
                return data.source, data.target

    def check_translates_into(self, language: str) -> None:
        """Raises UserError, which says what the run does, if it does something else."""
        if self.languages is None:
            raise UserError(f"this run answers questions; it translates nothing into {language}")
        if self.languages[1] != language:
            raise UserError("this run translates {} into {}, not into {}".format(*self.languages, language))

    def _limits(self, usual_sentences: int | None) -> _Limits:
        """Answered whole is what training saw alike; a translation is about as long as its source."""
        decode, readable = self.experiment.decode, self.model.config.max_length
        translates = self.languages is not None
        tokens = decode.max_source or (decode.max_length if translates else readable)
        most = decode.max_sentences or (usual_sentences if translates else None)
        cuts = translates or decode.max_source is not None or decode.max_sentences is not None
        return _Limits(min(tokens, readable), most, cuts)

    def _read(self, source: str, tokens: int, number: int) -> _Pieces:
        """A source as the model reads it."""
        if not source.strip():
            return _Pieces([])
        longest, most, cuts = self._whole
        too_many = cuts and most is not None and sum(1 for _ in sentences(source)) > most
        if tokens <= longest and not too_many:
            return _Pieces([source])
        if not cuts:
            raise UserError(f"line {number}: {tokens:,} tokens, but the model reads {longest:,} at most: shorten it")
        found = cut(source, lambda text: len(self.task.vocabularies.source.encode(text)) <= longest)
        where = "also inside sentences" if len(found.pieces) > found.sentences else "at sentence ends"
        remark = f"line {number}: {tokens:,} tokens, over {longest:,}: cut into {len(found.pieces)}, {where}"
        return _Pieces(found.pieces, remark if tokens > longest else "")

    def _joined(self, parts: list[list[Prediction]]) -> list[Prediction]:
        """The k-th best answer to a source is made of the k-th best ones to its pieces."""
        answer = self.task.corpus.answer
        joined = [
            Prediction(" ".join(map(answer, texts)), sum(scores), any(capped))
            for texts, scores, capped in (zip(*kth, strict=True) for kth in zip(*parts, strict=False))
        ]
        return joined or [Prediction("", 0.0, False)]


def score(
    task: SequenceToSequence,
    model: Model,
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


def _with_search(experiment: Experiment, settings: Overrides) -> Experiment:
    """The experiment with other settings of the search; those of another method than the new one are forgotten."""
    trees = changes(settings)
    if not trees:
        return experiment
    if not all(isinstance(tree.get("decode"), dict) for tree in trees):
        raise UserError("a trained run takes settings of its search only, such as decode.beam_width=8")
    old = experiment.decode.model_dump()
    method = reduce(merge, trees, {"decode": old})["decode"]["method"]
    kept = {key: value for key, value in old.items() if method in METHODS_OF.get(key, (method,))}
    return check(reduce(merge, trees, experiment.model_dump() | {"decode": kept}), "settings of the search")


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


def chunks(sources: Iterable[str]) -> Iterator[list[str]]:
    """Lists of `CHUNK` sources, the last one shorter."""
    iterator = iter(sources)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
