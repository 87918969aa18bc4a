"""Epochs: how long a run of them is, what it writes down at their ends, and that a resumed run writes the same."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqlab.data.batching.stream import BatchConfig, Position, Stream
from seqlab.display import Silent
from seqlab.errors import UserError
from seqlab.experiment.config import Experiment, load
from seqlab.report.folder import load_run
from seqlab.report.sections import epochs
from seqlab.runs import events
from seqlab.training import state, trainer
from seqlab.training.epochs import epoch_line


class Rows:
    """Ten examples of one length."""

    shapes = np.full((10, 2), 4)

    def batch(self, rows: np.ndarray, source_width: int, target_width: int) -> Any:
        return rows


def stream(accumulate: int = 1) -> Stream:
    return Stream(lambda epoch: Rows(), BatchConfig(batch_size=3, accumulate=accumulate), 1)  # 4 batches


def test_a_stream_counts_its_epochs() -> None:
    one = stream()
    assert (one.updates_per_epoch, one.epochs_done) == (4, 0.0)
    found = []
    for _ in range(6):
        one.next_group()
        found.append(one.epochs_done)
    assert found == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
    later = stream()
    later.position = Position(3, 2)
    assert (later.epochs_done, later.updates_per_epoch) == (3.5, 4)
    assert stream(accumulate=3).updates_per_epoch == 2


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["train.epochs=3"], (3, None, None)),
        (["train.epochs=3", "train.max_minutes=2"], (None, None, 2)),
        (["train.max_steps=9", "train.epochs=0.2"], (0.2, None, None)),
        ({"train": {"epochs": 2}}, (2, None, None)),
    ],
)
def test_the_last_word_on_the_length_counts(overrides: Any, expected: tuple[Any, ...]) -> None:
    train = load("math-place-value", overrides).train
    assert (train.epochs, train.max_steps, train.max_minutes) == expected


def test_one_table_has_one_length(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('extends = "math-sort"\n[train]\nepochs = 3\nmax_steps = 9\n')
    with pytest.raises(UserError, match="epochs and max_steps both say how long to train"):
        load(str(tmp_path / "r.toml"))
    with pytest.raises(UserError, match=r"evaluate_every"):
        load("math-sort", ["train.evaluate_every=often"])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "matrix_rate", lambda device, dtype: 1e11)
    monkeypatch.setattr(trainer, "write_report", lambda paths: paths.report)


SETTINGS = {
    "train.epochs": 2.5,
    "train.evaluate_every": "epoch",
    "train.keep_last": 9,
    "train.precision": "fp32",
    "train.trackers": [],
    "data.epoch_size": 60,
    "batch.batch_size": 10,
    "batch.max_tokens": None,
    "batch.accumulate": 1,
    "optimizer.lr": 1e-3,
    "train.log_every": 4,
    "train.until": None,
}


def train(tiny: Callable[..., Experiment], folder: Path, **more: object) -> Path:
    changes = {**SETTINGS, **{name.replace("__", "."): value for name, value in more.items()}}
    return _trained(tiny(changes), folder)


def _trained(experiment: Experiment, folder: Path, resume: bool = False) -> Path:
    trainer.train(experiment, folder, device="cpu", resume=resume, overwrite=False, display=Silent())
    return folder


def of_kind(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in events.read(folder / "events.jsonl") if event["kind"] == kind]


def without_times(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if not key.endswith("_s")} for event in found]


def test_every_epoch_is_on_record(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    folder = train(tiny, tmp_path / "run")
    updates, found = of_kind(folder, "update"), of_kind(folder, "epoch")
    assert [(event["epoch"], event["step"], event["updates"]) for event in found] == [
        (1, 6, 6),
        (2, 12, 6),
        (2.5, 15, 3),
    ]
    assert [event.get("partial", False) for event in found] == [False, False, True]
    starts = [0, *(event["step"] for event in found)]
    for event, start in zip(found, starts, strict=False):
        own = [update for update in updates if start < update["step"] <= event["step"]]
        tokens = sum(update["tokens"] for update in own)
        assert event["tokens"] == tokens
        mean = math.fsum(update["loss"] * update["tokens"] for update in own) / tokens
        assert event["loss"] == pytest.approx(mean, rel=1e-12)
        evaluated = next(
            e for e in of_kind(folder, "evaluation") if (e["step"], e["split"]) == (event["step"], "validation")
        )
        assert event["validation_loss"] == evaluated["loss"]
        assert event["validation_accuracy"] == evaluated["accuracy"]
        assert event["train_s"] > 0
        assert event["evaluation_s"] > 0
    assert [event["step"] for event in of_kind(folder, "evaluation")] == [6, 6, 12, 12, 15, 15]


def test_the_schedule_is_fitted_to_the_epochs(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    schedule = {"schedule__kind": "one-cycle"}
    by_epochs = train(tiny, tmp_path / "epochs", **schedule)
    by_steps = train(tiny, tmp_path / "steps", train__max_steps=15, train__epochs=None, **schedule)
    rates = [[update["learning_rate"] for update in of_kind(folder, "update")] for folder in (by_epochs, by_steps)]
    assert rates[0] == pytest.approx(rates[1], rel=1e-9)


@pytest.mark.parametrize("last", [4, 6, 8])
def test_a_resumed_run_has_the_same_epochs(
    tiny: Callable[..., Experiment], tmp_path: Path, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(tiny, tmp_path / "straight", train__evaluate_every=4)
    stopped = tmp_path / "stopped"
    real = trainer._reason_to_end
    with monkeypatch.context() as patch:
        # killed behind the checkpoint of update 4 or 8, with events of later updates already written
        def die(now: state.TrainingState, scores: dict[str, float]) -> str | None:
            if now.step >= last:
                raise KeyboardInterrupt
            return real(now, scores)

        patch.setattr(trainer, "_reason_to_end", die)
        with pytest.raises(KeyboardInterrupt):
            train(tiny, stopped, train__evaluate_every=4)
    _trained(load(str(stopped / "config.toml")), stopped, resume=True)
    assert without_times(of_kind(stopped, "epoch")) == without_times(of_kind(straight, "epoch"))
    assert len(of_kind(straight, "epoch")) == 3


def test_more_epochs_take_back_the_part_that_a_run_ended_with(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    folder = train(tiny, tmp_path / "run")
    (folder / "results.json").unlink()  # as if it had been killed before its results
    longer = load(str(folder / "config.toml"), ["train.epochs=3"])
    _trained(longer, folder, resume=True)
    assert [event["epoch"] for event in of_kind(folder, "epoch")] == [1, 2, 3]
    assert of_kind(folder, "epoch")[-1]["updates"] == 6


def test_line_and_table(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    values = {
        "epoch": 2.0,
        "loss": 1.23456,
        "validation_loss": 1.5,
        "validation_bleu": 31.23,
        "train_s": 123,
        "evaluation_s": 4,
    }
    assert epoch_line(values, "bleu") == (
        "epoch 2  training loss 1.2346  validation loss 1.5000  BLEU 31.2  training 2 min 03 s  evaluation 4.0 s"
    )
    head, rows = epochs.table(load_run(train(tiny, tmp_path / "run")))
    assert head == [
        *("epoch", "training loss", "validation loss", "validation accuracy"),
        *("training time", "evaluation time", "updates"),
    ]
    assert [row[0] for row in rows] == ["1", "2", "2.5"]


def test_a_part_of_an_epoch_is_enough(tiny: Callable[..., Experiment], tmp_path: Path) -> None:
    folder = train(tiny, tmp_path / "run", train__epochs=0.5)
    assert [(event["epoch"], event["updates"]) for event in of_kind(folder, "epoch")] == [(0.5, 3)]
