"""May a run begin in this folder, or go on in it? And how a run folder begins."""

import shutil
from typing import Any

from seqlab.config.settings import differences, to_toml
from seqlab.errors import UserError
from seqlab.experiment.config import Experiment, read_experiment
from seqlab.runs.folder import RunFolder, atomic_write, write_json
from seqlab.tasks.task import Task

CHANGEABLE = frozenset({"train.max_steps", "train.max_minutes", "train.until", "train.patience"})
"""Settings that a resumed run may change: they say when to stop, not what is computed until then."""


def check_free(paths: RunFolder, overwrite: bool) -> None:
    """Raises UserError when something stands where the run shall go; only an older run may be replaced."""
    if paths.root.is_file():
        raise UserError(f"{paths.root}: is a file; choose another --out")
    if not paths.root.is_dir() or not any(paths.root.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{paths.root}: exists already; choose another --out, --resume it, or --overwrite it")
    try:
        read_experiment(paths)
    except UserError:
        raise UserError(f"{paths.root}: is not empty and not a run folder; choose another --out") from None


def create_folder(experiment: Experiment, paths: RunFolder, task: Task, environment: dict[str, Any]) -> None:
    """Starts the run folder. An older run in it goes only now, when the new one is known to work."""
    try:
        if paths.config.is_file():
            shutil.rmtree(paths.root)
        paths.root.mkdir(parents=True, exist_ok=True)
        paths.config.write_text(to_toml(experiment), encoding="utf-8")
        task.save(paths)
        write_json(paths.environment, environment)
    except OSError as error:
        raise UserError(f"{paths.root}: cannot write the run folder ({error.strerror}); choose another --out") from None


def check_resumable(experiment: Experiment, paths: RunFolder) -> None:
    """Raises UserError when the run was trained with settings that matter and differ, or is finished.

    What may differ is kept in the run's config from now on.
    """
    old = read_experiment(paths)
    changed = [
        line
        for line in differences(old, experiment)
        if line.split(":")[0] not in CHANGEABLE and not line.startswith("about.")  # what a recipe says of itself
    ]
    if changed:
        raise UserError(f"{paths.root}: was trained with other settings ({'; '.join(changed[:3])}); start a new run")
    if paths.results.is_file():
        raise UserError(f"{paths.root}: is finished; `seqlab evaluate {paths.root}` scores it again")
    atomic_write(paths.config, to_toml(experiment))
