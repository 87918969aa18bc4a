"""The learning-rate range test: what it suggests on curves whose steepest place is known, and on a real model."""

import math
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from seqlab.errors import UserError
from seqlab.tools.lr_range import DIVERGED, _points, range_test, suggest

SMOOTHING = 0.9
RATES = [10 ** (-6 + 6 * index / 99) for index in range(100)]
Curve = Callable[[float], float]


def points_of(curve: Curve) -> list[tuple[float, float, float]]:
    return [(rate, curve(math.log10(rate)), curve(math.log10(rate))) for rate in RATES]


def falls_then_explodes(steepest: float, lowest: float) -> Curve:
    """A loss that falls like a step around 10^steepest and rises from 10^lowest on."""
    return lambda decade: 2.0 - 1.5 / (1 + math.exp(-4 * (decade - steepest))) + math.exp(5 * (decade - lowest) - 3)


class TestSuggestion:
    @pytest.mark.parametrize("steepest", [-4.0, -3.0, -2.0])
    def test_is_where_four_fifths_of_the_fall_are_done(self, steepest: float) -> None:
        """Of a logistic fall of slope 4 a decade, that is log(4) / 4 decades behind its middle."""
        found = suggest(points_of(falls_then_explodes(steepest, lowest=steepest + 3)))
        assert math.log10(found) == pytest.approx(steepest + math.log(4) / 4, abs=0.1)

    def test_a_steep_beginning_does_not_draw_it_to_small_rates(self) -> None:
        """Most of the fall is early and steep, as when a model learns how often each token occurs; the rest is slow."""

        def curve(decade: float) -> float:
            return 3.0 - 1.5 / (1 + math.exp(-9 * (decade + 5))) - 0.4 * min(max(decade + 5, 0.0), 2.0)

        assert math.log10(suggest(points_of(curve))) == pytest.approx(-5 + (0.8 * 2.3 - 1.5) / 0.4, abs=0.1)

    def test_takes_no_notice_of_what_comes_after_the_minimum(self) -> None:
        found = [suggest(points_of(falls_then_explodes(-4.0, lowest))) for lowest in (-1.5, -1.0)]
        assert found[0] == pytest.approx(found[1], rel=0.2)

    @pytest.mark.parametrize("curve", [lambda decade: 2.0, lambda decade: 10.0 + decade], ids=["flat", "rising"])
    def test_there_is_none_without_a_fall(self, curve: Curve) -> None:
        with pytest.raises(UserError, match="the loss fell at no learning rate: widen --lowest and --highest"):
            suggest(points_of(curve))


class TestPoints:
    @staticmethod
    def done(losses: list[float]) -> list:
        return [SimpleNamespace(loss=torch.tensor(loss), learning_rate=rate) for loss, rate in zip(losses, RATES)]  # noqa: B905

    def test_are_smoothed_without_a_bias_at_the_start(self) -> None:
        found = _points(self.done([3.0] * 5), SMOOTHING)
        assert [point[2] for point in found] == pytest.approx([3.0] * 5)
        found = _points(self.done([4.0, 2.0]), SMOOTHING)
        assert found[1][2] == pytest.approx((SMOOTHING * 4.0 + 2.0) / (SMOOTHING + 1))

    def test_end_when_the_loss_explodes(self) -> None:
        found = _points(self.done([1.0] * 20 + [200.0] * 20), SMOOTHING)
        assert len(found) == 21
        assert found[-1][2] > DIVERGED

    def test_end_before_a_loss_that_is_no_number(self) -> None:
        assert len(_points(self.done([1.0, 0.9, float("nan"), 0.8]), SMOOTHING)) == 2


class TestRun:
    def test_grows_from_the_lowest_to_the_highest(self, tiny) -> None:
        found = range_test(tiny(), 40, 1e-4, 1.0, "cpu")
        rates = [point[0] for point in found.points]
        assert rates[0] == pytest.approx(1e-4)
        factors = [later / earlier for earlier, later in pairwise(rates)]
        assert factors == pytest.approx([(1.0 / 1e-4) ** (1 / 39)] * len(factors))
        assert 1e-4 < found.suggestion < 1.0

    @pytest.mark.parametrize(
        ("steps", "lowest", "highest", "message"),
        [
            (100, 1e-2, 1e-3, "--lowest 0.01 must be below --highest 0.001"),
            (100, 0.0, 1.0, "--lowest 0.0 must be below"),
            (3, 1e-5, 1.0, "--steps 3 is too few"),
        ],
    )
    def test_bounds_that_make_no_sense_are_refused(
        self, tiny, steps: int, lowest: float, highest: float, message: str
    ) -> None:
        with pytest.raises(UserError, match=message):
            range_test(tiny(), steps, lowest, highest, "cpu")
