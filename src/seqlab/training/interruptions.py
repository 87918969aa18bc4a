"""What ends a training before its time: a signal, or a loss that is no number."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from seqlab.engine.checkpoint import save_weights
from seqlab.engine.distributed import World
from seqlab.engine.recorder import NonFiniteError
from seqlab.errors import UserError
from seqlab.runs.folder import RunFolder


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
