"""Whole or not at all: crashes at every point of a save, damage of every file, tied weights, full disks."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from seqlab.engine import checkpoint, machine
from seqlab.engine.checkpoint import Snapshot
from seqlab.engine.optimizers import AdamW, Muon, build_optimizer
from seqlab.errors import UserError

torch.set_num_threads(1)


def make_model(vocab_size: int = 7, width: int = 4) -> nn.ModuleDict:
    torch.manual_seed(vocab_size)
    return nn.ModuleDict({"embedding": nn.Embedding(vocab_size, width), "hidden": nn.Linear(width, width)})


def snapshot(step: int, **changes: Any) -> Snapshot:
    weights = {"weight": torch.full((3, 2), float(step))}
    state = {"position": (step, 0), "elapsed_s": 1.5, "history": [(step, 0.5)]}
    values = {"step": step, "model": weights, "average": weights, "state": state, "random": {"seed": step}}
    return Snapshot(**(values | changes))


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    machine.seed_everything(3)
    saved = snapshot(500, random=machine.random_state())
    path = checkpoint.save(tmp_path / "checkpoints", saved)
    assert path == tmp_path / "checkpoints" / "step-00000500"
    assert checkpoint.latest(tmp_path / "checkpoints") == path
    expected = (random.random(), np.random.rand(), torch.rand(2))

    loaded = checkpoint.load(path)
    assert (loaded.step, loaded.state) == (500, saved.state)
    assert torch.equal(loaded.model["weight"], saved.model["weight"])
    assert loaded.average is not None
    assert torch.equal(loaded.average["weight"], saved.model["weight"])
    assert loaded.random is not None
    machine.restore_random_state(loaded.random)
    assert (random.random(), np.random.rand()) == expected[:2]
    assert torch.equal(torch.rand(2), expected[2])


def test_optional_parts_may_be_absent(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, snapshot(1, average=None, random=None))
    loaded = checkpoint.load(path)
    assert loaded.average is None
    assert loaded.random is None
    assert not (path / "average.safetensors").exists()


def test_a_process_that_the_saved_run_did_not_have_gets_no_random_state(tmp_path: Path) -> None:
    assert checkpoint.load(checkpoint.save(tmp_path, snapshot(1)), rank=1).random is None


@pytest.mark.parametrize("config", [AdamW(), Muon()], ids=["adamw", "muon"])
def test_optimizer_states_survive(tmp_path: Path, config: AdamW | Muon) -> None:
    model = make_model()
    optimizer = build_optimizer(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    path = checkpoint.save(tmp_path, snapshot(1, state={"optimizer": optimizer.state_dict()}))
    again = build_optimizer(model, config)
    again.load_state_dict(checkpoint.load(path).state["optimizer"])
    for one, other in zip(_parts(again.state_dict()), _parts(optimizer.state_dict()), strict=True):
        assert one["param_groups"] == other["param_groups"]
        torch.testing.assert_close(one["state"], other["state"], rtol=0, atol=0)


def _parts(state: dict[str, Any]) -> list[dict[str, Any]]:
    return state.get("parts", [state])


def test_the_latest_has_most_updates_and_nothing_is_found_in_nothing(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "absent") is None
    for step in (20, 100, 3):
        checkpoint.save(tmp_path, snapshot(step))
    assert checkpoint.latest(tmp_path) == tmp_path / "step-00000100"


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, snapshot(5))
    path = checkpoint.save(tmp_path, snapshot(5, state={"note": "second"}))
    assert checkpoint.load(path).state == {"note": "second"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000005"]


class Crash(BaseException):
    """Stands for the end of the process: nobody catches it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, call: int) -> list[str]:
    """Lets the process 'die' just before its `call`-th file operation; returns the operations that were reached."""
    reached: list[str] = []

    def guard(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def guarded(*arguments: Any, **named: Any) -> Any:
            reached.append(name)
            if len(reached) == call:
                raise Crash
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, guarded)

    for owner, name in [
        (Path, "rename"),
        (Path, "mkdir"),
        (Path, "write_text"),
        (shutil, "rmtree"),
        (os, "fsync"),
        (torch, "save"),
        (checkpoint.safetensors.torch, "save_file"),
    ]:
        guard(owner, name)
    return reached


