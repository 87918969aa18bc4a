"""From a config to a finished run folder: training as one loop with visible ifs.

`train` tells the story. Every process of a run goes through all of it; only the main one writes.
"""

import json
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors.torch import save_file

from seqlab.data.batching.stream import Batch, Position
from seqlab.engine import checkpoint, random_state
from seqlab.engine.averaging import average_checkpoints
from seqlab.engine.distributed import DeviceName, World, connect
from seqlab.engine.loop import Budget, Engine, Update, updates
from seqlab.engine.machine import describe, matrix_rate, peak_memory_mb
from seqlab.engine.precision import DTYPES
from seqlab.engine.recorder import Display, NonFiniteError, Recorder
from seqlab.engine.trackers import open_trackers
from seqlab.errors import UserError
from seqlab.experiment.assembly import Assembly
from seqlab.experiment.config import Experiment, Target
from seqlab.models.hf.adapters import merge_adapters
from seqlab.report.page import write_report
from seqlab.runs import events, statistics
from seqlab.runs.events import EventLog
from seqlab.runs.folder import RunFolder, read_environment, write_json
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence
from seqlab.tasks.task import Evaluation, Task
from seqlab.training.prepare import build_engine, choose_mode, seeded_assembly
from seqlab.training.run_folder import check_free, check_resumable, create_folder


@dataclass
class Trainer:
    """A run in progress: what is trained, and what has happened so far."""

    experiment: Experiment
    paths: RunFolder
    world: World
    assembly: Assembly
    engine: Engine
    budget: Budget
    recorder: Recorder
    environment: dict[str, Any]
    watched: dict[str, Sequence[Any]]
    """the examples that evaluations look at, validation last"""
    step: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)
    """(step, main score) of every evaluation, in order"""
    time_to_target: dict[str, Any] | None = None

    @property
    def best_step(self) -> int:
        """The step of the best evaluation, the later one of equals."""
        return max(self.history, key=lambda entry: (entry[1], entry[0]))[0]


def train(
    experiment: Experiment, folder: Path, *, device: DeviceName, resume: bool, overwrite: bool, display: Display
) -> bool:
    """Trains an experiment into a run folder, or goes on with one.

    Returns:
        Whether the run is finished; False when it was interrupted, and `resume` continues it.

    Raises:
        UserError: for settings, files or folders that the user can put right.
    """
    world = connect(device)
    try:
        paths = RunFolder(folder)
        if resume:
            world.run_on_main(lambda: check_resumable(experiment, paths))
        else:
            world.run_on_main(lambda: check_free(paths, overwrite))
        trainer = _prepare(experiment, paths, world, display, resume)
        with closing(trainer.recorder), closing(trainer.engine.stream), _bad_batch_kept(trainer):
            reason = _train(trainer)
        if reason == "interrupted":
            return False
        train_s = trainer.budget.elapsed()
        world.run_on_main(lambda: _finish(trainer, reason, train_s))
        return True
    finally:
        world.close()


def _train(trainer: Trainer) -> str:
    """Updates until something ends them; returns what."""
    settings, recorder, world = trainer.experiment.train, trainer.recorder, trainer.world
    reason = "trained to the end of its budget"
    with _stop_signals() as asked_to_stop:
        for update in updates(trainer.engine, trainer.budget, trainer.step):
            trainer.step = update.step
            _record(trainer, update)
            if update.step % settings.evaluate_every == 0:
                scores = _evaluate(trainer)
                _save(trainer)
                if (ended := _reason_to_end(trainer, scores)) is not None:
                    reason = ended
                    break
            if world.any_rank(bool(asked_to_stop)):
                reason = "interrupted"
                break
        recorder.flush(trainer.budget.progress(trainer.step))
        if not trainer.history or trainer.history[-1][0] != trainer.step:
            if reason != "interrupted":
                _evaluate(trainer)
            _save(trainer)
    return reason


def _record(trainer: Trainer, update: Update) -> None:
    trainer.recorder.add(update, trainer.budget.progress(update.step))
    if update.step % trainer.experiment.train.evaluate_every == 0:
        trainer.recorder.flush(trainer.budget.progress(update.step))


def _evaluate(trainer: Trainer) -> dict[str, float]:
    """Scores on parts of the training and validation sets; every process learns those of validation."""
    scores = trainer.world.run_on_main(lambda: _scores(trainer))
    trainer.history.append((trainer.step, scores[trainer.experiment.task.main_score]))
    trainer.recorder.restart_clock()
    return scores


def _scores(trainer: Trainer) -> dict[str, float]:
    scores: dict[str, float] = {}
    with _evaluated_weights(trainer) as model:
        for split, examples in trainer.watched.items():
            evaluation = trainer.assembly.task.evaluate(
                model, examples, quick=True, autocast=trainer.engine.precision.autocast
            )
            scores = dict(evaluation.quick_scores)
            trainer.recorder.evaluation(trainer.step, split, scores)
        _show_two(trainer, model, trainer.watched["validation"])
    return scores


