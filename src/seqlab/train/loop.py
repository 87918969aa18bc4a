"""The training loop: one optimizer update an item, and nothing else.

Logging, evaluating, saving and stopping belong to whoever iterates. The loop counts real tokens, sums losses and
divides once: accumulation over batches and processes is then exact however unevenly the tokens are spread.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from seqlab.data.stream import Group, Stream
from seqlab.train.averaging import WeightAverage
from seqlab.train.distributed import World
from seqlab.train.optimizers import Optimizer, apply_rates
from seqlab.train.precision import Clip, Precision
from seqlab.train.schedules import Schedule, depends_on_end, rates


class LossSum(NamedTuple):
    """What a task returns for a batch: the loss added up over its tokens, and how many they are."""

    sum: Tensor
    tokens: int


class Budget(Protocol):
    """How much of the training is done."""

    def progress(self, step: int) -> float:
        """0 before the first update, 1 when the training is over; the same in every process."""
        ...

    @property
    def total_steps(self) -> int:
        """Planned number of updates; schedules count warm-up in them."""
        ...


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


def updates(engine: Engine, budget: Budget, start: int = 0) -> Iterator[Update]:
    """Trains until the budget is spent.

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
        now = rates(engine.schedule, progress * total if depends_on_end(engine.schedule) else step, total)
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
        precision.step(engine.optimizer)
        engine.optimizer.zero_grad(set_to_none=True)
        step += 1
        if engine.average is not None:
            engine.average.update(step)
        yield Update(step, loss, norm, learning_rate, group)
