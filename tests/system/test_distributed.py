"""Two processes under torchrun: the same run as one process, captured and written once."""

import json
import re
from pathlib import Path

import pytest
import torch
from command_line import PROGRESS, Command, Start, checkpoints, losses, outcome_of, signal_after

from seqlab import api
from seqlab.engine.checkpoint import load_weights

TWO = ("batch.accumulate=2", "train.log_every=1", "train.keep_last=9", "train.average=0.9")

STOP_ONE_OF_TWO = """
import signal
from seqlab import cli
from seqlab.engine.recorder import Recorder

add = Recorder.add

def add_and_stop(recorder, update, progress):
    add(recorder, update, progress)
    if (recorder.world.rank, update.step) == (1, 5):
        signal.raise_signal(signal.SIGTERM)

Recorder.add = add_and_stop
cli.main()
"""


def assert_close(folder: Path, alone: Path, step: int, name: str = "model") -> None:
    """Weights are equal within the rounding of a sum in another order."""
    file = f"checkpoints/step-{step:08d}/{name}.safetensors"
    torch.testing.assert_close(load_weights(folder / file), load_weights(alone / file), rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def alone(command: Command, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that all others must equal."""
    folder = tmp_path_factory.mktemp("distributed") / "alone"
    assert command("train", *small, *TWO, "--out", folder).code == 0
    return folder


def test_two_processes_train_what_one_trains(start: Start, small: tuple[str, ...], alone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out, err = outcome_of(start("train", *small, *TWO, "--out", folder, processes=2))
    assert code == 0, err
    assert out == f"{folder}\n"
    assert_close(folder, alone, 20)
    assert_close(folder, alone, 20, "average")
    together, by_one = losses(folder), losses(alone)
    assert [step for step, _ in together] == list(range(1, 21))  # on record once
    assert [loss for _, loss in together] == pytest.approx([loss for _, loss in by_one], rel=1e-4)
    assert err.count("step 8  validation: ") == 1
    assert err.count("report  ") == 1
    scores = [json.loads((run / "results.json").read_text())["scores"] for run in (folder, alone)]
    assert scores[0]["accuracy"] == scores[1]["accuracy"]
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2


def test_what_two_saved_goes_on_in_one(
    command: Command, start: Start, small: tuple[str, ...], alone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    script = tmp_path / "stop_one_of_two.py"
    script.write_text(STOP_ONE_OF_TWO)
    _, out, err = outcome_of(start("train", *small, *TWO, "--out", folder, processes=2, script=script))
    assert out == ""
    assert err.count(f"seqlab: interrupted; resume with: seqlab train --resume {folder}\n") == 1
    # Only one of them was asked to stop, and both stopped after the same update.
    assert checkpoints(folder) == ["step-00000005"]
    assert [step for step, _ in losses(folder)] == [1, 2, 3, 4, 5]
    saved = folder / "checkpoints" / "step-00000005"
    assert sorted(path.name for path in saved.glob("random-*")) == ["random-0.pt", "random-1.pt"]

    assert command("train", "--resume", folder).code == 0
    assert [step for step, _ in losses(folder)] == list(range(1, 21))
    assert_close(folder, alone, 20)
    assert_close(folder, alone, 20, "average")


def test_what_one_saved_goes_on_in_two_and_ends_for_both(
    start: Start, small: tuple[str, ...], alone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(api.Interrupted), signal_after(3):
        api.train(small[0], [*small[1:], *TWO], out=folder)
    assert checkpoints(folder) == ["step-00000003"]
    code, out, err = outcome_of(start("train", "--resume", folder, "--until", "loss<=50", processes=2))
    assert code == 0, err
    assert out == f"{folder}\n"
    assert json.loads((folder / "results.json").read_text())["stopped_because"] == "reached loss<=50"
    assert [step for step, _ in losses(folder)] == list(range(1, 9))
    assert_close(folder, alone, 8)


def test_batches_that_cannot_be_dealt_out_are_told_once(start: Start, small: tuple[str, ...], tmp_path: Path) -> None:
    outcome = outcome_of(start("train", *small, "--out", tmp_path / "run", processes=2))
    assert outcome.out == ""
    said = [line for line in outcome.err.splitlines() if line.startswith("seqlab: ")]
    assert said == [
        "seqlab: batch.accumulate=1 batches per update cannot be split evenly over 2 processes: set batch.accumulate=2"
    ]
    # torchrun has words of its own for a process that failed, and an exit code of its own
    assert re.search(r"exitcode *: 2\b", outcome.err)
    assert not PROGRESS.match(outcome.err)
    assert not (tmp_path / "run").exists()


DIE_IN_ONE_OF_TWO = """
import os, signal
from seqlab import cli
from seqlab.engine.recorder import Recorder

add = Recorder.add

def add_and_die(recorder, update, progress):
    add(recorder, update, progress)
    if (recorder.world.rank, update.step) == (RANK, 10):
        os.kill(os.getpid(), signal.SIGKILL)

Recorder.add = add_and_die
cli.main()
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_is_one_line(start: Start, small: tuple[str, ...], tmp_path: Path, rank: int) -> None:
    folder, script = tmp_path / "run", tmp_path / "die_in_one_of_two.py"
    script.write_text(DIE_IN_ONE_OF_TWO.replace("RANK", str(rank)))
    outcome = outcome_of(start("train", *small, *TWO, "--out", folder, processes=2, script=script))
    assert outcome.code == 1
    assert [line for line in outcome.err.splitlines() if line.startswith("seqlab: ")] == [
        f"seqlab: {folder}: another process of this run has ended; update 8 is saved; "
        f"resume with: seqlab train --resume {folder}"
    ]
    assert "gloo" not in outcome.err
