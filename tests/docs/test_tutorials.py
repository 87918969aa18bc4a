"""The tutorials: their files are written into an empty folder, and their commands executed literally."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import run_here

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
MODULES = ("gru", "reversal", "parity")
"""What the pages call their Python files."""


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, for a process that has imported nothing from it."""
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in MODULES:
        sys.modules.pop(name, None)


def follow(page: str, folder: Path) -> list[str]:
    """Writes the files of a page, runs its commands in order, and returns these."""
    commands: list[str] = []
    for language, title, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if title:
            (folder / title).write_text(text, encoding="utf-8")
        elif language == "sh":
            for line in text.splitlines():
                run(line)
                commands.append(line)
    return commands


def run(line: str) -> None:
    """One command of a page; a verb of seqlab is called in this process, as if it were a new one."""
    program, *arguments = shlex.split(line, comments=True)
    for name in MODULES:  # a new process has imported nothing: --trust-code is needed
        sys.modules.pop(name, None)
    if program == "seqlab":
        outcome = run_here(*arguments)
        assert outcome.code == 0, f"{line}\n{outcome.err}"
    else:
        assert program == "pytest", f"a tutorial may run seqlab and pytest only: {line}"
        captured = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert captured.returncode == 0, captured.stdout + captured.stderr


@pytest.mark.parametrize("page", ["add-a-model.md", "add-a-task.md"])
def test_a_tutorial_followed_literally_ends_with_a_trained_run(page: str, empty_folder: Path) -> None:
    commands = follow(page, empty_folder)
    verbs = {shlex.split(command)[1] for command in commands if command.startswith("seqlab")}
    assert {"check", "train", "predict", "report"} <= verbs
    for run_folder in sorted((empty_folder / "runs").iterdir()):
        assert (run_folder / "results.json").is_file()
        assert (run_folder / "report.html").is_file()


def test_a_run_of_somebody_elses_class_needs_trust(empty_folder: Path) -> None:
    for _, title, text in BLOCK.findall((DOCS / "add-a-model.md").read_text(encoding="utf-8")):
        if title:
            (empty_folder / title).write_text(text, encoding="utf-8")
    small = ["train.max_steps=2", "data.test_size=5", "data.validation_size=5", "train.trackers=[]"]
    assert run_here("train", "gru.toml", *small, "--out", "runs/gru").code == 0
    question = "What is the tens digit of 3917?"

    def predicted(*options: str) -> tuple[int, str]:
        sys.modules.pop("gru", None)
        outcome = run_here("predict", "runs/gru", *options, question)
        return outcome.code, outcome.err

    code, captured = predicted()
    assert code == 2
    assert 'model.kind="gru:GRU" runs the code of the module gru: add --trust-code' in captured
    assert predicted("--trust-code")[0] == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQLAB_TRUSTED_MODULES", "other,gru")
        assert predicted()[0] == 0
    sys.modules.pop("gru", None)
    resumed = run_here("train", "--resume", "runs/gru")
    assert resumed.code == 2
    assert "--trust-code" in resumed.err
