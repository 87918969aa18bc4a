"""What ends a training before its time: a signal, a full disk, or a loss that is no number."""

import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import torch

from seqlab.engine.checkpoint import latest, save_weights
from seqlab.engine.distributed import World, is_lost_connection
from seqlab.engine.recorder import NonFiniteError
from seqlab.errors import UserError
from seqlab.runs.folder import RunFolder, unwritable
from seqlab.runs.lock import locked

LOOK_S = 1.0
"""So long the main process keeps its lock when another one has ended, so that the others see who is alive."""


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM, so that the update in progress can finish; a second Ctrl-C ends at once.

    Python lets only the main thread of a program listen; training in another one is not stopped by signals.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def remember(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in received:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def write_faults(paths: RunFolder) -> Iterator[None]:
    """Turns a write that the system refuses into one line that says what is saved, and how to continue."""
    report = threading.excepthook

    def report_others(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, OSError):  # the thread of TensorBoard hands it on to the next who writes
            report(args)

    threading.excepthook = report_others
    try:
        yield
    except OSError as error:
        if not paths.root.is_dir():
            raise UserError(f"{paths.root}: was deleted during training; train again") from None
        raise unwritable(error, paths.root, saved_so_far(paths)) from None
    finally:
        threading.excepthook = report


@contextmanager
def lost_processes(paths: RunFolder, world: World) -> Iterator[None]:
    """Turns the end of another process of the run into one line with the command that resumes."""
    try:
        yield
    except RuntimeError as error:
        if world.size == 1 or not is_lost_connection(error):
            raise
        message = f"{paths.root}: another process of this run has ended; {saved_so_far(paths)}"
        time.sleep(LOOK_S if world.is_main else LOOK_S / 5)
        with suppress(UserError):
            if not world.is_main:
                with locked(paths.root, ""):  # the main process holds it while it lives: somebody else has to speak
                    print(f"seqlab: {message}", file=sys.stderr)
        raise UserError(message) from None


def saved_so_far(paths: RunFolder) -> str:
    """What a run that cannot go on has saved, and the command that continues it."""
    run = shlex.quote(str(paths.root))
    if paths.results.is_file():
        return f"weights and results are saved; write the report with: seqlab report {run}"
    newest = latest(paths.checkpoints)
    if newest is None:
        return "no checkpoint is saved yet; train again with --overwrite"
    return f"update {int(newest.name.split('-')[1])} is saved; resume with: seqlab train --resume {run}"


@contextmanager
def bad_batch_kept(paths: RunFolder, world: World) -> Iterator[None]:
    """Turns a loss that is not finite into advice, and keeps the batches of the update that it came from."""
    try:
        yield
    except NonFiniteError as error:
        if world.is_main:
            tensors = {
                f"{number}.{name}": value
                for number, batch in enumerate(error.batches)
                for name, value in vars(batch).items()
                if isinstance(value, torch.Tensor)
            }
            save_weights(paths.bad_batch, tensors)
        raise UserError(
            f"{error}; its data is in {paths.bad_batch}. Try a lower optimizer.lr, a longer schedule.warmup, a smaller "
            "train.clip.limit or train.precision=fp32; checkpoints are from before"
        ) from None
