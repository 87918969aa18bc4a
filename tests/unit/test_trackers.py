"""What is sent to each tracker; Weights & Biases and MLflow are stood in for by modules that remember the calls."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqlab.config.settings import Config
from seqlab.engine.recorder import open_trackers
from seqlab.errors import UserError
from seqlab.runs.folder import RunFolder


class Inner(Config):
    lr: float = 0.001


class Outer(Config):
    optimizer: Inner = Inner()
    seed: int = 1


CONFIG = Outer()


def test_tensorboard_is_on_by_itself_and_writes_into_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tracker,) = open_trackers("auto", tmp_path, CONFIG)
    tracker.log(1, {"training/loss": 2.0, "training/mfu": 0.5})
    tracker.log(2, {"training/loss": 1.5})
    tracker.close()
    curves = EventAccumulator(str(RunFolder(tmp_path).tensorboard)).Reload()
    assert [(point.step, point.value) for point in curves.Scalars("training/loss")] == [(1, 2.0), (2, 1.5)]
    assert [point.value for point in curves.Scalars("training/mfu")] == [0.5]


def test_auto_is_content_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert open_trackers("auto", tmp_path, CONFIG) == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_named(tmp_path: Path, name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [
        *(m for m in sys.modules if m.split(".")[0] == name or m.startswith("torch.utils.tensorboard")),
        name,
    ]:
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"{name} is not installed.*pip install {name}"):
        open_trackers([name], tmp_path, CONFIG)


def test_weights_and_biases_gets_config_points_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    run = SimpleNamespace(
        log=lambda values, step: calls.append(("log", step, values)), finish=lambda: calls.append(("finish",))
    )

    def init(**settings: Any) -> SimpleNamespace:
        calls.append(("init", settings))
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    (tracker,) = open_trackers(["wandb"], tmp_path, CONFIG)
    tracker.log(3, {"training/loss": 2.0})
    tracker.close()
    settings = {
        "project": "seqlab",
        "name": tmp_path.name,
        "dir": str(tmp_path),
        "config": {"optimizer": {"lr": 0.001}, "seed": 1},
    }
    assert calls == [("init", settings), ("log", 3, {"training/loss": 2.0}), ("finish",)]


def test_mlflow_gets_flat_parameters_points_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    module = SimpleNamespace(
        start_run=lambda run_name: calls.append(("start", run_name)),
        log_params=lambda values: calls.append(("params", values)),
        log_metrics=lambda values, step: calls.append(("log", step, values)),
        end_run=lambda: calls.append(("end",)),
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    (tracker,) = open_trackers(["mlflow"], tmp_path, CONFIG)
    tracker.log(3, {"training/loss": 2.0})
    tracker.close()
    params = {"optimizer.lr": "0.001", "seed": "1"}
    assert calls == [("start", tmp_path.name), ("params", params), ("log", 3, {"training/loss": 2.0}), ("end",)]
