"""The end of a run: final weights, their scores on the test set, and everything that is written of them."""

import json
from typing import Any

from seqlab.engine.checkpoint import load_into, save_weights
from seqlab.engine.machine import peak_memory_mb
from seqlab.models.hf.adapters import merge_adapters
from seqlab.report.page import write_report
from seqlab.runs.folder import atomic_write, write_json
from seqlab.training.state import TrainingState, final_weights


def finish(state: TrainingState, reason: str, train_s: float) -> None:
    """Chooses the final weights, scores them on the test set, and writes results and report.

    results.json comes after all that it tells of: a run that has it is finished.
    """
    paths, (task, model) = state.paths, state.assembly
    autocast = state.engine.precision.autocast
    load_into(model, final_weights(state), "the final weights")
    merge_adapters(model)
    save_weights(paths.weights, model.state_dict(), {"recipe": state.experiment.about.name})
    examples = task.corpus.test()[: state.experiment.train.test_examples]
    evaluation = task.evaluate(model, examples, quick=False, autocast=autocast)
    for note in evaluation.notes():
        state.recorder.note(state.step, f"test: {note}")
    paths.predictions.parent.mkdir(exist_ok=True)
    atomic_write(paths.predictions, "".join(f"{_json(record)}\n" for record in evaluation.records()))
    for name, value in task.exhibits(model.eval(), evaluation, autocast=autocast).items():
        atomic_write(paths.exhibit(name), _json(value))
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
