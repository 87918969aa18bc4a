"""Where else do the numbers of a run go: TensorBoard, Weights & Biases, MLflow?"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from seqlab.config.settings import Config, settings
from seqlab.errors import UserError
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
        raise UserError(f'{name} is not installed (no module {error.name}): pip install "seqlab[track]"') from None


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
