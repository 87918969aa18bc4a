"""A limit that the system sets on the size of files, as a full disk or a quota would: one line, and nothing is lost."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Command, Start, Trained, differing, losses, outcome_of

LIMIT_AFTER_UPDATE_11 = """
import os, resource
from seqlab import cli
from seqlab.runs import events

write = events.EventLog.write

def write_and_limit(log, kind, step, **values):
    write(log, kind, step, **values)
    if (kind, step) == ("update", 11):
        size = os.path.getsize(log._path) + 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

events.EventLog.write = write_and_limit
cli.main()
"""

LIMIT_AFTER_TWO_CHUNKS = """
import resource
from seqlab import cli
from seqlab.inference import batch_file, run

run.CHUNK = batch_file.CHUNK = 2
report = batch_file.write_json
written = []

def write_and_limit(path, value):
    report(path, value)
    written.append(value)
    if len(written) == 3:  # before the first chunk, and after each
        resource.setrlimit(resource.RLIMIT_FSIZE, (value["size"] + 1, value["size"] + 1))

batch_file.write_json = write_and_limit
cli.main()
"""

FOUR_PLACES = "".join(f"What is the {place} digit of 3712?\n" for place in ("units", "tens", "hundreds", "thousands"))


def test_training_says_what_is_saved_and_continues(
    command: Command, start: Start, small: tuple[str, ...], trained: Trained, tmp_path: Path
) -> None:
    folder, script = tmp_path / "run", tmp_path / "limited.py"
    script.write_text(LIMIT_AFTER_UPDATE_11)
    outcome = outcome_of(start("train", *small, "--out", folder, script=script))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1] == (
        f"seqlab: {folder}: cannot be written (the disk is full, or a quota is): free some space; "
        f"update 8 is saved; resume with: seqlab train --resume {folder}"
    )
    assert command("train", "--resume", folder).code == 0
    assert differing(folder / "model.safetensors", trained.folder / "model.safetensors") == []
    assert losses(folder) == losses(trained.folder)


def test_prediction_says_how_many_lines_are_saved_and_continues(
    command: Command, start: Start, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, out, script = tmp_path / "in.txt", tmp_path / "out.txt", tmp_path / "limited.py"
    text.write_text(FOUR_PLACES + FOUR_PLACES)
    script.write_text(LIMIT_AFTER_TWO_CHUNKS)
    arguments = ("predict", trained.folder, "--file", text, "--out", out)
    outcome = outcome_of(start(*arguments, script=script))
    assert (outcome.code, outcome.out) == (2, "")
    assert re.search(
        r"out\.txt\.partial: cannot be written \(the disk is full, or a quota is\): free some space; "
        r"the outputs of 4 lines are saved; the same command resumes$",
        outcome.err.strip(),
    )
    for module in ("run", "batch_file"):
        monkeypatch.setattr(f"seqlab.inference.{module}.CHUNK", 2)
    assert command(*arguments).code == 0
    assert out.read_text() == command("predict", trained.folder, "--file", text).out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "limited.py", "out.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_standard_output_on_a_full_disk_is_one_line(trained: Trained) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        run = subprocess.run(
            [sys.executable, "-m", "seqlab", "predict", str(trained.folder), "What is the units digit of 37?"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert run.returncode == 2
    assert run.stderr == (
        "seqlab: standard output: cannot be written (the disk is full, or a quota is): free some space; "
        "give the command again\n"
    )
