"""What the system tests share: the command line, a small setting, and one run that is trained in it."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import command_line
import pytest
from command_line import Command, Start, Trained

SMALL = (
    "data.epoch_size=200",
    "data.validation_size=10",
    "data.test_size=20",
    "model.width=16",
    "model.feedforward=32",
    "model.num_heads=2",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "batch.max_tokens=256",
    "batch.shuffle_pool=100",
    "optimizer.lr=2e-3",
    "train.max_steps=20",
    "train.precision=fp32",
    "train.log_every=3",
    "train.evaluate_every=8",
    "train.evaluate_examples=5",
    "train.trackers=[]",
)
"""Settings that train math-place-value in a moment."""


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Recipe and settings of a training that takes a moment."""
    return ("math-place-value", *SMALL)


@pytest.fixture
def start() -> Iterator[Start]:
    """The command line as a process of its own; what still runs after the test is ended."""
    started: list[subprocess.Popen[str]] = []

    def start_and_remember(
        *arguments: str | Path, processes: int = 1, script: Path | None = None
    ) -> subprocess.Popen[str]:
        started.append(command_line.start(*arguments, processes=processes, script=script))
        return started[-1]

    yield start_and_remember
    for process in started:
        with process:
            process.kill()


@pytest.fixture(scope="session")
def trained(command: Command, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One small run for all tests that only look at it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return Trained(folder, command("train", *small, "--out", folder))


@pytest.fixture(scope="session")
def copier(command: Command, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt to copy short strings from files in the layout of the published release."""
    folder = tmp_path_factory.mktemp("copier")
    for split, number in (("train-easy", 3000), ("interpolate", 60)):
        drawn = random.Random(split)
        words = ("".join(drawn.choices("abcdef", k=drawn.randint(2, 4))) for _ in range(number))
        (folder / split).mkdir()
        (folder / split / "numbers__place_value.txt").write_text("".join(f"{word}\n{word}\n" for word in words))
    settings = (
        f"data.folder={folder}",
        'data.train=["train-easy"]',
        "data.validation_size=20",
        "data.test_size=40",
        "model.width=32",
        "optimizer.lr=5e-3",
        "train.max_steps=400",
        "train.evaluate_every=400",
    )
    assert command("train", *small, *settings, "--out", folder / "run").code == 0
    return folder / "run"