def _show_two(trainer: Trainer, model: Any, examples: Sequence[Any]) -> None:
    """One example is drawn for all evaluations, to see its answer change, and another for this one."""
    shown = [random.Random(number).choice(examples) for number in (trainer.experiment.train.seed, -trainer.step)]
    for sample in trainer.assembly.task.samples(model, shown, autocast=trainer.engine.precision.autocast):
        trainer.recorder.sample(trainer.step, *sample)


def _reason_to_end(trainer: Trainer, scores: dict[str, float]) -> str | None:
    settings = trainer.experiment.train
    if settings.until is not None and Target.parse(settings.until).reached(scores):
        seconds = trainer.world.broadcast_number(trainer.budget.elapsed())
        trainer.time_to_target = {"target": settings.until, "step": trainer.step, "train_s": seconds}
        return f"reached {settings.until}"
    evaluations_since_best = sum(step > trainer.best_step for step, _ in trainer.history)
    if settings.patience is not None and evaluations_since_best >= settings.patience:
        return f"no better {trainer.experiment.task.main_score} in {settings.patience} evaluations"
    return None


def _save(trainer: Trainer) -> None:
    engine = trainer.engine
    state = {
        "optimizer": engine.optimizer.state_dict(),
        "precision": engine.precision.state_dict(),
        "position": tuple(engine.stream.position),
        "elapsed_s": trainer.budget.elapsed(),
        "history": trainer.history,
    }
    snapshot = checkpoint.Snapshot(
        step=trainer.step,
        model=trainer.assembly.model.state_dict(),
        average=engine.average.state_dict() if engine.average else None,
        state=state,
        random=random_state.capture(),
    )
    checkpoint.save(trainer.paths.checkpoints, snapshot, trainer.world)
    if trainer.world.is_main:
        best = sorted(trainer.history, key=lambda entry: (entry[1], entry[0]), reverse=True)
        keep_best = [step for step, _ in best[: trainer.experiment.train.keep_best]]
        checkpoint.keep(trainer.paths.checkpoints, best=keep_best, last=trainer.experiment.train.keep_last)
    trainer.recorder.restart_clock()


def _finish(trainer: Trainer, reason: str, train_s: float) -> None:
    """Chooses the final weights, scores them on the test set, and writes results and report."""
    paths, (task, model) = trainer.paths, trainer.assembly
    autocast = trainer.engine.precision.autocast
    checkpoint.load_into(model, _final_weights(trainer), "the final weights")
    merge_adapters(model)
    checkpoint.save_weights(paths.weights, model.state_dict(), {"recipe": trainer.experiment.about.name})
    examples = task.corpus.test()[: trainer.experiment.train.test_examples]
    evaluation = task.evaluate(model, examples, quick=False, autocast=autocast)
    for note in evaluation.notes():
        trainer.recorder.note(trainer.step, f"test: {note}")
    _write_predictions(paths, evaluation)
    for name, value in task.exhibits(model.eval(), evaluation, autocast=autocast).items():
        paths.exhibit(name).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    results = {
        "recipe": trainer.experiment.about.name,
        "task": trainer.experiment.task.kind,
        "step": trainer.step,
        "train_s": train_s,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "peak_memory_mb": peak_memory_mb(trainer.world.device),
        "stopped_because": reason,
        "time_to_target": trainer.time_to_target,
        "split": "test",
        "leaks": task.corpus.leaks(),
        **evaluation.to_json(),
    }
    write_json(paths.results, results)
    write_report(paths)


def _final_weights(trainer: Trainer) -> checkpoint.Weights:
    """As `train.final` says; averaged ones where the run averages."""
    match trainer.experiment.train.final:
        case "last":
            path = trainer.paths.checkpoint(trainer.step)
        case "best":
            path = trainer.paths.checkpoint(trainer.best_step)
        case "average":
            return average_checkpoints(sorted(trainer.paths.checkpoints.glob("step-*")))
    snapshot = checkpoint.load(path)
    return snapshot.average or snapshot.model


# Preparation


