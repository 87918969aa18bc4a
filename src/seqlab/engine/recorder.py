"""Writes down every update: events, trackers and display.

Updates stay on the device until `log_every` of them have come together, so that a GPU waits once per window. Trackers
are TensorBoard, Weights & Biases and MLflow.
"""

import importlib.util
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from seqlab.config.settings import Config, settings
from seqlab.data.batching.stream import Batch
from seqlab.engine.distributed import World
from seqlab.engine.loop import Update
from seqlab.engine.machine import peak_memory_mb
from seqlab.errors import UserError
from seqlab.runs.events import EventLog
from seqlab.runs.folder import RunFolder

TrackerName = Literal["tensorboard", "wandb", "mlflow"]


class Tracker(Protocol):
    """A place that takes numbers."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The `values` after `step` updates, by name."""
        ...

    def close(self) -> None:
        """Writes what is still held back."""
        ...


def open_trackers(names: Literal["auto"] | Sequence[TrackerName], folder: Path, config: Config) -> list[Tracker]:
    """The trackers called `names` for the run in `folder`; "auto" is TensorBoard where it is installed.

    Raises UserError when the package of a tracker that was asked for is missing.
    """
    if names == "auto":
        names = ["tensorboard"] if importlib.util.find_spec("tensorboard") else []
    return [_open(name, folder, config) for name in names]


def _open(name: TrackerName, folder: Path, config: Config) -> Tracker:
    try:
        match name:
            case "tensorboard":
                return TensorBoard(folder)
            case "wandb":
                return WeightsAndBiases(folder, config)
            case "mlflow":
                return MLflow(folder, config)
    except ModuleNotFoundError as error:
        raise UserError(f"{name} is not installed (no module {error.name}): pip install {name}") from None


class TensorBoard:
    """Event files in the run folder; look at them with `tensorboard --logdir runs`."""

    def __init__(self, folder: Path):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(RunFolder(folder).tensorboard))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One point on every curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes what is still held back."""
        self._writer.close()


class WeightsAndBiases:
    """A run of the project WANDB_PROJECT or "seqlab"; WANDB_MODE=offline keeps it in the run folder."""

    def __init__(self, folder: Path, config: Config):
        import os

        import wandb  # pyright: ignore[reportMissingImports] - in the extra "track"

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "seqlab"),
            name=folder.name,
            dir=str(folder),
            config=config.model_dump(mode="json"),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One point on every curve."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


class MLflow:
    """A run of the experiment that MLFLOW_EXPERIMENT_NAME names, at the place that MLFLOW_TRACKING_URI names."""

    def __init__(self, folder: Path, config: Config):
        import mlflow  # pyright: ignore[reportMissingImports] - in the extra "track"

        self._mlflow: Any = mlflow
        mlflow.start_run(run_name=folder.name)
        mlflow.log_params({setting.key: str(setting.value)[:500] for setting in settings(config)})  # MLflow's limit

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One point on every curve."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._mlflow.end_run()


class Display(Protocol):
    """What a person watches during training."""

    def update(self, step: int, progress: float, values: dict[str, float]) -> None:
        """A window of updates is done."""
        ...

    def evaluation(self, step: int, split: str, scores: dict[str, float]) -> None:
        """Scores are in."""
        ...

    def sample(self, step: int, source: str, target: str, predicted: str) -> None:
        """What the model makes of an example now."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...


class NonFiniteError(Exception):
    """The loss or the gradient became NaN or infinite; `batches` are those of the update."""

    def __init__(self, what: str, update: Update) -> None:
        super().__init__(f"the {what} is not finite at update {update.step}, learning rate {update.learning_rate:.3g}")
        self.batches: list[Batch] = update.group.batches


@dataclass
class EpochSums:
    """What has happened since the last epoch ended."""

    nats: float = 0.0
    """the losses of the updates, each times its target tokens"""
    tokens: int = 0
    updates: int = 0
    train_s: float = 0.0
    evaluation_s: float = 0.0

    @property
    def mean_loss(self) -> float:
        """Over the target tokens."""
        return self.nats / self.tokens


