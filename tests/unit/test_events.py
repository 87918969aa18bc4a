"""The event log survives crashes, resumes and numbers that JSON cannot say."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqlab.errors import UserError
from seqlab.runs.events import Event, EventLog, gap, read, rewind


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "events.jsonl"


def test_events_come_back_in_order(path: Path) -> None:
    log = EventLog(path)
    log.write("update", 1, loss=2.5, learning_rate=1e-3)
    log.write("sample", 1, source="größer\u2028?", target="1", predicted="2")
    log.write("note", 1, text="line\nbreak")
    assert read(path) == [
        {"kind": "update", "step": 1, "loss": 2.5, "learning_rate": 1e-3},
        {"kind": "sample", "step": 1, "source": "größer\u2028?", "target": "1", "predicted": "2"},
        {"kind": "note", "step": 1, "text": "line\nbreak"},
    ]


def test_a_new_log_goes_on_in_the_same_file(path: Path) -> None:
    for step in (1, 2):
        EventLog(path).write("note", step, text="x")
    assert [event["step"] for event in read(path)] == [1, 2]


def test_numbers_that_json_cannot_say_become_null(path: Path) -> None:
    EventLog(path).write("update", 1, loss=math.nan, grad_norm=math.inf, mfu=-math.inf, tokens_per_s=1.0)
    line = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert line == {"kind": "update", "step": 1, "loss": None, "grad_norm": None, "mfu": None, "tokens_per_s": 1.0}


@pytest.mark.parametrize("torn", [b'{"kind": "up', b'{"kind": "note", "step": 2, "text": "gr\xc3'])
def test_a_torn_last_line_is_left_out_and_repaired(path: Path, torn: bytes) -> None:
    log = EventLog(path)
    log.write("note", 1, text="whole")
    with path.open("ab") as file:
        file.write(torn)
    assert [event["step"] for event in read(path)] == [1]
    rewind(path, 1)
    log.write("note", 2, text="after")
    assert [event["text"] for event in read(path)] == ["whole", "after"]


def test_rewinding_drops_later_events_only_and_the_log_goes_on(path: Path) -> None:
    log = EventLog(path)
    for step in (1, 2, 3, 4):
        log.write("update", step, loss=1.0)
    log.write("evaluation", 2, split="validation")  # events need not be in order of steps
    rewind(path, 2)
    log.write("update", 3, loss=0.5)
    assert [(event["kind"], event["step"]) for event in read(path)] == [
        ("update", 1),
        ("update", 2),
        ("evaluation", 2),
        ("update", 3),
    ]
    assert [entry.name for entry in path.parent.iterdir()] == ["events.jsonl"]


def test_a_crash_while_rewinding_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EventLog(path).write("note", 5, text="x")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        rewind(path, 0)
    assert [event["step"] for event in read(path)] == [5]


def test_no_file_has_no_events_and_nothing_to_rewind(path: Path) -> None:
    assert read(path) == []
    rewind(path, 3)
    assert not path.exists()


@pytest.mark.parametrize("damaged", ["not json", "[]", '{"kind": "note"}', '{"kind": "note", "step": "1"}'])
def test_a_damaged_line_in_the_middle_is_told_with_its_number(path: Path, damaged: str) -> None:
    EventLog(path).write("note", 1, text="x")
    with path.open("a") as file:
        file.write(f"{damaged}\n")
    with pytest.raises(UserError, match=r"events\.jsonl, line 2: not an event"):
        read(path)


def test_reading_needs_no_torch() -> None:
    program = "import sys, seqlab.runs.events; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_missing_updates_are_counted() -> None:
    found: list[Event] = [{"kind": "update", "step": step} for step in (1, 2, 5)] + [{"kind": "note", "step": 3}]
    assert gap(found, 2) is None
    assert gap(found, 5) == "2 of 5 updates are missing, from update 3 to 4"
    assert gap([], 1000) == "1,000 of 1,000 updates are missing, from update 1 to 1,000"