def _prepare(experiment: Experiment, paths: RunFolder, world: World, display: Display, resume: bool) -> Trainer:
    settings = experiment.train
    assembly = seeded_assembly(experiment, world, paths if resume else None)
    task, model = assembly
    if resume:
        environment = read_environment(paths)
    else:
        environment = _new_environment(experiment, assembly, world, display)
        world.run_on_main(lambda: _start_folder(experiment, paths, task, environment))
    engine = build_engine(experiment, assembly, world, environment["precision"])
    seconds = settings.max_minutes * 60 if settings.max_minutes is not None else None
    budget = Budget(settings.max_steps, seconds, world)
    recorder = Recorder(
        log=EventLog(paths.events) if world.is_main else None,
        trackers=open_trackers(settings.trackers, paths.root, experiment) if world.is_main else [],
        display=display,
        world=world,
        # the backward pass has two products for each one of the forward pass
        train_flops=lambda shapes: 3 * model.forward_flops(*torch.from_numpy(shapes.T)),
        matrix_rate=environment["matrix_flops"],
        log_every=settings.log_every,
        skips_overflow=environment["precision"] == "fp16",
        elapsed=budget.elapsed,
    )
    watched = {
        "training": task.corpus.training(0)[: settings.evaluate_examples],
        "validation": task.corpus.validation()[: settings.evaluate_examples],
    }
    trainer = Trainer(experiment, paths, world, assembly, engine, budget, recorder, environment, watched)
    if resume:
        _restore(trainer)
    else:
        for remark in task.corpus.remarks():
            recorder.note(0, remark)
    return trainer


def _start_folder(experiment: Experiment, paths: RunFolder, task: Task, environment: dict[str, Any]) -> None:
    create_folder(experiment, paths, task, environment)
    if isinstance(task, SequenceToSequence):
        described = statistics.describe(
            task.corpus.splits(),
            words=experiment.text.unit != "character",
            remarks=task.corpus.remarks(),
            sample=statistics.SAMPLE,
        )
        write_json(paths.data, described.to_json())


def _new_environment(experiment: Experiment, assembly: Assembly, world: World, display: Display) -> dict[str, Any]:
    """Facts of the machine, and the precision that suits it; the same in every process."""
    choice = choose_mode(experiment, assembly, world)
    if world.is_main:
        display.note(f"precision {choice.reason}")
    facts = {
        **describe(world.device),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "processes": world.size,
        "precision": choice.mode,
        "precision_reason": choice.reason,
        "matrix_flops": matrix_rate(world.device, DTYPES[choice.mode]),
        **assembly.task.facts(),
    }
    return world.gather_objects(facts)[0]


def _restore(trainer: Trainer) -> None:
    """Puts everything where the newest checkpoint left it."""
    newest = checkpoint.latest(trainer.paths.checkpoints)
    if newest is None:
        raise UserError(f"{trainer.paths.root}: no checkpoint to go on from; train again with --overwrite")
    snapshot = checkpoint.load(newest, rank=trainer.world.rank)
    engine, state = trainer.engine, snapshot.state
    checkpoint.load_into(trainer.assembly.model, snapshot.model, str(newest))
    if engine.average is not None:
        if snapshot.average is None:
            raise UserError(f"{newest}: has no averaged weights, which train.average needs")
        engine.average.load_state_dict(snapshot.average)
    engine.optimizer.load_state_dict(state["optimizer"])
    engine.precision.load_state_dict(state["precision"])
    engine.stream.position = Position(*state["position"])
    trainer.budget.spent_s = state["elapsed_s"]
    trainer.step, trainer.history = snapshot.step, [(step, value) for step, value in state["history"]]
    if snapshot.random is not None:
        random_state.restore(snapshot.random)
    if trainer.world.is_main:
        events.rewind(trainer.paths.events, snapshot.step)


# Small things


@contextmanager
def _evaluated_weights(trainer: Trainer) -> Iterator[Any]:
    """The model as it is judged: with averaged weights where the run averages."""
    model = trainer.assembly.model
    if trainer.engine.average is None:
        yield model
    else:
        with trainer.engine.average.swapped():
            yield model


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM, so that the update in progress can finish; a second Ctrl-C ends at once.

    Python lets only the main thread of a program listen; training in another one is not stopped by signals.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def remember(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in received:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def _bad_batch_kept(trainer: Trainer) -> Iterator[None]:
    """Turns a loss that is not finite into advice, and keeps the batches of the update that it came from."""
    try:
        yield
    except NonFiniteError as error:
        path = trainer.paths.bad_batch
        if trainer.world.is_main:
            _save_batches(error.batches, path)
        raise UserError(
            f"{error}; its data is in {path}. Try a lower optimizer.lr, a longer schedule.warmup, a smaller "
            "train.clip.limit or train.precision=fp32; checkpoints are from before"
        ) from None


def _save_batches(batches: list[Batch], path: Path) -> None:
    tensors = {
        f"{number}.{name}": value.contiguous()
        for number, batch in enumerate(batches)
        for name, value in vars(batch).items()
        if isinstance(value, torch.Tensor)
    }
    save_file(tensors, path)


def _write_predictions(paths: RunFolder, evaluation: Evaluation) -> None:
    paths.predictions.parent.mkdir(exist_ok=True)
    with paths.predictions.open("w", encoding="utf-8") as file:
        for record in evaluation.records():
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
