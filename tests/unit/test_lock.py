"""One writer at a time: the second is told who the first is, and a dead one holds nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seqlab.errors import UserError
from seqlab.runs.lock import cache_folder, locked

HOLD = """
import sys, time
from pathlib import Path
from seqlab.runs.lock import locked
with locked(Path(sys.argv[1]), ""):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_second_writer_reads_who_the_first_is_until_it_dies(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError) as error, locked(run, "choose another --out"):
            pass
        assert str(error.value) == (
            f"{run}: process {holder.pid} is writing it: wait until that has ended, or choose another --out"
        )
        with locked(tmp_path / "other", ""):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(run, ""):
        owners = [path.read_text() for path in (cache_folder() / "locks").glob("*.owner")]
        assert str(os.getpid()) in owners
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"]


def test_links_and_relative_paths_are_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    with locked(Path("run"), ""):
        for other in (tmp_path / "run", Path("link")):
            with pytest.raises(UserError), locked(other, ""):
                pass
