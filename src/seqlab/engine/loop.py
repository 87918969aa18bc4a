"""The training loop: one optimizer update an item, and nothing else.

Logging, evaluating, saving and stopping belong to whoever iterates. The loop counts real tokens, sums losses and
divides once: accumulation over batches and processes is then exact however unevenly the tokens are spread.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqlab.data.batching.stream import Group, Stream
from seqlab.engine.averaging import WeightAverage
from seqlab.engine.distributed import World
from seqlab.engine.optimizers import Optimizer, apply_rates
from seqlab.engine.precision import Clip, Precision
from seqlab.engine.schedules import Schedule, depends_on_end

NOMINAL_STEPS = 1000
"""Stands for the length of a run that is limited by time alone, until its speed is known."""


class LossSum(NamedTuple):
    """What a task returns for a batch: the loss added up over its tokens, and how many they are."""

    sum: Tensor
    tokens: int


@dataclass
class Budget:
    """Limits of a run, and its clock, which continues where an interrupted run left it."""

    max_steps: int | None
    max_seconds: float | None
    world: World
    epochs: float | None = None
    """passes over the data"""
    stream: Stream | None = None
    """counts them"""
    spent_s: float = 0.0
    """seconds that earlier parts of the run took"""
    _started: float = field(default_factory=time.perf_counter)
    _total_steps: int = NOMINAL_STEPS

    def elapsed(self) -> float:
        """Seconds of training so far, evaluations included."""
        return self.spent_s + time.perf_counter() - self._started

    def progress(self, step: int) -> float:
        """0 before the first update, 1 when the training is over; all processes go by the clock of the first."""
        if self.epochs is not None and self.stream is not None:
            return self.stream.epochs_done / self.epochs
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
        if self.epochs is not None and self.stream is not None:
            return self.stream.updates_of(self.epochs)
        return self.max_steps or self._total_steps


@dataclass
class Engine:
    """Everything that an update changes or needs."""

    model: nn.Module  # as it is called in training: perhaps wrapped for several processes, or compiled
    loss: Callable[[nn.Module, Any], LossSum]
    stream: Stream
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    clip: Clip
    average: WeightAverage | None
    world: World


@dataclass(frozen=True)
class Update:
    """One optimizer update. Tensors stay on the device until somebody asks: reading them would stop the GPU."""

    step: int  # updates done
    loss: Tensor  # mean over the real target tokens of the update, on this process's share scaled to the whole
    grad_norm: Tensor  # before clipping
    learning_rate: float
    group: Group
    applied: bool = True  # False: loss or gradient is not finite, the weights were left alone and the loop ends


def updates(engine: Engine, budget: Budget, start: int = 0) -> Iterator[Update]:
    """Trains until the budget is spent, or an update cannot be made.

    Args:
        engine: model, data and optimizer, as they stand after `start` updates.
        budget: says when to end and where the schedule stands.
        start: updates already done.
    """
    step = start
    device, world, precision = engine.world.device, engine.world, engine.precision
    parameters = [parameter for parameter in engine.model.parameters() if parameter.requires_grad]
    engine.model.train()
    while (progress := budget.progress(step)) < 1:
        total = budget.total_steps
        now = engine.schedule.rates(progress * total if depends_on_end(engine.schedule) else step, total)
        apply_rates(engine.optimizer, now)
        group = engine.stream.next_group()
        loss = torch.zeros((), device=device)
        for turn, batch in enumerate(group.batches, start=1):
            with world.sync_only_if(engine.model, turn == len(group.batches)):
                with precision.autocast():
                    # Gradients are averaged over the processes, hence the factor: what counts is the sum.
                    part = engine.loss(engine.model, batch.to(device)).sum * (world.size / group.tokens)
                precision.backward(part)
            loss += part.detach()
        norm = precision.unscale_and_clip(parameters, engine.optimizer, engine.clip)
        learning_rate = float(engine.optimizer.param_groups[0]["lr"])
        applied = precision.step(engine.optimizer, norm)
        engine.optimizer.zero_grad(set_to_none=True)
        step += 1
        if engine.average is not None and applied:
            engine.average.update(step)
        yield Update(step, loss, norm, learning_rate, group, applied)
        if not applied:
            return
