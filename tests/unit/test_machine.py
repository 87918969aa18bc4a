"""Facts, threads and rates of the machine; and random states that continue where they stood."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqlab
from seqlab.engine import machine

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads_as_before() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


def test_the_facts_can_be_written_as_json() -> None:
    facts = machine.describe(CPU)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["seqlab"] == seqlab.__version__
    assert facts["torch"] == torch.__version__
    assert facts["device"] == "cpu"
    assert facts["gpu"] is None
    assert 1 <= facts["cores"] <= (os.cpu_count() or 1)


def test_the_commit_is_told_inside_a_checkout_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert machine.describe(CPU)["git_commit"] is None
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert machine.describe(CPU)["git_commit"] == head
    (tmp_path / "file").write_text("two")
    assert machine.describe(CPU)["git_commit"] == f"{head}-dirty"


def test_the_command_is_one_that_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/long/path/seqlab", "train", "math", "about.name=a b"])
    assert machine.describe(CPU)["command"] == "seqlab train math 'about.name=a b'"


def test_denormals_are_flushed() -> None:
    machine.prepare_cpu()
    assert torch.tensor([1e-42]).mul(1.0).item() == 0.0


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine, "usable_cores", lambda: 3)
    torch.set_num_threads(6)
    assert machine.prepare_cpu() == 3
    torch.set_num_threads(6)
    assert machine.prepare_cpu(local_size=2) == 1
    torch.set_num_threads(6)
    assert machine.prepare_cpu(local_size=8) == 1


def test_a_wish_of_the_user_for_threads_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    torch.set_num_threads(2)  # what torch does with that variable at its start
    assert machine.prepare_cpu(local_size=2) == 2


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("odd", 8)])
def test_a_quota_of_the_container_counts(quota: str, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda self: quota)
    assert machine.usable_cores() == cores


def test_the_matrix_rate_counts_two_operations_a_multiply_add(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def product_s(device: torch.device, dtype: torch.dtype, size: int) -> float:
        sizes.append(size)
        return 2 * size**3 / speed

    monkeypatch.setattr(machine, "_product_s", product_s)
    speed = 1e11
    assert machine.matrix_rate(CPU, torch.float32) == pytest.approx(1e11)
    assert sizes[-1] == 2048
    speed = 1e9  # a product of 2048 x 2048 would take 17 s
    assert machine.matrix_rate(CPU, torch.bfloat16) == pytest.approx(1e9)
    assert sizes[-1] == 512


@pytest.mark.parametrize("speed", [1e7, 1e8, 4e8, 1e9, 2e10, 1e11, 1e15])
def test_measuring_the_matrix_rate_takes_seconds_at_any_speed(speed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []

    def product_s(device: torch.device, dtype: torch.dtype, size: int) -> float:
        taken.append(2 * size**3 / speed)
        return taken[-1]

    monkeypatch.setattr(machine, "_product_s", product_s)
    assert machine.matrix_rate(CPU, torch.bfloat16) == pytest.approx(speed)
    assert sum(taken) < 3


def test_a_real_product_takes_time() -> None:
    torch.set_num_threads(1)
    assert 0 < machine._product_s(CPU, torch.float32, 64) < 5


def test_peak_memory_grows_with_what_is_held() -> None:
    before = machine.peak_memory_mb(CPU)
    assert before > 20
    program = (
        "import numpy, torch, seqlab.engine.machine as m; d = torch.device('cpu'); a = m.peak_memory_mb(d); "
        "held = numpy.ones(25 * 2**20); print(m.peak_memory_mb(d) - a)"
    )
    grown = float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert 150 < grown < 300


def draw() -> tuple[float, float, list[float]]:
    return random.random(), float(np.random.randn()), torch.rand(3).tolist()


def test_captured_random_states_draw_the_same_numbers_again() -> None:
    machine.seed_everything(7)
    np.random.randn()  # leaves half of a pair behind, which is part of the state
    state = machine.random_state()
    first = draw()
    assert draw() != first
    machine.restore_random_state(state)
    assert draw() == first


def test_seed_and_rank_decide_the_numbers() -> None:
    drawn = {}
    for key in [(0, 0), (0, 1), (1, 0), (0, 0)]:
        machine.seed_everything(*key)
        drawn.setdefault(key, []).append(draw())
    assert drawn[0, 0][0] == drawn[0, 0][1]
    assert len({repr(values[0]) for values in drawn.values()}) == 3


def test_few_compiled_products_are_kept_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, "7")
    machine.prepare_cpu()
    assert os.environ[name] == "7"
    monkeypatch.delenv(name)
    machine.prepare_cpu()
    assert os.environ[name] == str(machine.PRIMITIVES)
