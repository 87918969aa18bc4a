"""What happened during a run, as one JSON object a line: written by the training, read by the report.

Every event has a `kind` and a `step` (updates done). Kinds and their further fields:

    update       time_s loss tokens learning_rate grad_norm tokens_per_s padding_share memory_mb mfu
    evaluation   time_s split loss accuracy ...
    epoch        time_s epoch loss tokens updates train_s evaluation_s validation_loss validation_accuracy ...
    sample       source target predicted
    note         text
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from seqlab.errors import UserError
from seqlab.runs.folder import atomic_write
from seqlab.runs.schema import EVENTS, first_fault

Kind = Literal["update", "evaluation", "epoch", "sample", "note"]
Event = dict[str, Any]


class EventLog:
    """Appends events to a file; a line is in the file as soon as it is written.

    The file is opened for every line (10 microseconds): nothing is left open, and `rewind` may replace it at any time.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def write(self, kind: Kind, step: int, **values: object) -> None:
        """One event. NaN and infinities become null, as JSON has no word for them."""
        event = {"kind": kind, "step": step, **values}
        finite = {key: _finite(value) for key, value in event.items()}
        line = json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)


def read(path: Path) -> list[Event]:
    """All events in order; none if there is no file. A last line that a crash cut short is left out.

    Raises UserError with the line number when a line in the middle is damaged.
    """
    return [event for _, event in _events(path)] if path.exists() else []


def rewind(path: Path, step: int) -> None:
    """Drops every event after `step`, the part of an epoch that a training ended with, and a torn last line.

    A resumed run writes them anew. Whole or not at all.
    """
    if not path.exists():
        return
    kept = [line for line, event in _events(path) if event["step"] <= step and not event.get("partial")]
    atomic_write(path, "".join(f"{line}\n" for line in kept))


def gap(found: list[Event], step: int) -> str | None:
    """Which updates up to `step` are not among the events, in words; None when all are."""
    known = {event["step"] for event in found if event["kind"] == "update"}
    missing = [number for number in range(1, step + 1) if number not in known]
    if not missing:
        return None
    return f"{len(missing):,} of {step:,} updates are missing, from update {missing[0]:,} to {missing[-1]:,}"


def _events(path: Path) -> Iterator[tuple[str, Event]]:
    """Every whole line with the event that it is. Raises UserError for a line that is none."""
    # Cut at "\n" only: str.splitlines would also cut at characters that JSON allows inside strings.
    *lines, _torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8")
            event = json.loads(text)
            if not isinstance(event["kind"], str) or not isinstance(event["step"], int):
                raise TypeError
            if event["kind"] in EVENTS:
                EVENTS[event["kind"]].validate_python(event)
        except ValidationError as error:
            raise UserError(f"{path}, line {number}: damaged ({first_fault(error)}): delete this line") from None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}, line {number}: not an event of a run: delete this line") from None
        yield text, event


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