@dataclass
class Recorder:
    """Collects updates of one process; only the main one writes."""

    log: EventLog | None  # None in the processes that do not lead
    trackers: Sequence[Tracker]
    display: Display
    world: World
    train_flops: Callable[[np.ndarray], float] | None  # (N, 2) source and target lengths -> FLOPs of training on them
    matrix_rate: float  # FLOP/s of this machine in the precision of the run
    log_every: int
    skips_overflow: bool  # fp16: an update whose gradient overflows is skipped, and that is no failure
    elapsed: Callable[[], float]  # seconds of training so far
    epoch: EpochSums = field(default_factory=EpochSums)
    _window: list[Update] = field(default_factory=list)
    _times: list[float] = field(default_factory=list)
    _mark: float = field(default_factory=time.perf_counter)

    def add(self, update: Update, progress: float) -> None:
        """Takes an update; every `log_every` of them are written, and one that was not applied is reported at once."""
        self._window.append(update)
        self._times.append(self.elapsed())
        if len(self._window) >= self.log_every or not update.applied:
            self.flush(progress)

    def flush(self, progress: float) -> None:
        """Reads the collected updates from the device, checks and writes them.

        Raises:
            NonFiniteError: for the first of them whose loss or gradient is not finite.
        """
        if not self._window:
            return
        losses = self.world.sum(torch.stack([update.loss for update in self._window])) / self.world.size
        norms = torch.stack([update.grad_norm for update in self._window])
        rows = torch.stack([losses.double(), norms.double()]).tolist()
        seconds = time.perf_counter() - self._mark
        speed = self._speed(seconds)
        for update, time_s, loss, norm in zip(self._window, self._times, *rows, strict=True):
            if not math.isfinite(loss):
                raise NonFiniteError("loss", update)
            if not math.isfinite(norm) and not self.skips_overflow:
                raise NonFiniteError("gradient", update)
            values = {
                "loss": loss,
                "tokens": update.group.tokens,
                "learning_rate": update.learning_rate,
                "grad_norm": norm,
                **speed,
            }
            self._write(update.step, time_s, values)
            self.epoch.nats += loss * update.group.tokens
            self.epoch.tokens += update.group.tokens
        self.epoch.updates += len(self._window)
        self.epoch.train_s += seconds
        last = self._window[-1]
        mean_loss = sum(rows[0]) / len(rows[0])
        self.display.update(
            last.step, min(progress, 1.0), {**speed, "loss": mean_loss, "learning_rate": last.learning_rate}
        )
        self._window, self._times = [], []
        self.restart_clock()

    def close(self) -> None:
        """Lets the trackers write what they still hold back."""
        for tracker in self.trackers:
            tracker.close()

    def restart_clock(self) -> None:
        """Time since the last update belongs to something else, an evaluation for example."""
        self._mark = time.perf_counter()

    def evaluation(self, step: int, split: str, scores: dict[str, float]) -> None:
        """Writes the scores of an evaluation."""
        self.display.evaluation(step, split, scores)
        if self.log is not None:
            self.log.write("evaluation", step, time_s=self.elapsed(), split=split, **scores)
            for tracker in self.trackers:
                tracker.log(step, {f"{split}/{name}": value for name, value in scores.items()})

    def end_epoch(self, step: int, values: dict[str, float], *, partial: bool) -> None:
        """Writes what the epoch, or a part of one, came to, and begins the next one."""
        self.epoch = EpochSums()
        if self.log is not None:
            self.log.write("epoch", step, time_s=self.elapsed(), **values, **({"partial": True} if partial else {}))
            for tracker in self.trackers:
                tracker.log(step, {f"epoch/{name}": value for name, value in values.items()})

    def note(self, step: int, text: str) -> None:
        """Writes a remark for people."""
        self.display.note(text)
        if self.log is not None:
            self.log.write("note", step, text=text)

    def sample(self, step: int, source: str, target: str, predicted: str) -> None:
        """Writes an example of what the model says now."""
        self.display.sample(step, source, target, predicted)
        if self.log is not None:
            self.log.write("sample", step, source=source, target=target, predicted=predicted)

    def _speed(self, seconds: float) -> dict[str, float]:
        groups = [update.group for update in self._window]
        speed = {
            "tokens_per_s": sum(group.tokens for group in groups) / seconds,
            "examples_per_s": sum(len(group.shapes) for group in groups) / seconds,
            "padding_share": 1 - sum(group.real for group in groups) / sum(group.slots for group in groups),
            "memory_mb": peak_memory_mb(self.world.device),
        }
        if self.train_flops is not None:
            flops = sum(self.train_flops(group.shapes) for group in groups) / self.world.size
            speed["mfu"] = flops / seconds / self.matrix_rate
        return speed

    def _write(self, step: int, time_s: float, values: dict[str, float]) -> None:
        if self.log is not None:
            self.log.write("update", step, time_s=time_s, **values)
            for tracker in self.trackers:
                tracker.log(step, {f"training/{name}": value for name, value in values.items()})