@pytest.mark.parametrize("next_step", [2, 1], ids=["next", "same"])
def test_a_crash_at_any_point_of_a_save_never_loses_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, next_step: int
) -> None:
    for call in range(1, 100):
        folder = tmp_path / str(call)
        checkpoint.save(folder, snapshot(1))
        with monkeypatch.context() as patch:
            reached = crash_at(patch, call)
            try:
                checkpoint.save(folder, snapshot(next_step, state={"note": "second"}))
                crashed = False
            except Crash:
                crashed = True
        newest = checkpoint.latest(folder)
        assert newest is not None
        state = checkpoint.load(newest).state
        assert state in (snapshot(1).state, {"note": "second"})
        if not crashed:
            assert state == {"note": "second"}
            assert call > 12, reached
            return
        # The next save clears what the crash left, and brings back what was being replaced.
        checkpoint.save(folder, snapshot(3))
        assert {entry.name for entry in folder.iterdir()} <= {f"step-0000000{step}" for step in (1, 2, 3)}
        assert (folder / "step-00000001").exists()
    raise AssertionError("a save has fewer than 100 file operations")


def test_a_killed_process_leaves_a_checkpoint_that_loads(tmp_path: Path) -> None:
    program = f"""
import torch
from pathlib import Path
from seqlab.engine.checkpoint import Snapshot, save
for step in range(1, 100000):
    save(Path({str(tmp_path)!r}), Snapshot(step, {{"weight": torch.full((200, 200), float(step))}}, None, {{}}, None))
    print(step, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        done = [int(process.stdout.readline()) for _ in range(3)]
        time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    loaded = checkpoint.load(newest)
    assert loaded.step >= done[-1]
    assert loaded.model["weight"].eq(loaded.step).all()


@pytest.mark.parametrize("name", ["model.safetensors", "average.safetensors", "state.pt", "random-0.pt"])
@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_every_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    path = checkpoint.save(tmp_path, snapshot(1))
    content = (path / name).read_bytes()
    match damage:
        case "cut":
            (path / name).write_bytes(content[:-10])
        case "changed":
            (path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "missing":
            (path / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: .*delete the folder .*step-00000001 and resume") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", '{"format": 1}', '{"format": 1, "step": 1, "files": {"a": 3}}']
)
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str | None) -> None:
    path = checkpoint.save(tmp_path, snapshot(1))
    (path / "manifest.json").unlink()
    if content is not None:
        (path / "manifest.json").write_text(content)
    with pytest.raises(
        UserError, match=r"manifest\.json: (missing|its content was changed or damaged): delete the folder"
    ):
        checkpoint.load(path)


def test_a_newer_format_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, snapshot(1))
    (path / "random-7.pt").write_bytes(b"planted")
    with pytest.raises(UserError, match=r"random-7\.pt: does not belong"):
        checkpoint.load(path)
    (path / "random-7.pt").unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(UserError, match="newer seqlab"):
        checkpoint.load(path)


class Trap:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("unpickled",))


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint, "_check_plain", lambda value, where: None)
    path = checkpoint.save(tmp_path / "c", snapshot(1, state={"trap": Trap()}))
    with pytest.raises(UserError, match=r"state\.pt: cannot be read safely"):
        checkpoint.load(path)
    assert not (tmp_path / "unpickled").exists()


class Position(NamedTuple):
    epoch: int


@pytest.mark.parametrize("value", [Position(1), np.float64(1), np.zeros(2), {1, 2}])
def test_what_could_not_be_read_back_is_not_saved(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match=r"state\.inner\[0\] is a "):
        checkpoint.save(tmp_path, snapshot(1, state={"inner": [value]}))
    assert checkpoint.latest(tmp_path) is None


def test_keep_removes_all_but_those_named_and_the_newest(tmp_path: Path) -> None:
    for step in range(1, 7):
        checkpoint.save(tmp_path, snapshot(step))
    checkpoint.keep(tmp_path, [2, 5])
    assert sorted(entry.name[-1] for entry in tmp_path.iterdir()) == ["2", "5", "6"]
    checkpoint.keep(tmp_path, [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000006"]


def test_a_full_disk_is_told_in_one_line_and_leaves_no_rest(tmp_path: Path) -> None:
    # A limit on the size of files makes the system's own calls fail, inside torch and safetensors too.
    program = """
