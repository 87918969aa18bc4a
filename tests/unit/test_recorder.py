"""What is written down about every update, and the check that the loss is still a number."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqlab.data.batching.pairs import PairBatch
from seqlab.data.batching.stream import Group, Position
from seqlab.display import Silent
from seqlab.engine.distributed import ALONE, World
from seqlab.engine.loop import Update
from seqlab.engine.recorder import NonFiniteError, Recorder
from seqlab.runs.events import EventLog, read


class Watching(Silent):
    """Remembers all that it is shown."""

    def __init__(self) -> None:
        self.updates: list[tuple[int, float, dict[str, float]]] = []
        self.said: list[Any] = []

    def update(self, step: int, progress: float, values: dict[str, float]) -> None:
        self.updates.append((step, progress, values))

    def evaluation(self, step: int, split: str, scores: dict[str, float]) -> None:
        self.said.append((step, split, scores))

    def note(self, text: str) -> None:
        self.said.append(text)


class Curves:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.closed = False

    def log(self, step: int, values: Any) -> None:
        self.logged.append((step, dict(values)))

    def close(self) -> None:
        self.closed = True


def batch_of(mark: int) -> PairBatch:
    ids, mask = torch.full((1, 2), mark), torch.ones(1, 2, dtype=torch.bool)
    return PairBatch(ids, mask, ids, mask, torch.arange(2), ids.flatten(), np.array([mark]))


def update_of(step: int, loss: float = 2.0, norm: float = 0.5, learning_rate: float = 0.1) -> Update:
    group = Group([batch_of(step)], 40, 100, 125, np.array([[6, 4]] * 10), Position())
    return Update(step, torch.tensor(loss), torch.tensor(norm), learning_rate, group)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set."""
    now = [100.0]
    monkeypatch.setattr("seqlab.engine.recorder.time.perf_counter", lambda: now[0])
    return now


def recorder_of(path: Path | None = None, **changes: Any) -> Recorder:
    settings: dict[str, Any] = {
        "log": EventLog(path) if path else None,
        "trackers": [Curves()],
        "display": Watching(),
        "world": ALONE,
        "train_flops": lambda shapes: 1e6 * len(shapes),
        "matrix_rate": 1e9,
        "log_every": 3,
        "skips_overflow": False,
        "elapsed": lambda: 12.5,
    }
    return Recorder(**(settings | changes))


class TestNumbers:
    def test_are_written_a_window_at_a_time(self, tmp_path: Path, clock: list[float]) -> None:
        recorder = recorder_of(tmp_path / "events.jsonl", _mark=100.0)
        for step in (1, 2):
            recorder.add(update_of(step), 0.1)
        assert read(tmp_path / "events.jsonl") == []
        clock[0] = 102.0
        recorder.add(update_of(3, loss=5.0), 0.3)
        events = read(tmp_path / "events.jsonl")
        assert [(event["kind"], event["step"], event["loss"]) for event in events] == [
            ("update", 1, 2.0),
            ("update", 2, 2.0),
            ("update", 3, 5.0),
        ]
        assert {event["time_s"] for event in events} == {12.5}

    def test_are_counts_over_seconds(self, tmp_path: Path, clock: list[float]) -> None:
        recorder = recorder_of(tmp_path / "events.jsonl", _mark=100.0)
        for step in (1, 2, 3):
            clock[0] = 100.0 + 2.0 * (step == 3)
            recorder.add(update_of(step), 0.1)
        event = read(tmp_path / "events.jsonl")[-1]
        assert event["tokens_per_s"] == pytest.approx(3 * 40 / 2)
        assert event["examples_per_s"] == pytest.approx(3 * 10 / 2)
        assert event["padding_share"] == pytest.approx(1 - 100 / 125)
        assert event["mfu"] == pytest.approx(3 * 10 * 1e6 / 2 / 1e9)
        assert event["memory_mb"] > 10

    def test_time_that_went_elsewhere_does_not_count(self, tmp_path: Path, clock: list[float]) -> None:
        recorder = recorder_of(tmp_path / "events.jsonl", _mark=100.0, log_every=1)
        clock[0] = 101.0
        recorder.add(update_of(1), 0.1)
        clock[0] = 500.0  # an evaluation
        recorder.restart_clock()
        clock[0] = 501.0
        recorder.add(update_of(2), 0.1)
        assert [event["tokens_per_s"] for event in read(tmp_path / "events.jsonl")] == pytest.approx([40, 40])

    def test_what_is_left_is_written_at_the_end(self, tmp_path: Path) -> None:
        recorder = recorder_of(tmp_path / "events.jsonl")
        recorder.add(update_of(1), 0.1)
        recorder.flush(1.0)
        recorder.flush(1.0)
        assert [event["step"] for event in read(tmp_path / "events.jsonl")] == [1]

    def test_the_display_gets_the_mean_of_the_window(self) -> None:
        display = Watching()
        recorder = recorder_of(display=display)
        for step, loss in ((1, 1.0), (2, 2.0), (3, 6.0)):
            recorder.add(update_of(step, loss), step / 10)
        ((step, progress, values),) = display.updates
        assert (step, progress, values["loss"], values["learning_rate"]) == (3, 0.3, 3.0, 0.1)

    def test_trackers_get_curves_by_name(self, tmp_path: Path) -> None:
        curves = Curves()
        recorder = recorder_of(tmp_path / "events.jsonl", trackers=[curves], log_every=1)
        recorder.add(update_of(7), 0.1)
        recorder.evaluation(7, "validation", {"accuracy": 0.5})
        recorder.close()
        (first, update), second = curves.logged
        assert (first, update["training/loss"], update["training/learning_rate"]) == (7, 2.0, 0.1)
        assert second == (7, {"validation/accuracy": 0.5})
        assert curves.closed

    def test_of_all_processes_are_summed(self, tmp_path: Path) -> None:
        """Each process's loss is its share times the number of processes; the event has the mean."""

        class Two(World):
            def sum(self, tensor: torch.Tensor) -> torch.Tensor:
                return tensor + 6.0  # what the other one has

        recorder = recorder_of(tmp_path / "events.jsonl", world=Two(0, 2, torch.device("cpu")), log_every=1)
        recorder.add(update_of(1, loss=2.0), 0.1)
        assert read(tmp_path / "events.jsonl")[0]["loss"] == 4.0


