"""The command line answers at once."""

import resource
import subprocess
import sys

import pytest

HELP = [sys.executable, "-m", "seqlab", "--help"]
LIMIT_S = 0.3


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a command: what else the machine does hardly matters."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_instant() -> None:
    assert any(cpu_seconds(HELP) < LIMIT_S for _ in range(5))  # the first start writes bytecode


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["recipes"]])
def test_help_and_lists_do_without_torch(arguments: list[str]) -> None:
    script = f"""
import sys
from seqlab import cli
try:
    cli.app({arguments}, prog_name="seqlab")
finally:
    sys.exit("torch" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout
