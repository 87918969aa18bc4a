"""From a config to a finished run folder: training as one loop with visible ifs.

`train` tells the story. Every process of a run goes through all of it; only the main one writes.
"""

import json
import random
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from seqlab.engine.checkpoint import load_into, save_weights
from seqlab.engine.distributed import DeviceName, connect
from seqlab.engine.loop import updates
from seqlab.engine.machine import peak_memory_mb
from seqlab.engine.recorder import Display
from seqlab.experiment.assembly import build_corpus
from seqlab.experiment.config import Experiment, Target
from seqlab.models.hf.adapters import merge_adapters
from seqlab.report.page import write_report
from seqlab.runs.checksums import record_checksums
from seqlab.runs.folder import RunFolder, atomic_write, write_json
from seqlab.runs.lock import locked
from seqlab.runs.schema import ARTIFACTS, checked
from seqlab.training.epochs import end_epoch, header
from seqlab.training.interruptions import bad_batch_kept, lost_processes, stop_signals, write_faults
from seqlab.training.state import (
    TrainingState,
    check_free,
    check_resumable,
    check_settings,
    final_weights,
    prepare,
    record_change,
    save,
)


def train(
    experiment: Experiment,
    folder: Path,
    *,
    device: DeviceName,
    resume: bool,
    overwrite: bool,
    display: Display,
    corpus: Any = None,
    allow_changed_data: bool = False,
) -> bool:
    """Trains an experiment into a run folder, or resumes the run that is there; `overwrite` replaces it.

    Args:
        experiment: the checked config.
        folder: of the run; see `resume` and `overwrite`.
        device: where to compute.
        resume: resume the run in the folder.
        overwrite: replace the run in the folder.
        display: what a person watches.
        corpus: that of the experiment, where the caller has read it already.
        allow_changed_data: resume although data files are others than when the run began.

    Returns:
        Whether the run is finished; False when it was interrupted, and `resume` continues it.

    Raises:
        UserError: for settings, files or folders that the user can put right.
    """
    world = connect(device)
    only_writer = locked(folder, "choose another --out") if world.is_main else nullcontext()
    try:
        paths, corpus = RunFolder(folder), build_corpus(experiment.data) if corpus is None else corpus
        with only_writer, write_faults(paths), lost_processes(paths, world):
            if resume:
                world.run_on_main(lambda: check_settings(experiment, paths))
                if world.run_on_main(lambda: report_is_missing(paths)):
                    world.run_on_main(lambda: write_report(paths))
                    return True
                changed = world.run_on_main(lambda: check_resumable(experiment, paths, corpus, allow_changed_data))
            else:
                changed = world.run_on_main(lambda: check_free(paths, overwrite))
            state = prepare(experiment, paths, world, display, resume, corpus)
            if world.is_main and not resume:
                for line in header(state):
                    display.note(line)
            if changed is not None:
                world.run_on_main(lambda: record_change(state, changed))
            return _train_to_end(state)
    finally:
        world.close()


def report_is_missing(paths: RunFolder) -> bool:
    """Whether the run ended between its results and its report."""
    return paths.results.is_file() and not paths.report.is_file()


def _train_to_end(state: TrainingState) -> bool:
    """Trains in a folder that no other process writes; False when it was interrupted."""
    world = state.world
    with closing(state.recorder), closing(state.engine.stream), bad_batch_kept(state.paths, world):
        reason = _train(state)
    if reason == "interrupted":
        return False
    train_s = state.budget.elapsed()

    def finish_here() -> None:
        with write_faults(state.paths):  # the other processes learn of a UserError only
            finish(state, reason, train_s)

    world.run_on_main(finish_here)
    return True


def _train(state: TrainingState) -> str:
    """Updates until something ends them; returns what."""
    recorder, world = state.recorder, state.world
    reason = "trained to the end of its budget"
    scores: dict[str, float] | None = None
    every, epochs = state.experiment.train.evaluate_every, int(state.engine.stream.epochs_done)
    with stop_signals() as asked_to_stop, lost_processes(state.paths, world):  # torchrun sends SIGTERM to those left
        for update in updates(state.engine, state.budget, state.step):
            state.step = update.step
            progress = state.budget.progress(state.step)
            recorder.add(update, progress)
            ended = int(state.engine.stream.epochs_done) > epochs
            scores = None
            due = ended if every == "epoch" else state.step % every == 0
            if due or ended:
                recorder.flush(progress)
            if due:
                scores = _evaluate(state)
            if ended:
                epochs = int(state.engine.stream.epochs_done)
                end_epoch(state, scores)
            if scores is not None:
                save(state)
                if (why := _reason_to_end(state, scores)) is not None:
                    reason = why
                    break
            if world.any_rank(bool(asked_to_stop)):
                reason = "interrupted"
                break
        recorder.flush(state.budget.progress(state.step))
        is_new = not state.history or state.history[-1][0] != state.step
        if is_new:
            scores = _evaluate(state) if reason != "interrupted" else None
            save(state)
        if reason != "interrupted":
            end_epoch(state, scores, partial=True)  # behind the checkpoint: more epochs continue inside this one
    return reason