class TestOtherEvents:
    def test_are_shown_and_written(self, tmp_path: Path) -> None:
        display = Watching()
        recorder = recorder_of(tmp_path / "events.jsonl", display=display)
        recorder.evaluation(5, "validation", {"loss": 1.0, "accuracy": 0.25})
        recorder.note(6, "something")
        recorder.sample(6, "question", "right", "wrong")
        assert display.said == [(5, "validation", {"loss": 1.0, "accuracy": 0.25}), "something"]
        assert read(tmp_path / "events.jsonl") == [
            {"kind": "evaluation", "step": 5, "time_s": 12.5, "split": "validation", "loss": 1.0, "accuracy": 0.25},
            {"kind": "note", "step": 6, "text": "something"},
            {"kind": "sample", "step": 6, "source": "question", "target": "right", "predicted": "wrong"},
        ]

    def test_processes_that_do_not_lead_write_nothing(self, tmp_path: Path) -> None:
        recorder = recorder_of(None, log_every=1)
        recorder.add(update_of(1), 0.1)
        recorder.evaluation(1, "validation", {"loss": 1.0})
        recorder.note(1, "something")
        recorder.sample(1, "a", "b", "c")
        assert recorder.trackers[0].logged == []  # pyright: ignore[reportAttributeAccessIssue]
        assert list(tmp_path.iterdir()) == []


class TestNotFinite:
    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    def test_loss_names_the_step_and_keeps_its_batch(self, tmp_path: Path, bad: float) -> None:
        recorder = recorder_of(tmp_path / "events.jsonl", log_every=4)
        recorder.add(update_of(1), 0.1)
        recorder.add(update_of(2), 0.1)
        recorder.add(update_of(3, loss=bad, learning_rate=0.0123), 0.1)
        with pytest.raises(
            NonFiniteError, match=r"the loss is not finite at update 3, learning rate 0\.0123"
        ) as caught:
            recorder.add(update_of(4, loss=bad), 0.1)
        assert caught.value.batches[0].rows.tolist() == [3]
        assert [event["step"] for event in read(tmp_path / "events.jsonl")] == [1, 2]  # what was fine is on record

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_gradient_is_told_apart(self, bad: float) -> None:
        recorder = recorder_of(log_every=2)
        recorder.add(update_of(1), 0.1)
        with pytest.raises(NonFiniteError, match="the gradient is not finite at update 2"):
            recorder.add(update_of(2, norm=bad), 0.1)

    def test_an_update_that_was_not_applied_is_told_at_once(self, tmp_path: Path) -> None:
        recorder = recorder_of(tmp_path / "events.jsonl", log_every=100)
        recorder.add(update_of(1), 0.1)
        with pytest.raises(NonFiniteError, match="the gradient is not finite at update 2") as caught:
            recorder.add(replace(update_of(2, norm=float("nan")), applied=False), 0.1)
        assert caught.value.batches[0].rows.tolist() == [2]
        assert [event["step"] for event in read(tmp_path / "events.jsonl")] == [1]

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_gradient_of_fp16_is_skipped_and_goes_on(self, tmp_path: Path, bad: float) -> None:
        recorder = recorder_of(tmp_path / "events.jsonl", log_every=1, skips_overflow=True)
        recorder.add(update_of(1, norm=bad), 0.1)
        recorder.add(update_of(2), 0.1)
        events = read(tmp_path / "events.jsonl")
        assert [(event["step"], event["grad_norm"]) for event in events] == [(1, None), (2, 0.5)]
        json.dumps(events, allow_nan=False)

    def test_loss_of_fp16_is_a_failure_all_the_same(self) -> None:
        with pytest.raises(NonFiniteError, match="the loss is not finite at update 1"):
            recorder_of(log_every=1, skips_overflow=True).add(update_of(1, loss=float("nan")), 0.1)
