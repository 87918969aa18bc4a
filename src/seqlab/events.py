"""What happened during a run, as one JSON object a line: written by the training, read by the report.

Every event has a `kind` and a `step` (updates done). Kinds and their further fields:

    update       time_s loss learning_rate grad_norm tokens_per_s padding_share memory_mb mfu
    evaluation   time_s split loss accuracy ...
    sample       source target predicted
    note         text
"""

import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

Kind = Literal["update", "evaluation", "sample", "note"]
Event = dict[str, Any]


class EventLog:
    """Appends events to a file; a line is in the file as soon as it is written."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", buffering=1)  # 1: flush at every end of line

    def write(self, kind: Kind, step: int, **values: object) -> None:
        """One event. NaN and infinities become null, as JSON has no word for them."""
        event = {"kind": kind, "step": step, **values}
        finite = {key: _finite(value) for key, value in event.items()}
        self._file.write(json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(path: Path) -> list[Event]:
    """All events in order; none if there is no file. A last line that a crash cut short is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in _whole_lines(path)]


def rewind(path: Path, step: int) -> None:
    """Drops every event after `step` and a torn last line: the run resumes from there and writes them anew."""
    if not path.exists():
        return
    kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in kept)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _whole_lines(path: Path) -> list[str]:
    # Cut at "\n" only: str.splitlines would also cut at characters that JSON allows inside strings.
    *lines, _torn = path.read_bytes().split(b"\n")
    return [line.decode("utf-8") for line in lines]


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
