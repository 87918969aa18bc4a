"""Schedules against torch's own, against formulas written out here, and their shape for any settings."""

import math
from itertools import pairwise
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from seqlab.engine.schedules import (
    Constant,
    Cosine,
    InverseSqrt,
    Linear,
    OneCycle,
    Schedule,
    WarmupStableDecay,
    depends_on_end,
)
from seqlab.experiment.config import load


def curve(schedule: Schedule, total: int) -> list[float]:
    return [schedule.rates(step, total).factor for step in range(total)]


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize(("total", "warmup"), [(100, 0.3), (37, 0.25), (1000, 0.05), (10, 0.9)])
@pytest.mark.parametrize("cycled", ["momentum", "betas"])
def test_one_cycle_is_torchs_point_by_point(
    shape: Literal["cosine", "linear"], total: int, warmup: float, cycled: str
) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([weight], lr=1.0, momentum=0.9) if cycled == "momentum" else torch.optim.Adam([weight])
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        reference,
        max_lr=0.7,
        total_steps=total,
        pct_start=warmup,
        anneal_strategy="cos" if shape == "cosine" else "linear",
        base_momentum=0.85,
        max_momentum=0.95,
    )
    ours = OneCycle(warmup=warmup, shape=shape, momentum=(0.95, 0.85))
    for step in range(total):
        now = ours.rates(step, total)
        group = reference.param_groups[0]
        assert 0.7 * now.factor == pytest.approx(group["lr"], rel=1e-12, abs=1e-15)
        assert now.momentum == pytest.approx(group["momentum"] if cycled == "momentum" else group["betas"][0])
        reference.step()
        if step < total - 1:
            theirs.step()


def test_one_cycle_takes_its_factors_and_leaves_momentum_alone_unless_asked() -> None:
    cycle = OneCycle(start_factor=10, final_factor=100)
    values = curve(cycle, 101)
    assert values[0] == pytest.approx(0.1)
    assert values[-1] == pytest.approx(0.001)
    assert max(values) == pytest.approx(1.0, abs=1e-3)
    assert cycle.rates(50, 101).momentum is None


def test_decay_of_linear_and_cosine_is_that_of_transformers() -> None:
    # get_linear_schedule_with_warmup and get_cosine_schedule_with_warmup, for steps after the warm-up
    total, warmup = 60, 12
    for step in range(warmup, total):
        progress = (step - warmup) / (total - warmup)
        assert Linear(warmup=warmup).rates(step, total).factor == pytest.approx(1 - progress)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        assert Cosine(warmup=warmup).rates(step, total).factor == pytest.approx(cosine)
        assert Cosine(warmup=warmup, final_factor=0.1).rates(step, total).factor == pytest.approx(0.1 + 0.9 * cosine)


def test_cosine_without_warmup_is_torchs_cosine_annealing() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.05)
    for step in range(40):
        ours = Cosine(warmup=0, final_factor=0.05).rates(step, 40).factor
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_warmup_climbs_in_equal_steps_and_wastes_no_update() -> None:
    assert curve(Constant(warmup=4), 8) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])
    assert curve(Constant(), 3) == [1, 1, 1]
    assert curve(Constant(warmup=1, level=0.5), 3) == [0.25, 0.5, 0.5]


def test_warmup_is_a_share_below_one_and_a_number_of_updates_above() -> None:
    assert curve(Linear(warmup=0.25), 80) == curve(Linear(warmup=20), 80)


def test_inverse_sqrt_is_the_formula_of_the_paper_after_its_warmup() -> None:
    # Vaswani et al.: width**-0.5 * min(step**-0.5, step * warmup**-1.5); at its peak width**-0.5 * warmup**-0.5
    for step in (100, 101, 400, 12345):
        assert InverseSqrt(warmup=100).rates(step, 50).factor == pytest.approx(step**-0.5 / 100**-0.5)


