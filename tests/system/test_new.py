"""What `seqlab new` writes works as it is: its tests pass, it trains, and the run predicts."""

import sys
from pathlib import Path

import pytest
from command_line import Command

FILES = {
    "model": ["sketch_model.py", "sketch_model.toml", "test_sketch_model.py"],
    "task": ["sketch_task.py", "sketch_task.toml", "test_sketch_task.py"],
    "recipe": ["sketch_recipe.toml", "test_sketch_recipe.py"],
}

FEW_UPDATES = (
    "data.epoch_size=400",
    "data.validation_size=8",
    "data.test_size=8",
    "train.max_steps=6",
    "train.evaluate_every=6",
    "train.precision=fp32",
    "train.trackers=[]",
)

INPUTS = {"model": "What is the tens digit of 3917?", "task": "banana", "recipe": "What is the tens digit of 3917?"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for names in FILES.values():
        for name in names:
            monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    return tmp_path


def forget(module: str) -> None:
    """As a new process would find it: not imported."""
    sys.modules.pop(module, None)


@pytest.mark.parametrize("kind", FILES)
def test_a_skeleton_passes_its_tests_trains_and_predicts(command: Command, folder: Path, kind: str) -> None:
    name = f"sketch_{kind}"
    written = command("new", kind, name)
    assert (written.code, written.out.splitlines()) == (0, FILES[kind]), written.err
    assert f"next  seqlab train {name}.toml" in written.err.splitlines()
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES[kind])
    assert pytest.main(["-q", "-W", "error", "-p", "no:cacheprovider", f"test_{name}.py"]) == pytest.ExitCode.OK

    trained = command("train", f"{name}.toml", *FEW_UPDATES, "--device", "cpu", "--out", "run")
    assert (trained.code, trained.out) == (0, "run\n"), trained.err
    assert (folder / "run" / "report.html").is_file()
    forget(name)
    predicted = command("predict", "run", INPUTS[kind], "--trust-code", "--device", "cpu")
    assert predicted.code == 0, predicted.err
    assert len(predicted.out.splitlines()) == 1
    if kind == "task":
        assert predicted.out.strip() in ("more vowels", "more consonants")


def test_a_run_of_a_skeleton_is_not_imported_untold(command: Command, folder: Path) -> None:
    assert command("new", "task", "sketch_task").code == 0
    assert command("train", "sketch_task.toml", *FEW_UPDATES, "--device", "cpu", "--out", "run").code == 0
    forget("sketch_task")
    refused = command("predict", "run", "banana")
    assert refused.code == 2
    assert "--trust-code" in refused.complaint
    assert "sketch_task" not in sys.modules


def test_a_class_is_named_after_the_files(command: Command, folder: Path) -> None:
    assert command("new", "model", "my_gru2").code == 0
    assert "class MyGru2(nn.Module):" in (folder / "my_gru2.py").read_text()
    assert 'kind = "my_gru2:MyGru2"' in (folder / "my_gru2.toml").read_text()


@pytest.mark.parametrize("taken", FILES["model"])
def test_nothing_is_overwritten(command: Command, folder: Path, taken: str) -> None:
    (folder / taken).write_text("mine")
    refused = command("new", "model", "sketch_model")
    assert (refused.code, refused.out) == (2, "")
    assert refused.complaint == f"{taken} already exists and is not overwritten: choose another name, or move it away"
    assert [path.name for path in folder.iterdir()] == [taken]
    assert (folder / taken).read_text() == "mine"


@pytest.mark.parametrize("name", ["my-gru", "2gru", "GRU", "_gru", "class", "none", "../gru", "gru.py", ""])
def test_a_name_is_that_of_a_module(command: Command, folder: Path, name: str) -> None:
    for kind in FILES:
        refused = command("new", kind, name)
        assert refused.code == 2
        assert refused.complaint.startswith(f'"{name}" is not a valid module name: ')
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["random", "torch", "seqlab"])
def test_a_module_that_is_there_is_not_hidden(command: Command, folder: Path, name: str) -> None:
    refused = command("new", "model", name)
    assert refused.code == 2
    assert refused.complaint.startswith(f'"{name}" is the name of a module ')
    assert command("new", "recipe", name).code == 0, "a recipe is no module"


def test_an_unknown_kind_names_those_there_are(command: Command, folder: Path) -> None:
    refused = command("new", "modle", "gru")
    assert refused.code == 2
    assert all(kind in refused.complaint for kind in FILES)
