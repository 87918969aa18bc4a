"""From an experiment to a training engine, in a process of its world."""

import time
from typing import cast

import torch
from torch import nn

from seqlab.data.batching.stream import Stream
from seqlab.engine import random_state
from seqlab.engine.averaging import WeightAverage
from seqlab.engine.distributed import World
from seqlab.engine.loop import Engine
from seqlab.engine.machine import prepare_cpu
from seqlab.engine.optimizers import build_optimizer
from seqlab.engine.precision import Choice, Mode, Precision, choose_precision
from seqlab.experiment.assembly import Assembly, assemble
from seqlab.experiment.config import Experiment
from seqlab.runs.folder import RunFolder


def seeded_assembly(experiment: Experiment, world: World, trained: RunFolder | None = None) -> Assembly:
    """Task and model as the seed makes them, the model on its device; random numbers stand at the first update.

    All processes start from the same weights, and then drop out different units.
    """
    prepare_cpu(world.local_size)
    random_state.seed_everything(experiment.train.seed)
    assembly = assemble(experiment, trained)
    assembly.model.to(world.device)
    random_state.seed_everything(experiment.train.seed, world.rank)
    return assembly


def build_engine(experiment: Experiment, assembly: Assembly, world: World, mode: Mode) -> Engine:
    """The engine at its first update."""
    settings, (task, model) = experiment.train, assembly
    called = cast(nn.Module, torch.compile(model)) if settings.compile else model
    return Engine(
        model=world.wrap(called),
        loss=task.loss,
        stream=Stream(task.training, experiment.batch, settings.seed, world.rank, world.size),
        optimizer=build_optimizer(model, experiment.optimizer),
        schedule=experiment.schedule,
        precision=Precision(mode, world.device),
        clip=settings.clip,
        average=WeightAverage(model, settings.average) if settings.average is not None else None,
        world=world,
    )


def choose_mode(experiment: Experiment, assembly: Assembly, world: World) -> Choice:
    """The precision of the run; "auto" measures forward and backward of a real batch on the main process's machine.

    Leaves weights, data and random numbers as they were.
    """
    task, model = assembly
    state = random_state.capture()
    stream = Stream(task.training, experiment.batch, experiment.train.seed, world.rank, world.size)
    batch = stream.next_group().batches[0].to(world.device)
    stream.close()

    def timed_step(mode: Mode) -> float:
        precision = Precision(mode, world.device)
        start = time.process_time()
        with precision.autocast():
            loss = task.loss(model, batch).sum / batch.tokens
        loss.backward()
        seconds = time.process_time() - start
        model.zero_grad(set_to_none=True)
        return seconds

    choice = choose_precision(experiment.train.precision, world.device, timed_step)
    random_state.restore(state)
    return world.gather_objects(choice)[0]
