"""A run in progress: what is trained and what has happened so far; how it is saved, and taken up again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from seqlab.data.batching.stream import Position
from seqlab.engine import checkpoint
from seqlab.engine.averaging import average_checkpoints
from seqlab.engine.distributed import World
from seqlab.engine.loop import Budget, Engine
from seqlab.engine.machine import random_state, restore_random_state
from seqlab.engine.recorder import Recorder
from seqlab.errors import UserError
from seqlab.experiment.assembly import Assembly
from seqlab.experiment.config import Experiment
from seqlab.runs import events
from seqlab.runs.folder import RunFolder


@dataclass
class TrainingState:
    """What a training goes through its updates with; every process has one."""

    experiment: Experiment
    paths: RunFolder
    world: World
    assembly: Assembly
    engine: Engine
    budget: Budget
    recorder: Recorder
    watched: dict[str, Sequence[Any]]
    """the examples that evaluations look at, validation last"""
    step: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)
    """(step, main score) of every evaluation, in order"""
    time_to_target: dict[str, Any] | None = None

    @property
    def best_first(self) -> list[int]:
        """The steps of all evaluations, the best one first; of equals the later one."""
        return [step for step, _ in sorted(self.history, key=lambda entry: (entry[1], entry[0]), reverse=True)]

    @contextmanager
    def evaluated_weights(self) -> Iterator[Any]:
        """The model as it is judged: with averaged weights where the run averages."""
        if self.engine.average is None:
            yield self.assembly.model
        else:
            with self.engine.average.swapped():
                yield self.assembly.model


def save(state: TrainingState) -> None:
    """Writes a checkpoint, and removes those that need not be kept any longer."""
    engine, settings = state.engine, state.experiment.train
    snapshot = checkpoint.Snapshot(
        step=state.step,
        model=state.assembly.model.state_dict(),
        average=engine.average.state_dict() if engine.average else None,
        state={
            "optimizer": engine.optimizer.state_dict(),
            "precision": engine.precision.state_dict(),
            "position": tuple(engine.stream.position),
            "elapsed_s": state.budget.elapsed(),
            "history": state.history,
        },
        random=random_state(),
    )
    checkpoint.save(state.paths.checkpoints, snapshot, state.world)
    if state.world.is_main:
        checkpoint.keep(state.paths.checkpoints, best=state.best_first[: settings.keep_best], last=settings.keep_last)
    state.recorder.restart_clock()


def restore(state: TrainingState) -> None:
    """Puts everything where the newest checkpoint left it."""
    newest = checkpoint.latest(state.paths.checkpoints)
    if newest is None:
        raise UserError(f"{state.paths.root}: no checkpoint to go on from; train again with --overwrite")
    snapshot = checkpoint.load(newest, rank=state.world.rank)
    engine, saved = state.engine, snapshot.state
    checkpoint.load_into(state.assembly.model, snapshot.model, str(newest))
    if engine.average is not None:
        if snapshot.average is None:
            raise UserError(f"{newest}: has no averaged weights, which train.average needs")
        engine.average.load_state_dict(snapshot.average)
    engine.optimizer.load_state_dict(saved["optimizer"])
    engine.precision.load_state_dict(saved["precision"])
    engine.stream.position = Position(*saved["position"])
    state.budget.spent_s = saved["elapsed_s"]
    state.step, state.history = snapshot.step, [(step, value) for step, value in saved["history"]]
    if snapshot.random is not None:
        restore_random_state(snapshot.random)
    if state.world.is_main:
        events.rewind(state.paths.events, snapshot.step)


def final_weights(state: TrainingState) -> checkpoint.Weights:
    """As `train.final` says; averaged ones where the run averages."""
    match state.experiment.train.final:
        case "last":
            path = state.paths.checkpoint(state.step)
        case "best":
            path = state.paths.checkpoint(state.best_first[0])
        case "average":
            return average_checkpoints(sorted(state.paths.checkpoints.glob("step-*")))
    snapshot = checkpoint.load(path)
    return snapshot.average or snapshot.model
