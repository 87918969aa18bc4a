"""A run in progress: how it begins, what is trained, what has happened so far; how it is saved, and resumed."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from seqlab.config.settings import differences, to_toml
from seqlab.data.batching.stream import Position, Stream
from seqlab.engine import checkpoint
from seqlab.engine.averaging import WeightAverage, average_checkpoints
from seqlab.engine.distributed import World
from seqlab.engine.loop import Budget, Engine
from seqlab.engine.machine import (
    describe,
    matrix_rate,
    prepare_cpu,
    random_state,
    restore_random_state,
    seed_everything,
)
from seqlab.engine.optimizers import build_optimizer
from seqlab.engine.precision import DTYPES, Mode, Precision, PrecisionChoice, choose_precision
from seqlab.engine.recorder import Display, EpochSums, Recorder, open_trackers
from seqlab.errors import UserError
from seqlab.experiment.assembly import Assembly, assemble
from seqlab.experiment.config import Experiment, read_experiment
from seqlab.metrics.registry import measure
from seqlab.models.flops import forward_flops_of
from seqlab.runs import events
from seqlab.runs.checksums import record_checksums, verify_checksums
from seqlab.runs.compatibility import FORMAT
from seqlab.runs.data_files import changed_data, record_data
from seqlab.runs.events import EventLog
from seqlab.runs.folder import RunFolder, atomic_write, read_environment, write_json
from seqlab.tasks.task import Task


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
        sign = 1 if measure(self.experiment.task.main_score).better == "higher" else -1
        return [step for step, _ in sorted(self.history, key=lambda entry: (sign * entry[1], entry[0]), reverse=True)]

    @property
    def kept_steps(self) -> list[int]:
        """The steps whose checkpoints stay: the best evaluations and the last ones, in order.

        That of an interrupt is in no evaluation: an uninterrupted run would not have it.
        """
        settings = self.experiment.train
        last = [step for step, _ in self.history[-settings.keep_last :]]
        return sorted({*self.best_first[: settings.keep_best], *last})

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
    engine = state.engine
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
            "epoch": asdict(state.recorder.epoch),
        },
        random=random_state(),
    )
    checkpoint.save(state.paths.checkpoints, snapshot, state.world)
    if state.world.is_main:
        checkpoint.keep(state.paths.checkpoints, state.kept_steps)
    state.recorder.restart_clock()


def restore(state: TrainingState) -> None:
    """Puts everything where the newest checkpoint left it."""
    newest = checkpoint.latest(state.paths.checkpoints)
    if newest is None:
        raise UserError(f"{state.paths.root}: no checkpoint to resume from; train again with --overwrite")
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
    state.recorder.epoch = EpochSums(**saved.get("epoch", {}))  # earlier runs have none
    state.step, state.history = snapshot.step, [(step, value) for step, value in saved["history"]]
    if snapshot.random is not None:
        restore_random_state(snapshot.random)
    if state.world.is_main:
        events.rewind(state.paths.events, snapshot.step)
        if cut := events.gap(events.read(state.paths.events), snapshot.step):
            state.recorder.note(snapshot.step, f"{state.paths.events}: {cut}; the weights are not affected")


def final_weights(state: TrainingState) -> checkpoint.Weights:
    """As `train.final` says; averaged ones where the run averages."""
    match state.experiment.train.final:
        case "last":
            path = state.paths.checkpoint(state.step)
        case "best":
            path = state.paths.checkpoint(state.best_first[0])
        case "average":
            # not all that lie there: a process that died before it removed one would change the mean
            return average_checkpoints([state.paths.checkpoint(step) for step in state.kept_steps])
    snapshot = checkpoint.load(path)
    return snapshot.average or snapshot.model


CHANGEABLE = frozenset({"train.epochs", "train.max_steps", "train.max_minutes", "train.until", "train.patience"})
"""Settings that a resumed run may change: they say when to stop, not what is computed until then."""


def prepare(
    experiment: Experiment, paths: RunFolder, world: World, display: Display, resume: bool, corpus: Any = None
) -> TrainingState:
    """Everything as it stands at the first update of a new run, whose folder is begun; or where a resumed one stood."""
    settings = experiment.train
    assembly = seeded_assembly(experiment, world, paths if resume else None, corpus)
    environment = read_environment(paths) if resume else _begin(experiment, paths, assembly, world, display)
    engine = build_engine(experiment, assembly, world, environment["precision"])
    seconds = settings.max_minutes and settings.max_minutes * 60
    budget = Budget(settings.max_steps, seconds, world, settings.epochs, engine.stream)
    recorder = Recorder(
        log=EventLog(paths.events) if world.is_main else None,
        trackers=open_trackers(settings.trackers, paths.root, experiment) if world.is_main else [],
        display=display,
        world=world,
        train_flops=_train_flops(assembly),
        matrix_rate=environment["matrix_flops"],
        log_every=settings.log_every,
        skips_overflow=environment["precision"] == "fp16",
        elapsed=budget.elapsed,
    )
    corpus, number = assembly.task.corpus, settings.evaluate_examples
    watched = {"training": corpus.training(0)[:number], "validation": corpus.validation()[:number]}
    state = TrainingState(experiment, paths, world, assembly, engine, budget, recorder, watched)
    if resume:
        restore(state)
    else:
        for remark in corpus.remarks():
            recorder.note(0, remark)
    return state


def _train_flops(assembly: Assembly) -> Callable[[np.ndarray], float] | None:
    """(N, 2) source and target lengths -> operations of training on them; None where nobody can count them."""
    task, model = assembly
    counted = getattr(model, "forward_flops", None)
    if counted is None and (run_forward := getattr(task, "run_forward", None)) is not None:
        counted = forward_flops_of(model, run_forward)
    # the backward pass has two products for each one of the forward pass
    return None if counted is None else lambda shapes: 3 * counted(*torch.from_numpy(shapes.T))


def _begin(
    experiment: Experiment, paths: RunFolder, assembly: Assembly, world: World, display: Display
) -> dict[str, Any]:
    """Begins the folder of a new run; returns facts of the main process's machine, and the precision that suits it."""
    choice = choose_mode(experiment, assembly, world)
    if world.is_main:
        display.note(f"precision {choice.reason}")
    facts = {
        "format": FORMAT,
        **describe(world.device),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "processes": world.size,
        "precision": choice.mode,
        "precision_reason": choice.reason,
        "matrix_flops": matrix_rate(world.device, DTYPES[choice.mode]),
        **assembly.task.facts(),
    }
    environment = world.gather_objects(facts)[0]
    world.run_on_main(lambda: create_folder(experiment, paths, assembly.task, environment))
    return environment


