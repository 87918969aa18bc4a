"""What Python code and the command line both call: a recipe's name in, a trained run out."""

import shlex
from datetime import datetime
from pathlib import Path

from seqlab.config.settings import read_toml
from seqlab.display import Silent
from seqlab.engine.distributed import DeviceName
from seqlab.engine.recorder import Display
from seqlab.errors import UserError
from seqlab.experiment import registry
from seqlab.experiment.assembly import build_corpus, fitted
from seqlab.experiment.config import Experiment, load
from seqlab.inference.run import Run
from seqlab.runs.folder import RunFolder, check_links
from seqlab.training.trainer import train as _train


class Interrupted(Exception):  # noqa: N818 - not an error: it was asked for
    """Training was asked to stop; `folder` holds a checkpoint to resume from."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"interrupted; resume with: seqlab train --resume {shlex.quote(str(folder))}")
        self.folder = folder


def train(
    recipe: str | None = None,
    settings: dict[str, object] | list[str] | None = None,
    *,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    overwrite: bool = False,
    device: DeviceName = "auto",
    display: Display | None = None,
    trust_code: bool = False,
    allow_changed_data: bool = False,
) -> Run:
    """Trains a recipe and returns the finished run.

    Args:
        recipe: name of a recipe or path of a TOML file; not needed to resume.
        settings: what differs from the recipe: `{"train.max_steps": 500}` or `["train.max_steps=500"]`.
        out: the run folder; `runs/RECIPE-DATE-TIME` when absent.
        resume: the folder of an interrupted run to resume.
        overwrite: replace the run in `out`.
        device: auto, cpu, cuda or mps.
        display: what a person watches; nothing when absent.
        trust_code: import classes of somebody's own that the run in `resume` names.
        allow_changed_data: resume although data files are others than when the run began.

    Raises:
        UserError: for anything that the caller can put right.
        Interrupted: after Ctrl-C or SIGTERM, with everything saved.
    """
    experiment = _experiment(recipe, settings or [], resume, trust_code)
    corpus = build_corpus(experiment.data)  # one for all: its files are read once
    experiment = fitted(experiment, corpus)
    folder = Path(resume or out or _new_folder(experiment.about.name))
    finished = _train(
        experiment,
        folder,
        device=device,
        resume=resume is not None,
        overwrite=overwrite,
        display=display or Silent(),
        corpus=corpus,
        allow_changed_data=allow_changed_data,
    )
    if not finished:
        raise Interrupted(folder)
    return Run(folder, device, trust_code=trust_code)


def _experiment(
    recipe: str | None, settings: dict[str, object] | list[str], resume: str | Path | None, trust_code: bool
) -> Experiment:
    """From the recipe, or when resuming without one from the run folder itself."""
    if recipe is not None:
        return load(recipe, settings)
    if resume is None:
        others = _unfinished(Path("runs"))
        raise UserError(f"name a recipe to train (`seqlab recipes` lists them), or a run to --resume{others}")
    path = RunFolder(Path(resume)).config
    if not path.is_file():
        raise UserError(f"{resume}: not a run folder (no {path.name} in it){_unfinished(Path(resume))}")
    check_links(RunFolder(Path(resume)))
    if not trust_code:
        registry.check_trusted(read_toml(path), str(path))
    return load(str(path), settings, warn=False)


def _unfinished(place: Path) -> str:
    """Where there are runs that can be resumed, in or beside a folder: the end of a sentence that names the newest."""
    around = [place] if place.is_dir() else [place.parent, Path("runs")]
    found = {run.parent for folder in around for run in folder.glob("*/config.toml")}
    stopped = [run for run in found if not RunFolder(run).weights.is_file()]
    newest = sorted(stopped, key=lambda run: (run.stat().st_mtime, run.name), reverse=True)[:3]
    if not newest:
        return "; every run there has finished" if found else ""
    return "; unfinished, the newest first: " + ", ".join(map(str, newest))


def _new_folder(name: str) -> Path:
    """`runs/NAME-DATE-TIME`; the same second twice gets a number."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, number = Path("runs") / stem, 2
    while folder.exists():
        folder, number = Path("runs") / f"{stem}-{number}", number + 1
    return folder
