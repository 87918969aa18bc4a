"""How much of a training is done: by updates, by the clock, or by whichever ends first."""

import time
from dataclasses import dataclass, field

from seqlab.train.distributed import World

NOMINAL_STEPS = 1000
"""Stands for the length of a run that is limited by time alone, until its speed is known."""


@dataclass
class Budget:
    """Limits of a run, and its clock, which goes on where an interrupted run left it."""

    max_steps: int | None
    max_seconds: float | None
    world: World
    spent_s: float = 0.0
    """seconds that earlier parts of the run took"""
    _started: float = field(default_factory=time.perf_counter)
    _total_steps: int = NOMINAL_STEPS

    def elapsed(self) -> float:
        """Seconds of training so far, evaluations included."""
        return self.spent_s + time.perf_counter() - self._started

    def progress(self, step: int) -> float:
        """0 before the first update, 1 when the training is over; all processes go by the clock of the first."""
        by_steps = step / self.max_steps if self.max_steps else 0.0
        if self.max_seconds is None:
            return by_steps
        by_time = self.world.broadcast_number(self.elapsed()) / self.max_seconds
        progress = max(by_steps, by_time)
        if self.max_steps is None and step > 0:
            self._total_steps = max(1, round(step / progress))
        return progress

    @property
    def total_steps(self) -> int:
        """Updates of the whole run: as set, or as far as the speed so far lets one expect."""
        return self.max_steps or self._total_steps
