"""How long a step takes, in CPU time: other jobs on the machine disturb it less than wall time."""

import time
from collections.abc import Callable, Sequence


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


class Stopwatch:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Seconds of processor time, and by the clock."""
        return {"cpu_s": time.process_time() - self._cpu, "wall_s": time.perf_counter() - self._wall}


def evenly_spaced(widths: Sequence[int], number: int, share: float) -> list[int]:
    """Places of so many of the batches that short and long ones count as in the whole epoch.

    Args:
        widths: of all batches.
        number: how many are chosen: one of each of as many equal parts of the batches in order of width.
        share: where in its part each of them stands, from 0 to below 1.
    """
    order = sorted(range(len(widths)), key=widths.__getitem__)
    return [order[int((part + share) / number * len(order))] for part in range(number)]
