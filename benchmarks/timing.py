"""How long a step takes, in CPU time: other jobs on the machine disturb it less than wall time. None takes for ever."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence

WARM_UP = 3


def milliseconds(step: Callable[[], None], repeats: int, limit_s: float = 20) -> list[float]:
    """CPU time of each of `repeats` steps, after three that only warm up; of fewer where `limit_s` are over."""
    times = []
    for _ in rounds_within(WARM_UP + repeats, limit_s):
        start = time.process_time()
        step()
        times.append(1000 * (time.process_time() - start))
    return times[WARM_UP:] or times[-1:]


def rounds_within(rounds: int, limit_s: float) -> Iterator[int]:
    """The numbers 0, 1, ... of so many rounds; the first always comes, and none begins after `limit_s` seconds."""
    start = time.perf_counter()
    for number in range(rounds):
        if number and (seconds := time.perf_counter() - start) > limit_s:
            print(f"stopped after {number} of {rounds} rounds, which took {seconds:.0f} s", file=sys.stderr)
            return
        yield number


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