def _evaluate(state: TrainingState) -> dict[str, float]:
    """Scores on parts of the training and validation sets; every process learns those of validation."""
    start = time.perf_counter()
    scores = state.world.run_on_main(lambda: _scores(state))
    state.recorder.epoch.evaluation_s += time.perf_counter() - start
    state.history.append((state.step, scores[state.experiment.task.main_score]))
    state.recorder.restart_clock()
    return scores


def _scores(state: TrainingState) -> dict[str, float]:
    task, autocast = state.assembly.task, state.engine.precision.autocast
    scores: dict[str, float] = {}
    with state.evaluated_weights() as model:
        for split, examples in state.watched.items():
            scores = dict(task.evaluate(model, examples, quick=True, autocast=autocast).quick_scores)
            state.recorder.evaluation(state.step, split, scores)
        _show_two(state, model, state.watched["validation"])
    return scores


def _show_two(state: TrainingState, model: Any, examples: Sequence[Any]) -> None:
    """One example is drawn for all evaluations, to see its output change, and another for this one."""
    first = random.Random(state.experiment.train.seed).randrange(len(examples))
    others = [row for row in range(len(examples)) if row != first]
    shown = [first, *([random.Random(-state.step).choice(others)] if others else [])]
    autocast = state.engine.precision.autocast
    for sample in state.assembly.task.samples(model, [examples[row] for row in shown], autocast=autocast):
        state.recorder.sample(state.step, *sample)


def _reason_to_end(state: TrainingState, scores: dict[str, float]) -> str | None:
    settings = state.experiment.train
    if settings.until is not None and Target.parse(settings.until).reached(scores):
        seconds = state.world.broadcast_number(state.budget.elapsed())
        state.time_to_target = {"target": settings.until, "step": state.step, "train_s": seconds}
        return f"reached {settings.until}"
    best = state.best_first[0]
    evaluations_since_best = sum(step > best for step, _ in state.history)
    if settings.patience is not None and evaluations_since_best >= settings.patience:
        return f"no better {state.experiment.task.main_score} in {settings.patience} evaluations"
    return None


def finish(state: TrainingState, reason: str, train_s: float) -> None:
    """Chooses the final weights, scores them on the test set, and writes results and report.

    results.json comes after all that it tells of: a run that has it is finished.
    """
    paths, (task, model) = state.paths, state.assembly
    autocast = state.engine.precision.autocast
    load_into(model, final_weights(state), "the final weights")
    merge_adapters(model)
    save_weights(paths.weights, model.state_dict(), {"recipe": state.experiment.about.name})
    record_checksums(paths, [paths.weights])
    examples = task.corpus.test()[: state.experiment.train.test_examples]
    evaluation = task.evaluate(model, examples, quick=False, autocast=autocast)
    for note in evaluation.notes():
        state.recorder.note(state.step, f"test: {note}")
    paths.predictions.parent.mkdir(exist_ok=True)
    atomic_write(paths.predictions, "".join(f"{_json(record)}\n" for record in evaluation.records()))
    for name, value in task.artifacts(model.eval(), evaluation, autocast=autocast).items():
        if name in ARTIFACTS:
            checked(ARTIFACTS[name], value, str(paths.artifact(name)))  # what no report could read is found now
        atomic_write(paths.artifact(name), _json(value))
    write_json(paths.results, {**_facts(state, reason, train_s), **evaluation.to_json()})
    write_report(paths)


def _facts(state: TrainingState, reason: str, train_s: float) -> dict[str, Any]:
    """What the results say of the training, beside the scores."""
    task, model = state.assembly
    return {
        "recipe": state.experiment.about.name,
        "task": state.experiment.task.kind,
        "step": state.step,
        "train_s": train_s,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "peak_memory_mb": peak_memory_mb(state.world.device),
        "stopped_because": reason,
        "time_to_target": state.time_to_target,
        "split": "test",
        "leaks": task.corpus.leaks(),
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
