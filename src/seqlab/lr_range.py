"""The learning-rate range test (Smith 2017): the rate grows, and where the loss has nearly done falling is a good peak.

Which rule reads the peak off the curve was measured (docs/techniques/schedules.md). Where the loss falls fastest is no
guide here: a model of text first learns how often each token occurs, fast and at any rate.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from seqlab.errors import UserError
from seqlab.experiment import Experiment
from seqlab.preparation import build_engine, choose_mode, seeded_assembly
from seqlab.train.budget import Budget
from seqlab.train.distributed import DeviceName, connect
from seqlab.train.loop import Update, updates
from seqlab.train.schedules import Exponential

SPAN = 0.1
"""Share of the test that the running mean of the loss looks back on; corrected for its start."""
FALLEN = 0.8
"""The peak is suggested where the smoothed loss has made this share of its fall."""
DIVERGED = 4.0
"""The test ends when the smoothed loss is this many times its minimum."""


class RangeTest(NamedTuple):
    """What the test saw, and where training would do well to peak."""

    points: list[tuple[float, float, float]]
    """(learning rate, loss, smoothed loss) of every update"""
    suggestion: float


def range_test(
    experiment: Experiment, steps: int, lowest: float, highest: float, device: DeviceName = "auto"
) -> RangeTest:
    """Trains `steps` updates with a learning rate that grows exponentially from `lowest` to `highest`.

    Raises:
        UserError: when the bounds make no sense, or the loss fell nowhere.
    """
    if not 0 < lowest < highest:
        raise UserError(f"learning rates must grow: --lowest {lowest} is not below --highest {highest}")
    if steps < 10:
        raise UserError(f"--steps {steps} is too few to see a slope; 100 is usual")
    optimizer = experiment.optimizer.model_copy(update={"lr": highest})
    schedule = Exponential(start_factor=lowest / highest)
    experiment = experiment.model_copy(update={"optimizer": optimizer, "schedule": schedule})
    world = connect(device)
    assembly = seeded_assembly(experiment, world)
    engine = build_engine(experiment, assembly, world, choose_mode(experiment, assembly, world).mode)
    try:
        points = _points(updates(engine, Budget(steps, None, world)), smoothing=1 - 1 / (SPAN * steps))
    finally:
        engine.stream.close()
        world.close()
    return RangeTest(points, suggest(points))


def suggest(points: list[tuple[float, float, float]]) -> float:
    """The learning rate at which the smoothed loss has made four fifths of its fall."""
    first, lowest = points[0][2], min(smoothed for _, _, smoothed in points)
    if lowest == first:
        raise UserError("the loss fell at no learning rate: widen --lowest and --highest, or add --steps")
    return next(rate for rate, _, smoothed in points if smoothed <= first - FALLEN * (first - lowest))


def _points(done: Iterable[Update], smoothing: float) -> list[tuple[float, float, float]]:
    points: list[tuple[float, float, float]] = []
    mean = 0.0
    for update in done:
        loss = update.loss.item()
        mean = smoothing * mean + (1 - smoothing) * loss
        smoothed = mean / (1 - smoothing ** (len(points) + 1))
        if not math.isfinite(loss):
            break
        points.append((update.learning_rate, loss, smoothed))
        if smoothed > DIVERGED * min(point[2] for point in points):
            break
    return points
