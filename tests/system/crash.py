"""Kills commands at random moments, lets them continue, and compares what they leave with what an undisturbed one does.

    python tests/system/crash.py --times 100

Each round starts `train`, `predict --out` or `ablate` anew, sends SIGKILL, SIGTERM or SIGINT at a moment drawn from the
time that the command takes, once or twice, and then gives the command that continues. Final weights and outputs have to
be equal byte for byte, and every update and evaluation has to be on record once.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, NamedTuple

import matplotlib.figure  # noqa: F401 - this and the next are imported once, not in every process
import scipy.stats  # noqa: F401
import torch
import torch._dynamo

from seqlab import cli
from seqlab.ablation import queue
from seqlab.engine.checkpoint import load_weights
from seqlab.inference import batch_file, run
from seqlab.report.figures import Canvas
from seqlab.training import state

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SMALL = (
    "data.epoch_size=200",
    "data.validation_size=10",
    "data.test_size=20",
    "model.width=16",
    "model.feedforward=32",
    "model.num_heads=2",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "batch.max_tokens=256",
    "batch.shuffle_pool=100",
    "train.precision=fp32",
    "train.log_every=3",
    "train.evaluate_examples=5",
    "train.trackers=[]",
    "train.evaluate_every=7",
)
RANDOM = (
    "model.dropout=0.2",
    "batch.accumulate=2",
    "train.average=0.9",
    "train.keep_last=3",
    "train.final=average",
)
CHUNK = 4
LINES = 60
Check = Callable[[Path, Path], list[str]]


class Work(NamedTuple):
    """A command whose end does not depend on what happens on the way."""

    command: Callable[[Path], list[str]]
    """the words that begin it, or continue it, in a folder"""
    finished: Callable[[Path], bool]
    faults: Check
    """what is wrong in a folder, beside that of an undisturbed command"""


def start(words: list[str], log: Path, ready: Callable[[], None] = lambda: None) -> int:
    """The command line in a process of its own, which need not import torch again; `ready` is called in it first."""
    if child := os.fork():
        return child
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(output, stream)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its background ignore it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        ready()
        sys.argv = ["seqlab", *words]
        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Waits for a process; its exit code, or the signal that ended it below zero."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Training:
    """What an ablation starts as `subprocess.Popen`."""

    def __init__(self, command: list[str], *, stdout: BinaryIO, preexec_fn: Callable[[], None], **same: object) -> None:
        def ready() -> None:
            os.setsid()
            preexec_fn()

        self.pid = start(command[3:], Path(stdout.name), ready)  # behind python -m seqlab

    def wait(self) -> int:
        """The exit code."""
        return ended(self.pid)

    def send_signal(self, number: int) -> None:
        """It has not been waited for when the queue calls this, or is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """The same with SIGTERM."""
        self.send_signal(signal.SIGTERM)


