"""A training as a whole: how it ends before its time, and what it leaves in the run folder."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from seqlab.display import Silent
from seqlab.engine.loop import LossSum
from seqlab.errors import UserError
from seqlab.experiment.assembly import Assembly, assemble
from seqlab.experiment.config import Experiment
from seqlab.runs import events, folder
from seqlab.runs.folder import RunFolder
from seqlab.training import state as training_state
from seqlab.training.trainer import train


@pytest.fixture(autouse=True)
def _no_matrix_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        training_state, "matrix_rate", lambda device, dtype: 1e11
    )  # measuring takes longer than training


def run(experiment: Experiment, root: Path, **changes: Any) -> bool:
    settings: dict[str, Any] = {"device": "cpu", "resume": False, "overwrite": False, "display": Silent()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_state, "assemble", changes.pop("assemble", assemble))
        return train(experiment, root, **(settings | changes))


class BadLoss:
    """Lets the `turn`th loss be infinite, and remembers batch and weights from before it."""

    def __init__(self, turn: int) -> None:
        self.turn, self.calls = turn, 0
        self.batch: Any = None
        self.before: dict[str, torch.Tensor] = {}
        self.model: Any = None

    def assemble(self, experiment: Experiment, trained: RunFolder | None, corpus: Any) -> Assembly:
        """The usual task and model, but for the loss."""
        task, self.model = assemble(experiment, trained)
        usual: Callable[..., LossSum] = task.loss

        def loss(model: nn.Module, batch: Any) -> LossSum:
            self.calls += 1
            total, tokens = usual(model, batch)
            if self.calls != self.turn:
                return LossSum(total, tokens)
            self.batch, self.before = batch, {name: value.clone() for name, value in model.state_dict().items()}
            return LossSum(total + float("inf"), tokens)

        task.loss = loss  # pyright: ignore[reportAttributeAccessIssue]
        return Assembly(task, self.model)


@pytest.mark.parametrize("clip", ["norm", "nothing"])
def test_a_bad_loss_ends_it_at_once_with_weights_from_before_and_its_batch(
    tiny: Any, tmp_path: Path, clip: str
) -> None:
    experiment = tiny({"train.log_every": 100, "train.evaluate_every": 100, "train.clip.by": clip})
    bad = BadLoss(turn=3)
    with pytest.raises(UserError, match=r"the loss is not finite at update 3, .*bad-batch\.safetensors"):
        run(experiment, tmp_path / "run", assemble=bad.assemble)
    assert bad.calls == 3
    after = bad.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in bad.before.items())
    kept = load_file(tmp_path / "run" / "bad-batch.safetensors")
    assert torch.equal(kept["0.source"], bad.batch.source)
    assert torch.equal(kept["0.labels"], bad.batch.labels)
    written = events.read(tmp_path / "run" / "events.jsonl")
    assert [event["step"] for event in written if event["kind"] == "update"] == [1, 2]
    assert not (tmp_path / "run" / "results.json").exists()


def test_it_goes_on_from_the_checkpoint_before_a_bad_loss(tiny: Any, tmp_path: Path) -> None:
    experiment = tiny()
    assert run(experiment, tmp_path / "straight")
    with pytest.raises(UserError, match="at update 3"):
        run(experiment, tmp_path / "run", assemble=BadLoss(turn=3).assemble)
    assert run(experiment, tmp_path / "run", resume=True)
    straight, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("straight", "run"))
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


@pytest.mark.parametrize("name", ["test.jsonl", "attention.json", "results.json"])
def test_a_process_that_dies_while_it_writes_leaves_no_torn_file(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write = folder.to_disk

    def dies(path: Path) -> None:
        if path.name == f".{name}.partial":
            path.write_bytes(path.read_bytes()[:20])
            raise Killed
        write(path)

    experiment = tiny()
    monkeypatch.setattr(folder, "to_disk", dies)
    with pytest.raises(Killed):
        run(experiment, tmp_path / "run")
    left = [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert f".{name}.partial" in left
    assert name not in left
    assert "results.json" not in left  # so it is not finished

    monkeypatch.setattr(folder, "to_disk", write)
    assert run(experiment, tmp_path / "run", resume=True)
    whole = (tmp_path / "run" / "predictions" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    assert len([json.loads(line) for line in whole]) == 20
    assert not list((tmp_path / "run").rglob(".*"))


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("test.jsonl", "update 4 is saved; resume with: seqlab train --resume {run}"),
        ("results.json", "update 4 is saved; resume with: seqlab train --resume {run}"),
        ("report.html", "the rest of the run is saved; write the page with: seqlab report {run}"),
    ],
)
def test_a_full_disk_at_the_end_is_one_line_and_the_run_is_finished_later(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, saved: str
) -> None:
    write = folder.to_disk

    def fails(path: Path) -> None:
        if path.name == f".{name}.partial":
            raise full_disk()
        write(path)

    experiment = tiny()
    with monkeypatch.context() as patch:
        patch.setattr(folder, "to_disk", fails)
        with pytest.raises(UserError) as error:
            run(experiment, tmp_path / "run")
    message = str(error.value)
    assert "cannot be written (the disk is full, or a quota is): free some space; " in message
    assert message.endswith(saved.format(run=tmp_path / "run"))
    assert run(experiment, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "report.html").is_file()
    assert not list((tmp_path / "run").rglob(".*"))


@pytest.mark.parametrize(
    ("step", "saved"),
    [
        (1, "no checkpoint is saved yet; train again with --overwrite"),
        (4, "update 2 is saved; resume with: seqlab train --resume {run}"),
    ],
)
def test_a_full_disk_while_training_is_one_line(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, saved: str
) -> None:
    write = events.EventLog.write

    def fails(log: events.EventLog, kind: events.Kind, at: int, **values: object) -> None:
        if kind == "update" and at == step:
            raise full_disk()
        write(log, kind, at, **values)

    monkeypatch.setattr(events.EventLog, "write", fails)
    with pytest.raises(UserError) as error:
        run(tiny({"train.evaluate_every": 2, "train.log_every": 1, "train.max_steps": 6}), tmp_path / "run")
    assert str(error.value) == (
        f"{tmp_path / 'run'}: cannot be written (the disk is full, or a quota is): free some space; "
        + saved.format(run=tmp_path / "run")
    )


def test_a_folder_that_is_deleted_while_training_is_one_line(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = events.EventLog.write

    def deletes(log: events.EventLog, kind: events.Kind, at: int, **values: object) -> None:
        write(log, kind, at, **values)
        if (kind, at) == ("update", 3):
            shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr(events.EventLog, "write", deletes)
    with pytest.raises(UserError, match=r"run: was deleted during training; train again$"):
        run(tiny({"train.evaluate_every": 2, "train.log_every": 1, "train.max_steps": 6}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_task_and_model_are_made_once(tiny: Any, tmp_path: Path) -> None:
    made = []

    def counted(experiment: Experiment, trained: RunFolder | None, corpus: Any) -> Assembly:
        made.append(trained)
        return assemble(experiment, trained)

    assert run(tiny(), tmp_path / "run", assemble=counted)
    assert made == [None]
