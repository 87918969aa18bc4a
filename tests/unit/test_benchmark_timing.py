"""What keeps the scripts in benchmarks/ from hanging on a slow machine."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from seqlab.engine import precision

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


timing, number_formats = load("timing"), load("number_formats")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed on both clocks; a test turns them on."""
    now = [100.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.time, "process_time", lambda: now[0])
    return now


@pytest.mark.parametrize(("step_s", "calls", "measured"), [(0.1, 12, 9), (3.0, 7, 4), (15.0, 2, 1), (900.0, 1, 1)])
def test_a_slow_step_is_repeated_less_often(
    step_s: float, calls: int, measured: int, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[float] = []

    def step() -> None:
        called.append(clock[0])
        clock[0] += step_s

    assert timing.milliseconds(step, 9) == pytest.approx([1000 * step_s] * measured)
    assert len(called) == calls
    assert (f"stopped after {calls} of 12 rounds" in capsys.readouterr().err) == (calls < 12)


@pytest.mark.parametrize(("slowdown", "modes"), [(0.5, ("fp32", "bf16")), (86.0, ("fp32",))])
def test_bf16_is_skipped_where_a_small_product_crawls(
    slowdown: float, modes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "_product_s", lambda dtype: slowdown if dtype == torch.bfloat16 else 1.0)
    assert number_formats.timed_modes() == modes
    assert ("too slow, skipped: a small product takes 86 times" in capsys.readouterr().err) == (len(modes) == 1)