@pytest.mark.parametrize(
    ("schedule", "depends"),
    [
        (InverseSqrt(warmup=100), False),
        (InverseSqrt(warmup=0.1), True),
        (Constant(), False),
        (Constant(warmup=0.1), True),
        (OneCycle(), True),
        (Linear(warmup=20), True),
    ],
)
def test_who_must_know_where_the_run_ends(schedule: Schedule, depends: bool) -> None:
    assert depends_on_end(schedule) == depends
    assert (schedule.rates(40, 50) != schedule.rates(40, 500)) == depends


def test_wsd_has_a_plateau_and_a_square_root_decay() -> None:
    schedule = WarmupStableDecay(warmup=0.1, decay=0.2, final_factor=0.5)
    values = curve(schedule, 100)
    assert values[10:81] == pytest.approx([1.0] * 71)
    for step in range(80, 100):
        assert values[step] == pytest.approx(1 - 0.5 * math.sqrt((step - 80) / 20))
    assert schedule.rates(100, 100).factor == pytest.approx(0.5)


def test_phases_longer_than_the_run_are_refused() -> None:
    with pytest.raises(ValidationError, match="more than the whole run"):
        WarmupStableDecay(warmup=0.6, decay=0.5)


def test_the_kind_picks_the_schedule() -> None:
    picked = load("math-sort", ["schedule.kind=wsd", "schedule.decay=0.1"]).schedule
    assert picked == WarmupStableDecay(decay=0.1)
    assert load("math-sort", ["schedule.kind=inverse-sqrt"]).schedule == InverseSqrt()


share = st.floats(0, 0.9)
any_schedule = st.one_of(
    st.builds(OneCycle, warmup=share, shape=st.sampled_from(["cosine", "linear"])),
    st.builds(Linear, warmup=share, final_factor=share),
    st.builds(Cosine, warmup=share, final_factor=share),
    st.builds(InverseSqrt, warmup=st.floats(0.01, 0.9)),
    st.builds(WarmupStableDecay, warmup=st.floats(0, 0.5), decay=st.floats(0, 0.5), final_factor=share),
    st.builds(Constant, warmup=share, level=st.floats(0.1, 1)),
)


def is_unimodal(values: list[float]) -> bool:
    peak = values.index(max(values))
    rising = all(a <= b + 1e-12 for a, b in pairwise(values[: peak + 1]))
    return rising and all(a >= b - 1e-12 for a, b in pairwise(values[peak:]))


@settings(max_examples=200, deadline=None)
@given(any_schedule, st.floats(1, 5000))
def test_every_curve_rises_once_then_falls_within_zero_and_the_peak(schedule: Schedule, total: float) -> None:
    values = [schedule.rates(total * part / 200, total).factor for part in range(201)]
    assert all(0 <= value <= 1 + 1e-12 for value in values)
    assert values[0] > 0
    assert is_unimodal(values)


@settings(max_examples=200, deadline=None)
@given(any_schedule, st.floats(0, 1), st.floats(200, 5000))
def test_every_curve_is_continuous(schedule: Schedule, progress: float, total: float) -> None:
    # The steepest places: a square root at its start, and a warm-up or decay of less than one update.
    here, next_to_it = (schedule.rates(progress * total + shift, total).factor for shift in (0, 1e-9))
    assert abs(here - next_to_it) < 1e-3 or min(_phase_lengths(schedule, total)) < 1


def _phase_lengths(schedule: Schedule, total: float) -> list[float]:
    lengths = [schedule.warmup * total, total * (1 - schedule.warmup)]
    return [*lengths, schedule.decay * total] if isinstance(schedule, WarmupStableDecay) else lengths


@given(any_schedule, st.floats(1, 100))
def test_a_step_beyond_the_run_is_as_good_as_its_end_or_lower(schedule: Schedule, total: float) -> None:
    assert 0 <= schedule.rates(total * 2, total).factor <= schedule.rates(total, total).factor + 1e-12 or (
        isinstance(schedule, Constant | InverseSqrt)
    )
