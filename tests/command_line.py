"""The command line for tests: called in this process, or started as one of its own."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
import torch

from seqlab import cli
from seqlab.engine.checkpoint import load_weights
from seqlab.engine.loop import Update
from seqlab.engine.recorder import Recorder

PROGRESS = re.compile(
    r"precision |(model|data|batches): |epoch [\d.]+  |\s*\d+%  step \d|step \d+  (training|validation): "
)
"""What training writes to standard error while all is well."""

PATIENCE_S = 300
"""How long a process may take before a test gives it up; on an idle machine none needs a tenth of it."""


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error that is no progress."""
        captured = [line for line in self.err.splitlines() if not PROGRESS.match(line)]
        assert len(captured) == 1, self.err
        assert captured[0].startswith("seqlab: "), self.err
        return captured[0].removeprefix("seqlab: ")


class Command(Protocol):
    """`command("train", "math-sort", stdin=b"")` is `seqlab train math-sort`."""

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Outcome: ...


class Start(Protocol):
    """Starts `python -m seqlab`, or a script in its place, under torchrun where several processes are asked for."""

    def __call__(
        self, *arguments: str | Path, processes: int = 1, script: Path | None = None
    ) -> subprocess.Popen[str]: ...


class Trained(NamedTuple):
    """A finished run, and what training it printed."""

    folder: Path
    outcome: Outcome


def run_here(*arguments: str | Path, stdin: bytes = b"") -> Outcome:
    """Calls the command line in this process: importing torch takes seconds that each test would pay."""
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["seqlab", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as end:
                code = end.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


def start(*arguments: str | Path, processes: int = 1, script: Path | None = None) -> subprocess.Popen[str]:
    """See `Start`; one thread a process, both streams caught."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher = torchrun if processes > 1 else []
    what = ["-m", "seqlab"] if script is None else [str(script)]
    return subprocess.Popen(
        [sys.executable, *launcher, *what, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=_interruptible,
    )


def _interruptible() -> None:
    """A shell hands down to what runs in its background that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def outcome_of(process: subprocess.Popen[str]) -> Outcome:
    """Waits until the process has ended. What gloo itself says on standard output, as with torch 2.9, is left out."""
    out, err = process.communicate(timeout=PATIENCE_S)
    own = [line for line in out.splitlines(keepends=True) if not line.startswith("[Gloo]")]
    return Outcome(process.returncode, "".join(own), err)


@contextlib.contextmanager
def signal_after(step: int, number: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    """Inside, a training in this process gets a signal after update `step`."""
    add = Recorder.add

    def add_and_signal(recorder: Recorder, update: Update, progress: float) -> None:
        add(recorder, update, progress)
        if update.step == step:
            signal.raise_signal(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "add", add_and_signal)
        yield


def checkpoints(folder: Path) -> list[str]:
    """The names of the checkpoints of a run, the oldest first."""
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def losses(folder: Path) -> list[tuple[int, float]]:
    """(step, loss) of every update that the run has on record."""
    events = map(json.loads, (folder / "events.jsonl").read_text(encoding="utf-8").splitlines())
    return [(event["step"], event["loss"]) for event in events if event["kind"] == "update"]


def differing(left: Path, right: Path) -> list[str]:
    """The tensors of two safetensors files that differ in any bit."""
    here, there = load_weights(left), load_weights(right)
    assert here.keys() == there.keys()
    return [name for name in here if not torch.equal(here[name], there[name])]
