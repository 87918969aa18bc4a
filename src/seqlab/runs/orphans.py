"""Processes that must not outlive the one that started them: trainings of an ablation, ranks of torchrun."""

import ctypes
import os
import signal
import sys

SET_PARENT_DEATH_SIGNAL = 1
"""`PR_SET_PDEATHSIG` of Linux: <linux/prctl.h>."""


def die_with_parent(parent: int) -> None:
    """Lets the system kill this process when the process `parent`, its own, ends; at once where it has ended.

    A run loses no more by this than the updates since its last checkpoint. Elsewhere than on Linux nothing happens: an
    orphan then holds the lock of what it writes, and the next writer reads its number.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the system knew
        os.kill(os.getpid(), signal.SIGKILL)
