"""How long a step takes, in CPU time: other jobs on the machine disturb it less than wall time."""

import time
from collections.abc import Callable


def milliseconds(step: Callable[[], None], repeats: int) -> list[float]:
    """CPU time of each of `repeats` steps, after three that only warm up."""
    for _ in range(3):
        step()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        step()
        times.append(1000 * (time.process_time() - start))
    return times