def seeded_assembly(
    experiment: Experiment, world: World, trained: RunFolder | None = None, corpus: Any = None
) -> Assembly:
    """Task and model as the seed makes them, the model on its device; random numbers stand at the first update.

    All processes start from the same weights, and then drop out different units.
    """
    prepare_cpu(world.local_size)
    seed_everything(experiment.train.seed)
    assembly = assemble(experiment, trained, corpus)
    assembly.model.to(world.device)
    seed_everything(experiment.train.seed, world.rank)
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


def choose_mode(experiment: Experiment, assembly: Assembly, world: World) -> PrecisionChoice:
    """The precision of the run; "auto" measures forward and backward of a real batch on the main process's machine.

    Leaves weights, data and random numbers as they were.
    """
    task, model = assembly
    state = random_state()
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
    restore_random_state(state)
    return world.gather_objects(choice)[0]


def check_free(paths: RunFolder, overwrite: bool) -> None:
    """Raises UserError when something stands where the run shall go; only an older run may be replaced."""
    if paths.root.is_file():
        raise UserError(f"{paths.root}: is a file; choose another --out")
    if not paths.root.is_dir() or not any(paths.root.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{paths.root}: already exists; choose another --out, --resume it, or --overwrite it")
    try:
        read_experiment(paths)
    except UserError:
        raise UserError(f"{paths.root}: is not empty and not a run folder; choose another --out") from None


def check_settings(experiment: Experiment, paths: RunFolder) -> None:
    """Raises UserError when the run in the folder was trained with settings that matter and differ."""
    old = read_experiment(paths)
    differing = [
        line
        for line in differences(old, experiment)
        if line.split(":")[0] not in CHANGEABLE and not line.startswith("about.")  # what a recipe says of itself
    ]
    if differing:
        raise UserError(
            f"{paths.root}: was trained with different settings ({'; '.join(differing[:3])}); start a new run"
        )


def check_resumable(experiment: Experiment, paths: RunFolder, corpus: Any, allow_changed_data: bool) -> str | None:
    """Raises UserError when the run is finished, or a file is not what it was when the run began.

    Settings that may differ are kept in the run's config from now on. Returns what changed in the data, where that is
    allowed.
    """
    if paths.results.is_file():
        raise UserError(f"{paths.root}: is already finished; `seqlab evaluate {paths.root}` scores it again")
    verify_checksums(paths)
    changed = check_data(paths, corpus, allow_changed_data)
    atomic_write(paths.config, to_toml(experiment))
    return changed


def data_files(corpus: Any) -> Sequence[Path]:
    """The files that a corpus reads; a corpus of the user's own need not say."""
    return getattr(corpus, "files", list)()


def record_corpus(paths: RunFolder, corpus: Any) -> None:
    """Writes down what the run is trained on, and what it is judged by."""
    record_data(paths, data_files(corpus), getattr(corpus, "example", None), corpus.test())


def check_data(paths: RunFolder, corpus: Any, allow_changed: bool) -> str | None:
    """Raises UserError when the data files are others than when the run began; or says so, where that is allowed."""
    try:
        changed = changed_data(paths, data_files(corpus))
    except UserError as error:
        raise UserError(f"{error}; {paths.root} resumes with the data that it was trained on") from None
    if changed and not allow_changed:
        raise UserError(
            f"{changed}: the weights would not be those of an uninterrupted run; put the file back, or resume with "
            "--allow-changed-data"
        )
    return changed


def record_change(state: TrainingState, changed: str) -> None:
    """Logs that the run resumes with changed data, which is that of the run from now on."""
    state.recorder.note(state.step, f"resumed with changed data: {changed}")
    record_corpus(state.paths, state.assembly.task.corpus)


def create_folder(experiment: Experiment, paths: RunFolder, task: Task, environment: dict[str, Any]) -> None:
    """Begins the run folder. An older run in it goes only now, when the new one is known to work."""
    try:
        if paths.config.is_file():
            shutil.rmtree(paths.root)
        paths.root.mkdir(parents=True, exist_ok=True)
        atomic_write(paths.config, to_toml(experiment))
        task.save(paths)
        saved = {file for file in paths.root.rglob("*") if file.is_file()} - {paths.config, paths.data}
        record_checksums(paths, sorted(saved))
        record_corpus(paths, task.corpus)
        write_json(paths.environment, environment)
    except OSError as error:
        raise UserError(f"{paths.root}: cannot write the run folder ({error.strerror}); choose another --out") from None
