"""Texts, names of columns, classes and files that would command a terminal: they are shown, and command nothing."""

import re
import sys
from pathlib import Path

import pytest
from command_line import Command

ATTACKS = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;https://example.org\x1b\\here\x1b]8;;\x1b\\",
    "one byte CSI": "\x9b2J\x9d0;x\x9c",
    "back": "good\b\b\b\bbad!",
    "direction": "\u202egnp.exe\u2066\u2069",
    "markup": "[bold]loud[/bold] [/nothing] [link=https://example.org]x[/link] :smile:",
}
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "pairs.tsv"
    attacks = list(ATTACKS.values())
    lines = [f"{attacks[n % len(attacks)]} {n}\t{attacks[n % len(attacks)]} drei {n}\n" for n in range(70)]
    path.write_text("en\x1b[2J\tde[/b]\n" + "".join(lines), encoding="utf-8", newline="")
    return path


@pytest.fixture(scope="module")
def settings(pairs: Path) -> list[str]:
    small = "data.cleaning.max_ratio=null text.unit=character auto_size=false model.width=16 model.feedforward=16"
    more = "model.num_heads=2 model.encoder_layers=1 model.decoder_layers=1 model.max_length=200 decode.max_length=20"
    train = "train.max_steps=4 train.max_minutes=null train.evaluate_every=2 train.trackers=[]"
    columns = 'data.source="en\\u001b[2J"', "data.target=de[/b]"
    return ["translate", f"data.train={pairs}", *columns, *small.split(), *more.split(), *train.split()]


def check(text: str) -> None:
    assert FORBIDDEN.findall(text) == []


def test_no_verb_passes_them_on(command: Command, settings: list[str], tmp_path: Path) -> None:
    looked = command("data", *settings)
    assert looked.code == 0, looked.err
    trained = command("train", *settings, "--out", tmp_path / "run")
    assert trained.code == 0, trained.err
    assert "[31mred" in trained.err
    scored = command("evaluate", tmp_path / "run")
    shown = command("show", *settings)
    compared = command("compare", tmp_path / "run", tmp_path / "run", "--out", tmp_path / "page.html")
    for outcome in (looked, trained, scored, shown, compared):
        assert outcome.code == 0, outcome.err
        check(outcome.out)
        check(outcome.err)


def test_messages_name_files_in_one_printable_line(command: Command, tmp_path: Path) -> None:
    outcome = command("train", "translate", f"data.train={tmp_path}/a\x1b[2J\nb\u202e.tsv", "data.source=a")
    assert outcome.code == 2
    assert ".tsv: no such file" in outcome.complaint
    check(outcome.err)
    check(command("show", "\x1b]0;x\x07").err)


def test_outputs_are_printable_at_a_terminal_and_exact_in_a_pipe(
    command: Command, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqlab.display import printable_streams

    class Stream:
        def __init__(self, terminal: bool) -> None:
            self.written, self.terminal = "", terminal

        def isatty(self) -> bool:
            return self.terminal

        def write(self, text: str) -> int:
            self.written += text
            return len(text)

    for terminal, wanted in ((True, "␛[31mred␛[0m\n\ta"), (False, "\x1b[31mred\x1b[0m\n\ta")):
        stream = Stream(terminal)
        monkeypatch.setattr(sys, "stdout", stream)
        with printable_streams():
            sys.stdout.write("\x1b[31mred\x1b[0m\n\ta")
        assert stream.written == wanted
        assert sys.stdout is stream
