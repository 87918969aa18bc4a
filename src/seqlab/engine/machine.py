"""The machine and the process: cores, memory, rate of matrix products, random state."""

import os
import platform
import random
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import seqlab

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Numbers of the settings in glibc's malloc.h."""


def describe(device: torch.device) -> dict[str, Any]:
    """Facts to judge and repeat a measurement by; None where the system does not tell."""
    return {
        "seqlab": seqlab.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "git_commit": _git_commit(),
        "command": _command(),
    }


PRIMITIVES = 64
"""Compiled products that oneDNN keeps, each for one shape. Its own 1,024 are of little use where shapes change with
every batch, but fill gigabytes; a step of a Transformer of 3+3 layers needs about 30 at a time."""


def prepare_cpu(local_size: int = 1) -> int:
    """Sets up torch's threads; returns their number. Call it before the first computation.

    Denormals are flushed to zero: a thread takes that setting over when it is created, and without it recurrent nets
    were seen 18-27 times slower. OMP_NUM_THREADS is obeyed; otherwise torch's own choice, cut down to the cores that
    this process may use, is divided among the `local_size` processes of this machine.
    """
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRIMITIVES))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), usable_cores()) // local_size))
    return torch.get_num_threads()


def _keep_freed_memory() -> None:
    """Tells glibc to keep large freed blocks instead of handing them back to the system.

    A training step frees and asks for the same gigabyte again and again; each time, the system would map and clear its
    pages anew. Keeping them took an fp32 step from 2.1 s to 1.8 s. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def usable_cores() -> int:
    """Cores that this process may use: its affinity, or the CPU quota of its container if that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, round(int(quota) / int(period))))


PRODUCT_SIZES = (128, 512, 2048)
"""Sizes of the products that `matrix_rate` tries; a smaller one tells whether the next would take too long."""


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of large square matrix products: the ceiling that training is compared with. Takes 0.3 to 3 s.

    On a CPU the time is that of the processors, not of the clock: a busy machine has the ceiling of an idle one.
    The fastest of repeated products of 2048 x 2048, because whatever else the machine does can only slow them down; of
    smaller ones where those would take seconds (bf16 without instructions for it).
    """
    size, *larger = PRODUCT_SIZES
    times = [_product_s(device, dtype, size) for _ in range(2)]
    for next_size in larger:
        if min(times) * (next_size / size) ** 3 > 1:
            break
        size, times = next_size, [_product_s(device, dtype, next_size)]
    while sum(times) < 0.3 or (len(times) < 4 and sum(times) < 1):
        times.append(_product_s(device, dtype, size))
    return 2 * size**3 / min(times)


def peak_memory_mb(device: torch.device) -> float:
    """Most memory so far, in MiB: allocated on the GPU, else resident of this process. NaN where unknown. No sync."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    match sys.platform:
        case "linux":  # not getrusage: it starts from the peak of the process that started this one
            status = Path("/proc/self/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
        case "darwin":
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        case _:
            return float("nan")


def _product_s(device: torch.device, dtype: torch.dtype, size: int) -> float:
    left, right = torch.randn(2, size, size, device=device, generator=torch.Generator(device).manual_seed(0)).to(dtype)
    _finish(device)
    start, spent = time.perf_counter(), time.process_time()
    torch.mm(left, right)
    _finish(device)
    elapsed, spent = time.perf_counter() - start, time.process_time() - spent
    return min(elapsed, spent / torch.get_num_threads()) if device.type == "cpu" else elapsed


def _finish(device: torch.device) -> None:
    """Waits until the device has finished its work."""
    match device.type:
        case "cuda":
            torch.cuda.synchronize(device)
        case "mps":
            torch.mps.synchronize()


def _command() -> str:
    """The command line, as it would be typed again."""
    program = Path(sys.argv[0]).name
    return shlex.join([*(["python", "-m", "seqlab"] if program == "__main__.py" else [program]), *sys.argv[1:]])


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _git_commit() -> str | None:
    """Commit of the current folder, with "-dirty" if files are changed; None outside of a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seeds Python, NumPy and torch on all devices; every rank draws other numbers."""
    mixed = int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def random_state() -> dict[str, Any]:
    """The state of every generator of this process, with the GPU's if one is in use.

    Tensors and plain values only, so that it can be read back without unpickling anything.
    """
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(gauss)),
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Takes back what `random_state` gave. The state of a device that is absent here is left out."""
    torch.set_rng_state(state["torch"].cpu())
    random.setstate(state["python"])
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"].cpu())
