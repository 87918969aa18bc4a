"""Commands that are killed at random moments end as if nothing had happened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).with_name("crash.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_five_crashes_leave_no_trace() -> None:
    done = subprocess.run(
        [sys.executable, str(HARNESS), "--times", "5", "--seed", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "train 2, predict 2, ablate 1 of 5 as undisturbed"
