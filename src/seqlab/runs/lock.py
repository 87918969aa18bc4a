"""One writer at a time for a run folder or a file of outputs, on one machine.

The lock is the system's: it is gone when its process is, however that ended. Lock files lie in the cache folder of the
user, so that nothing is left beside the runs.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqlab.errors import UserError
from seqlab.runs.folder import unwritable


def cache_folder() -> Path:
    """Where what can be made again is kept, unless a setting says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqlab"


@contextmanager
def locked(path: Path, advice: str) -> Iterator[None]:
    """Holds the lock of `path` inside. Raises UserError, with the process that holds it, when another one does.

    Args:
        path: what is written.
        advice: what else the user can do: "choose another --out".
    """
    from filelock import FileLock, Timeout

    folder = cache_folder() / "locks"
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    owner, lock = folder / f"{name}.owner", FileLock(folder / f"{name}.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        owner.write_text(str(os.getpid()))
    except Timeout:
        process = owner.read_text() if owner.is_file() else "unknown"
        raise UserError(f"{path}: process {process} is writing it: wait until that has ended, or {advice}") from None
    except OSError as error:
        lock.release()
        raise unwritable(error, folder, f"{path} needs a lock there; XDG_CACHE_HOME names another folder") from None
    try:
        yield
    finally:
        lock.release()
