"""How much of a training is done: by updates, by the clock, by whichever ends first."""

import pytest
import torch

from seqlab.engine.distributed import ALONE, World
from seqlab.engine.loop import NOMINAL_STEPS, Budget


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set."""
    now = [0.0]
    monkeypatch.setattr("seqlab.engine.loop.time.perf_counter", lambda: now[0])
    return now


def budget_of(max_steps: int | None, max_seconds: float | None, world: World = ALONE, spent_s: float = 0.0) -> Budget:
    return Budget(max_steps, max_seconds, world, spent_s=spent_s, _started=0.0)


class TestSteps:
    def test_count_to_the_end(self) -> None:
        budget = budget_of(4, None)
        assert [budget.progress(step) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]
        assert budget.total_steps == 4

    def test_take_no_notice_of_the_clock(self, clock: list[float]) -> None:
        budget = budget_of(4, None)
        clock[0] = 1e6
        assert budget.progress(1) == 0.25


class TestTime:
    def test_passes(self, clock: list[float]) -> None:
        budget = budget_of(None, 60)
        found = []
        for clock[0] in (15.0, 30.0, 60.0, 75.0):
            found.append(budget.progress(3))
        assert found == [0.25, 0.5, 1, 1.25]

    def test_goes_on_where_an_interrupted_run_left_it(self, clock: list[float]) -> None:
        budget = budget_of(None, 60, spent_s=45.0)
        clock[0] = 7.5
        assert budget.elapsed() == 52.5
        assert budget.progress(1) == 52.5 / 60

    def test_total_steps_follow_the_speed(self, clock: list[float]) -> None:
        budget = budget_of(None, 60)
        assert budget.progress(0) == 0
        assert budget.total_steps == NOMINAL_STEPS
        clock[0] = 6.0
        budget.progress(20)
        assert budget.total_steps == 200
        clock[0] = 30.0
        budget.progress(50)
        assert budget.total_steps == 100

    def test_is_that_of_the_first_process(self) -> None:
        class Follower(World):
            def broadcast_number(self, number: float) -> float:
                return 30.0

        assert budget_of(None, 60, Follower(1, 2, torch.device("cpu"))).progress(1) == 0.5


class TestBoth:
    def test_whichever_is_further(self, clock: list[float]) -> None:
        budget = budget_of(100, 60)
        clock[0] = 30.0
        assert budget.progress(10) == 0.5
        assert budget.progress(80) == 0.8
        clock[0] = 60.0
        assert budget.progress(81) == 1
        assert budget.total_steps == 100

    def test_steps_end_a_run_before_its_time(self, clock: list[float]) -> None:
        budget = budget_of(10, 60)
        clock[0] = 1.0
        assert budget.progress(10) == 1


@pytest.mark.parametrize(("max_steps", "max_seconds"), [(50, None), (None, 100.0), (50, 100.0)])
def test_progress_only_grows(clock: list[float], max_steps: int | None, max_seconds: float | None) -> None:
    """Whatever the speed: updates here take from a moment to several seconds."""
    budget = budget_of(max_steps, max_seconds)
    found = []
    for step in range(60):
        found.append(budget.progress(step))
        clock[0] += 0.1 + (step * 7) % 5
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] > 1
