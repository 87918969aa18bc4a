"""Files and places as people have them: the right result, or one line that says what to do."""

import shutil
from pathlib import Path

import pytest
from command_line import Command, Trained


def test_a_page_that_cannot_be_written_is_refused_before_the_work(command: Command, tmp_path: Path) -> None:
    for place, complaint in (
        (tmp_path, f"{tmp_path}: is a folder; name a file, such as {tmp_path / 'page.html'}"),
        (tmp_path / "no" / "x.html", f"{tmp_path / 'no' / 'x.html'}: there is no folder {tmp_path / 'no'}"),
    ):
        outcome = command("data", "math-sort", "--out", place)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.complaint.startswith(complaint)


def test_what_can_be_resumed_is_named(
    command: Command, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("finished", "stopped"):
        shutil.copytree(trained.folder, Path("runs") / name)
    outcome = command("train", "--resume", "runs/finished/checkpoints")
    assert outcome.complaint.endswith("(no config.toml in it)")
    Path("runs/stopped/model.safetensors").unlink()
    stopped = "unfinished, the newest first: runs/stopped"
    for arguments in (("train", "--resume", "runs"), ("train", "--resume", "runs/stoped"), ("train",)):
        outcome = command(*arguments)
        assert outcome.code == 2
        assert outcome.complaint.endswith(stopped), outcome.err
    shutil.rmtree("runs/stopped")
    assert command("train", "--resume", "runs").complaint.endswith("every run there has finished")


def test_settings_of_no_section_stand_first(command: Command) -> None:
    lines = command("show", "translate").out.splitlines()
    assert lines[0].startswith("* auto_size = true")
    assert lines[2] == "[about]"
    assert all(line.startswith(("[", "*", "  ")) for line in lines if line)
