"""A trained run, from its folder alone: scores and predictions."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, reduce
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from seqlab.config.settings import Overrides, changes, merge
from seqlab.decode.settings import METHODS_OF
from seqlab.engine import checkpoint
from seqlab.engine.distributed import DeviceName, resolve_device
from seqlab.engine.machine import prepare_cpu
from seqlab.engine.precision import Mode, Precision
from seqlab.errors import UserError
from seqlab.experiment.assembly import assemble
from seqlab.experiment.config import Experiment, check, read_experiment
from seqlab.inference.inputs import with_references
from seqlab.models.hf.adapters import merge_adapters
from seqlab.runs.checksums import verify_checksums
from seqlab.runs.compatibility import upgraded
from seqlab.runs.data_files import changed_data, kept_test_set
from seqlab.runs.folder import RunFolder, read_environment
from seqlab.tasks.task import Assembly, Evaluation, LineResult, Task, predict_lines

CHUNK = 2000
"""Sources that are read, sorted by length and answered together."""


class Run:
    """A trained model with everything around it, from its run folder alone; weights are loaded when they are needed."""

    def __init__(
        self,
        folder: str | Path,
        device: DeviceName = "auto",
        settings: Overrides = (),
        *,
        trust_code: bool = False,
    ) -> None:
        """Reads the config of a run.

        Args:
            folder: the run folder; a run that has not finished yet offers its newest checkpoint.
            device: where to compute.
            settings: of search and metrics, where they differ: `["decode.beam_width=8"]` or `{"decode.beam_width": 8}`.
            trust_code: import the classes of somebody's own that the run names, even from modules not imported yet.

        Raises:
            UserError: if the folder holds no run; if a setting is of anything else. Damaged weights are found later.
        """
        self.folder = Path(folder)
        self.experiment = _adjusted(read_experiment(RunFolder(self.folder), trust_code=trust_code), settings)
        self.device = resolve_device(device)
        self.unknown: Counter[str] = Counter()
        """out-of-vocabulary tokens in the input so far"""

    @cached_property
    def _loaded(self) -> tuple[Assembly, Precision]:
        """Task, model with its trained weights, and the precision that it was trained in."""
        paths = RunFolder(self.folder)
        verify_checksums(paths)
        prepare_cpu()
        task, model = assemble(self.experiment, paths)
        if paths.weights.is_file():  # a finished run has its adapters in the matrices
            merge_adapters(model)
        weights, origin = _weights(paths)
        checkpoint.load_into(model, weights, str(origin))
        model.to(self.device).eval()
        return Assembly(task, model), Precision(_precision_of(paths, self.device), self.device)

    @property
    def task(self) -> Task:
        """What the run was trained for."""
        return self._loaded[0].task

    @property
    def model(self) -> Any:
        """The model with its trained weights."""
        return self._loaded[0].model

    def evaluate(self, data: str | Path | None = None, references: Sequence[str] = ()) -> Evaluation:
        """Scores a file of the task's formats, or the test set of the run.

        Args:
            data: the file.
            references: further ones than its targets: columns of the file, or files with one on each line.
        """
        (task, model), precision = self._loaded
        if data is None and references:
            raise UserError("--reference needs a file to score: --data FILE")
        examples = self._test_set(task.corpus) if data is None else task.corpus.read(Path(data))
        if references:
            examples = with_references(task, Path(data or ""), examples, references)
        return task.evaluate(model, examples, quick=False, autocast=precision.autocast)

    def _test_set(self, corpus: Any) -> Any:
        """The one that the run keeps; else that of the data files, which have to be those that it was trained on."""
        paths = RunFolder(self.folder)
        kept = kept_test_set(paths, getattr(corpus, "example", None))
        if kept is not None:
            return kept
        if changed := changed_data(paths, getattr(corpus, "files", list)()):
            raise UserError(f"{changed}, so the test set may differ: score a file of your own with --data")
        return corpus.test()

    def predict(self, sources: str | Iterable[str]) -> Any:
        """The prediction for one line of text, or a list of those for many, in order."""
        if isinstance(sources, str):
            return self.predict_lines([sources])[0].predictions[0].text
        return [result.predictions[0].text for chunk in chunks(sources) for result in self.predict_lines(chunk)]

    def predict_lines(
        self, lines: Sequence[str], first: int = 1, progress: Callable[[float], None] = lambda number: None
    ) -> list[LineResult]:
        """The n best predictions for each line of text, in order; `tasks.task.predict_lines` explains the arguments."""
        (task, model), precision = self._loaded
        found = predict_lines(task, model, lines, autocast=precision.autocast, first=first, progress=progress)
        for result in found:
            self.unknown.update(result.unknown)
        return found

    @property
    def languages(self) -> tuple[str, str] | None:
        """What the run translates from and into; None if it does something else."""
        return getattr(self.task.corpus, "languages", None)

    def check_translates_into(self, language: str) -> None:
        """Raises UserError, which says what the run does, if it does something else."""
        if self.languages is None:
            raise UserError(f"this run does not translate: leave out --to {language}")
        if self.languages[1] != language:
            raise UserError("this run translates {} into {}, not into {}".format(*self.languages, language))

    def check_reads_texts(self) -> None:
        """Raises UserError if the run does not look for answers in a text."""
        if not getattr(self.task, "reads_context", False):
            raise UserError("this run does not answer questions about a text: leave out --context")


def _adjusted(experiment: Experiment, settings: Overrides) -> Experiment:
    """The experiment with other settings of search and metrics; those of another search method are dropped."""
    trees = [upgraded(tree) for tree in changes(settings)]
    if not trees:
        return experiment
    adjustable = getattr(experiment.task, "adjustable", frozenset())
    of_task = {"metrics", "evaluation_tokens", *adjustable}
    if not all(isinstance(tree.get("decode"), dict) or tree.get("task", {}).keys() & of_task for tree in trees):
        others = "".join(f", task.{name}" for name in sorted(adjustable))
        raise UserError(
            "a trained run takes settings of search and metrics only, such as decode.beam_width=8 or "
            f"metrics.bleu.tokenize=zh{others}"
        )
    old = experiment.decode.model_dump()
    method = reduce(merge, trees, {"decode": old})["decode"]["method"]
    kept = {key: value for key, value in old.items() if method in METHODS_OF.get(key, (method,))}
    return check(reduce(merge, trees, experiment.model_dump() | {"decode": kept}), "settings of search and metrics")


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
