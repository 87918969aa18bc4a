"""`seqlab ablate`: the queue trains normal runs, goes on where it was, and outlives a run that fails."""

import csv
import json
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_line import PATIENCE_S, Command, Start, losses, outcome_of


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "ablation.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_run_is_a_normal_run_and_trained_once(command: Command, small: tuple[str, ...], tmp_path: Path) -> None:
    asked = ("ablate", *small, "--switches", "buckets", "--seeds", "1", "--steps", "12", "--out", tmp_path / "a")
    done = command(*asked)
    assert (done.code, done.out) == (0, f"{tmp_path / 'a' / 'ablation.html'}\n")
    assert re.search(r"^\[2/2\] buckets, seed 1: .*12 updates in", done.err, re.MULTILINE)
    first, second = rows(tmp_path / "a")
    assert (first["buckets"], second["buckets"]) == ("off", "on")
    assert float(second["padding_share"]) < float(first["padding_share"])
    assert [row["updates"] for row in (first, second)] == ["12", "12"]

    straight = ("train", *small, *first["overrides"].split(" "), "--seed", "1", "--out", tmp_path / "straight")
    assert command(*straight).code == 0
    assert losses(tmp_path / "a" / first["folder"]) == losses(tmp_path / "straight")

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a" / "runs").rglob("*")}
    again = command(*asked)
    assert again.code == 0
    assert again.err.startswith("2 configurations, 1 seed each: 2 runs, 2 of them finished\n")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a" / "runs").rglob("*")} == times

    other = command(*asked[:-4], "--steps", "9", *asked[-2:])
    assert other.code == 2
    assert other.complaint.endswith("holds another ablation (--steps 12 became 9); choose another --out")


def test_a_run_that_fails_is_told_and_the_next_is_trained(
    command: Command, small: tuple[str, ...], tmp_path: Path
) -> None:
    """A learning rate that no weights survive, and then one that they do."""
    asked = ("--grid", "optimizer.lr=1e30,1e-3", "--seeds", "1", "--steps", "12", "--out", tmp_path)
    done = command("ablate", *small, *asked)
    assert done.code == 1
    assert re.search(r"^\[1/2\] lr=1e30, seed 1: FAILED: .*is not finite at update", done.err, re.MULTILINE)
    assert [row["state"] for row in rows(tmp_path)] == ["failed", "finished"]
    assert list(json.loads((tmp_path / "failures.json").read_text())) == ["lr-1e30-seed1"]
    assert "lr-1e30-seed1 failed: the " in (tmp_path / "ablation.html").read_text(encoding="utf-8")


def test_an_interrupted_queue_goes_on_exactly(
    start: Start, command: Command, small: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    asked = ("--switches", "one-cycle", "--seeds", "1", "--steps", "400", "--out", str(folder))
    queue = start("ablate", *small, *asked)
    first = folder / "runs" / "baseline-seed1"
    wait_for(first / "checkpoints" / "step-00000016", queue)
    queue.send_signal(signal.SIGINT)
    stopped = outcome_of(queue)
    assert stopped.code == 1
    go_on = re.search(r"resume with: (.*)$", stopped.err, re.MULTILINE)
    assert go_on is not None
    assert not (first / "results.json").exists()
    assert 16 <= len(losses(first)) < 400
    assert not (folder / "runs" / "one-cycle-seed1").exists()

    _, *arguments = shlex.split(go_on[1])
    done = command(*arguments)
    assert done.code == 0, done.err
    assert [row["state"] for row in rows(folder)] == ["finished", "finished"]
    baseline = ("schedule.kind=constant", "schedule.level=0.5", "train.max_steps=400")
    assert command("train", *small, *baseline, "--seed", "1", "--out", tmp_path / "straight").code == 0
    assert losses(first) == losses(tmp_path / "straight")


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name what to compare"),
        (("--switches", "bukets"), 'did you mean "buckets"'),
        (("--switches", "buckets", "--budget", "10"), "10m"),
    ],
)
def test_wrong_questions_cost_no_training(
    command: Command, small: tuple[str, ...], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = command("ablate", *small, *arguments, "--out", tmp_path / "a")
    assert done.code == 2
    assert message in done.complaint
    assert not (tmp_path / "a").exists()