def leave_out_what_takes_long() -> None:
    """Measuring, drawing, and importing torch anew take longer than all the rest."""
    state.matrix_rate = lambda device, dtype: 1e11
    Canvas.svg = lambda self, label: "<svg></svg>"
    queue.subprocess = SimpleNamespace(Popen=Training, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    run.CHUNK = batch_file.CHUNK = CHUNK


def train(folder: Path) -> list[str]:
    """Starts, resumes, or starts again a run that has no checkpoint."""
    root = folder / "run"
    if any(root.glob("checkpoints/step-*")):
        return ["train", "--resume", str(root)]
    again = ["--overwrite"] if (root / "config.toml").is_file() else []
    return ["train", "math-place-value", *SMALL, *RANDOM, "train.max_steps=40", "--out", str(root), *again]


def predict(folder: Path) -> list[str]:
    """The same words begin and continue."""
    files = ["--file", str(folder.parent / "questions.txt"), "--out", str(folder / "out.txt")]
    return ["predict", str(folder.parent / "train" / "run"), *files]


def ablate(folder: Path) -> list[str]:
    """The same words begin and continue."""
    asked = ["--grid", "optimizer.lr=1e-3,2e-3", "--seeds", "1", "--steps", "16", "--out", str(folder / "ablation")]
    return ["ablate", "math-place-value", *SMALL, *asked]


def run_faults(root: Path, straight: Path) -> list[str]:
    """What differs between two run folders."""
    faults = [f"{path}: left over" for path in root.rglob(".*")]
    here, there = (load_weights(folder / "model.safetensors") for folder in (root, straight))
    if here.keys() != there.keys() or not all(torch.equal(here[name], there[name]) for name in there):
        faults.append(f"{root}: other final weights")
    if (root / "predictions/test.jsonl").read_bytes() != (straight / "predictions/test.jsonl").read_bytes():
        faults.append(f"{root}: other predictions")
    faults += [
        f"{root}: {kind} events are missing, double or others"
        for kind, keys in (("update", ("step", "loss")), ("evaluation", ("step", "split", "loss")))
        if _events(root, kind, keys) != _events(straight, kind, keys)
    ]
    return faults


def _events(root: Path, kind: str, keys: tuple[str, ...]) -> list[tuple[object, ...]]:
    events = map(json.loads, (root / "events.jsonl").read_text(encoding="utf-8").splitlines())
    return [tuple(event[key] for key in keys) for event in events if event["kind"] == kind]


def output_faults(folder: Path, straight: Path) -> list[str]:
    """What differs between two files of predictions."""
    if [path.name for path in folder.iterdir()] != ["out.txt"]:
        return [f"{folder}: more than the outputs"]
    same = (folder / "out.txt").read_bytes() == (straight / "out.txt").read_bytes()
    return [] if same else [f"{folder}: other outputs"]


def ablation_faults(folder: Path, straight: Path) -> list[str]:
    """What differs between two ablations."""
    here, there = (sorted((root / "ablation" / "runs").iterdir()) for root in (folder, straight))
    if [path.name for path in here] != [path.name for path in there]:
        return [f"{folder}: other runs"]
    return [fault for pair in zip(here, there, strict=True) for fault in run_faults(*pair)]


WORKS = {
    "train": Work(
        train,
        lambda folder: (folder / "run" / "report.html").is_file(),
        lambda folder, straight: run_faults(folder / "run", straight / "run"),
    ),
    "predict": Work(predict, lambda folder: (folder / "out.txt").is_file(), output_faults),
    "ablate": Work(
        ablate,
        lambda folder: len(list(folder.glob("ablation/runs/*/report.html"))) == 2,
        ablation_faults,
    ),
}


def disturbed(work: Work, folder: Path, seconds: float, draw: random.Random, log: Path) -> list[str]:
    """One round: the signals that reached the command, by name. Raises RuntimeError where it did not continue."""
    sent: list[str] = []
    for _ in range(draw.choice((1, 1, 2))):
        child = start(work.command(folder), log)
        time.sleep(draw.uniform(0, seconds))
        number = draw.choice(SIGNALS)
        os.kill(child, number)  # not yet waited for, so the number is still its own
        code = ended(child)
        sent.append(f"{number.name} ({code})")
        if work.finished(folder):
            return sent
    code = ended(start(work.command(folder), log))
    if code != 0:
        raise RuntimeError(f"exit code {code}, signals {', '.join(sent)}; the log ends:\n{log.read_text()[-2000:]}")
    return sent


def main() -> int:
    """Exit code 0 when every round ended as if nothing had happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    leave_out_what_takes_long()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["OMP_NUM_THREADS"] = "1"
        (root / "questions.txt").write_text("".join(f"What is the tens digit of {n}?\n" for n in range(LINES)))
        seconds: dict[str, float] = {}
        for kind, work in WORKS.items():
            (root / kind).mkdir()
            began = time.monotonic()
            if ended(start(work.command(root / kind), root / "log")) != 0:
                raise RuntimeError((root / "log").read_text()[-2000:])
            seconds[kind] = time.monotonic() - began
            print(f"{kind} undisturbed: {seconds[kind]:.1f} s", flush=True)
        outcomes: Counter[str] = Counter()
        faults: list[str] = []
        for number in range(arguments.times):
            kind = ("train", "predict", "train", "predict", "ablate")[number % 5]
            folder = root / "again"
            folder.mkdir()
            try:
                sent = disturbed(WORKS[kind], folder, seconds[kind], draw, root / f"log-{number}")
                found = WORKS[kind].faults(folder, root / kind)
            except (RuntimeError, OSError, ValueError) as error:
                sent, found = [], [str(error)]
            print(f"[{number + 1}/{arguments.times}] {kind}: {', '.join(sent)} {found or 'as undisturbed'}", flush=True)
            outcomes[kind] += not found
            faults += found
            shutil.rmtree(folder)
    print(", ".join(f"{kind} {count}" for kind, count in outcomes.items()), f"of {arguments.times} as undisturbed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