import resource, signal, sys, torch
from pathlib import Path
from seqlab.errors import UserError
from seqlab.engine.checkpoint import Snapshot, save, save_weights
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, small, large = Path(sys.argv[1]), torch.zeros(10), torch.zeros(100_000)
save(folder, Snapshot(1, {"weight": small}, None, {}, None))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
def attempt(work):
    try:
        work()
        print("saved?!")
    except UserError as error:
        print(error)
attempt(lambda: save(folder, Snapshot(2, {"weight": large}, None, {}, None)))
attempt(lambda: save(folder, Snapshot(2, {"weight": small}, None, {"weight": large}, None)))
attempt(lambda: save_weights(folder / "model.safetensors", {"weight": large}))
"""
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    lines = run.stdout.splitlines()
    assert len(lines) == 3, run.stderr
    assert all("the disk is full" in line for line in lines)
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.load(tmp_path / "step-00000001").step == 1


def test_an_unwritable_place_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file: cannot save: "):
        checkpoint.save(tmp_path / "file", snapshot(1))
    with pytest.raises(UserError, match=r"absent/model\.safetensors: cannot save: "):
        checkpoint.save_weights(tmp_path / "absent" / "model.safetensors", {"weight": torch.zeros(1)})


def test_no_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *arguments: Any, **named: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # root may write everywhere, so a real folder would not do
    with pytest.raises(UserError, match="no permission to write there"):
        checkpoint.save(tmp_path, snapshot(1))


def test_tied_and_overlapping_tensors_are_stored_once_and_come_back(tmp_path: Path) -> None:
    table = torch.randn(6, 4)
    tensors = {
        "embedding.weight": table,
        "output.weight": table,
        "transposed": table.T,
        "first_rows": table[:2],
        "empty": torch.zeros(0),
        "also_empty": torch.zeros(0),
    }
    checkpoint.save_weights(tmp_path / "model.safetensors", tensors, {"recipe": "toy"})
    loaded = checkpoint.load_weights(tmp_path / "model.safetensors")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert loaded["output.weight"] is loaded["embedding.weight"]
    with checkpoint.safetensors.safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.metadata()["recipe"] == "toy"
        assert "output.weight" not in file.keys()  # noqa: SIM118 - not a dict


def test_weights_that_are_no_safetensors_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(UserError, match="no such file"):
        checkpoint.load_weights(path)
    checkpoint.save_weights(path, {"weight": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        checkpoint.load_weights(path)


def test_weights_go_into_a_model_that_fits(tmp_path: Path) -> None:
    source, target = make_model(), make_model()
    nn.init.zeros_(source.get_parameter("hidden.weight"))
    checkpoint.load_into(target, source.state_dict(), "here")
    assert target.get_parameter("hidden.weight").eq(0).all()


def test_weights_that_do_not_fit_are_named_with_the_likely_cause() -> None:
    weights = make_model().state_dict()
    vocabulary = r"run: embedding\.weight is \(7, 4\), but the model wants \(9, 4\): .*another vocabulary"
    with pytest.raises(UserError, match=vocabulary):
        checkpoint.load_into(make_model(vocab_size=9), weights, "run")
    with pytest.raises(UserError, match=r"\(7, 4\), but the model wants \(7, 5\): .*other settings"):
        checkpoint.load_into(make_model(width=5), weights, "run")
    with pytest.raises(UserError, match=r"has no tensor hidden\.bias"):
        checkpoint.load_into(make_model(), {k: v for k, v in weights.items() if k != "hidden.bias"}, "run")
    with pytest.raises(UserError, match="the model has no tensor extra"):
        checkpoint.load_into(make_model(), weights | {"extra": torch.zeros(1)}, "run")
