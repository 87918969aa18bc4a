"""What the tests of tasks share: the assembly and a short run of the `experiment` that a test file defines; texts."""

import shutil
from pathlib import Path

import pytest
import torch

from seqlab.display import Silent
from seqlab.experiment.assembly import Assembly, assemble
from seqlab.experiment.config import Experiment
from seqlab.training.trainer import train


@pytest.fixture(scope="module")
def assembly(experiment: Experiment) -> Assembly:
    """Its task, and its model with first weights."""
    torch.manual_seed(1)
    return assemble(experiment)


@pytest.fixture(scope="module")
def trained(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of it."""
    folder = tmp_path_factory.mktemp("runs") / experiment.about.name
    assert train(experiment, folder, device="cpu", resume=False, overwrite=False, display=Silent())
    return folder


@pytest.fixture
def resumed(trained: Path, experiment: Experiment, tmp_path: Path) -> Path:
    """The folder of the same run, broken off at its last checkpoint but one and gone on with."""
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    (folder / "results.json").unlink()
    (folder / "model.safetensors").unlink()
    shutil.rmtree(max((folder / "checkpoints").glob("step-*")))
    assert train(experiment, folder, device="cpu", resume=True, overwrite=False, display=Silent())
    return folder


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of short texts in two classes that are easily captured apart."""
    path = tmp_path_factory.mktemp("texts") / "texts.tsv"
    lines = [f"{a} wrote {b}\tyes\nthe notes {a} {b}\tno" for a in "abcdefgh" for b in "abcdefgh"]
    path.write_text("\n".join(["text\tlabel", *lines]) + "\n")
    return path
