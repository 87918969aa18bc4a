"""What a person watches: plain lines, a bar, or nothing; standard output stays clean."""

import io
import sys

import pytest
from rich.table import Table

from seqlab import display
from seqlab.display import Bar, Console, LineCount, Lines, Silent, printable, printable_streams

VALUES = {"loss": 1.23456, "learning_rate": 0.001, "examples_per_s": 12345.6, "mfu": 0.5}


def play(shown: Silent | Lines | Bar) -> None:
    with shown:
        shown.update(10, 0.25, VALUES)
        shown.evaluation(10, "validation", {"loss": 0.5, "accuracy": 0.75})
        shown.note("precision fp32 [measured]")


def test_lines_say_all_of_it_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    play(Lines())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        " 25%  step 10  loss 1.2346  lr 1.00e-03  12,346 examples/s",
        "step 10  validation: loss 0.5000  accuracy 0.7500",
        "precision fp32 [measured]",
    ]


def test_lines_come_every_few_seconds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("seqlab.display.time.monotonic", lambda: now[0])
    lines = Lines(every_s=5.0)
    for step in range(12):
        lines.update(step, step / 12, VALUES)
        now[0] += 1.0
    printed = capsys.readouterr().err
    assert [line.split()[2] for line in printed.splitlines()] == ["0", "5", "10"]


def test_long_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    Lines().note("word " * 100)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bar_shows_scores_and_notes_above_it(capsys: pytest.CaptureFixture[str]) -> None:
    play(Bar())
    out, err = capsys.readouterr()
    assert out == ""
    assert "step 10  validation: loss 0.5000  accuracy 0.7500" in err
    assert "precision fp32 [measured]" in err
    assert "25%" in err


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    play(Silent())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("terminal", "kind"), [(True, Bar), (False, Lines)])
def test_the_terminal_decides(terminal: bool, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert type(display.for_this_terminal()) is kind


def count_to_nine(total: int | None, hidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line every two seconds, from the third on; a note at the end."""
    now = [1000.0]
    monkeypatch.setattr("seqlab.display.time.monotonic", lambda: now[0])
    with LineCount(total, hidden) as shown:
        shown.start(2)
        for done in range(3, 10):
            now[0] += 2.0
            shown.update(done)
        shown.note("line 7: [strange]")


@pytest.mark.parametrize(
    ("total", "hidden", "captured"),
    [
        (10, False, ["5 of 10 lines  0.5 lines/s", "8 of 10 lines  0.5 lines/s"]),
        (None, False, ["5 lines  0.5 lines/s", "8 lines  0.5 lines/s"]),
        (10, True, []),
    ],
)
def test_lines_are_counted_every_few_seconds(
    total: int | None,
    hidden: bool,
    captured: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count_to_nine(total, hidden, monkeypatch)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [*captured, "line 7: [strange]"]


@pytest.mark.parametrize("total", [10, None])
def test_lines_are_counted_by_a_bar_on_a_terminal(
    total: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with LineCount(total) as shown:
        shown.start(0)
        shown.update(9)
        shown.note("line 7: [strange]")
        print("an answer")
    out, err = capsys.readouterr()
    assert out == "an answer\n"
    assert "line 7: [strange]" in err
    assert ("9 of 10 lines" if total else "9 lines") in err


def test_control_characters_become_pictures() -> None:
    assert printable("a\tb\n\x1b[1m\x07\r\x7f\x9b\u202e é 八 👩‍👧 \u200f") == "a\tb\n␛[1m␇␍␡�� é 八 👩‍👧 \u200f"


def test_a_bar_keeps_the_colours_of_rich_and_nothing_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with printable_streams():
        console = Console(stderr=True, force_terminal=True)
        table = Table("[red]\x1b[2Jname")
        table.add_row("[/red]\x1b]0;x\x07", style="green")
        console.print(table)
        bar = Bar()
        with bar:
            bar.note("\x1b[2J [/b]")
            bar.sample(1, "\x1b[2J", "\x9b", "\u202e")
    written = stream.getvalue()
    assert "\x1b[32m" in written  # green, by rich
    assert not any(attack in written for attack in ("\x1b[2J", "\x1b]0", "\x9b", "\u202e"))
    assert "␛[2Jname" in written
