"""Learning rate schedules: the share of the peak at a point of the training.

Every schedule is a pure function of (step, total): no state, so a resumed run continues on the same curve and a run
with a time budget hands in `progress * total` instead of a counted step, if the curve depends on the end at all. `step`
counts the updates already made: the first update asks for step 0, the last one for step `total - 1`. `optimizer.lr` is
the peak, factor 1.
"""

import math
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import Field, model_validator

from seqlab.config.settings import Config

Share = Annotated[float, Field(ge=0, lt=1)]
Warmup = Annotated[float, Field(ge=0)]
Factor = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Rates(NamedTuple):
    """What one update trains with."""

    factor: float
    """multiplies the peak learning rate"""
    momentum: float | None
    """momentum or first beta of this update; None leaves it alone"""


class Schedule(Protocol):
    """The settings of any schedule."""

    def rates(self, step: float, total: float) -> Rates:
        """The rates of the update that comes after `step` updates in a run of `total`.

        Both may be fractions. A step beyond the run keeps the last value of the curve.
        """
        ...


class OneCycle(Config):
    """Up to the peak and down to almost nothing (Smith and Topin 2018); point by point torch's `OneCycleLR`."""

    kind: Literal["one-cycle"] = "one-cycle"
    """which schedule this is"""
    warmup: Share = 0.3
    """share of the updates that warm up to the peak"""
    shape: Literal["cosine", "linear"] = "cosine"
    """annealing curve of both phases"""
    start_factor: float = Field(default=25.0, ge=1)
    """the first learning rate is the peak divided by this (torch: div_factor)"""
    final_factor: float = Field(default=1e4, ge=1)
    """the last learning rate is the first one divided by this (torch: final_div_factor)"""
    momentum: tuple[Momentum, Momentum] | None = None
    """momentum (Adam: first beta) at both ends and at the peak, for example [0.95, 0.85]; absent: constant"""

    def rates(self, step: float, total: float) -> Rates:
        """Two phases that meet at the peak; the very last update stands on the end of the second one."""
        peak = max(0.0, self.warmup * total - 1)
        first = 1 / self.start_factor
        last = first / self.final_factor
        if step < peak:
            start, end, progress = first, 1.0, step / peak
        else:
            start, end, progress = 1.0, last, _progress(step, peak, total - 1)
        share = progress if self.shape == "linear" else _half_cosine(progress)
        if self.momentum is None:
            return Rates(_between(start, end, share), None)
        at_ends, at_peak = self.momentum
        momentum = _between(at_ends, at_peak, share) if step < peak else _between(at_peak, at_ends, share)
        return Rates(_between(start, end, share), momentum)


class Linear(Config):
    """Warm-up, then straight down (the fine-tuning schedule of BERT)."""

    kind: Literal["linear"] = "linear"
    """which schedule this is"""
    warmup: Warmup = 0.1
    """warm-up to the peak: a share of the run when below 1, else a number of updates"""
    final_factor: Factor = 0.0
    """last learning rate, as a share of the peak"""

    def rates(self, step: float, total: float) -> Rates:
        """See `Schedule`."""
        warmup = _updates(self.warmup, total)
        fall = 1 - _progress(step, warmup, total)
        return Rates(_climb(step, warmup) * _between(self.final_factor, 1, fall), None)


class Cosine(Config):
    """Warm-up, then half a cosine down."""

    kind: Literal["cosine"] = "cosine"
    """which schedule this is"""
    warmup: Warmup = 0.1
    """warm-up to the peak: a share of the run when below 1, else a number of updates"""
    final_factor: Factor = 0.0
    """last learning rate, as a share of the peak"""

    def rates(self, step: float, total: float) -> Rates:
        """See `Schedule`."""
        warmup = _updates(self.warmup, total)
        fall = _half_cosine(1 - _progress(step, warmup, total))
        return Rates(_climb(step, warmup) * _between(self.final_factor, 1, fall), None)


class InverseSqrt(Config):
    """Warm-up, then down with 1 / sqrt(step) (Vaswani et al. 2017); does not need to know where the run ends."""

    kind: Literal["inverse-sqrt"] = "inverse-sqrt"
    """which schedule this is"""
    warmup: Warmup = Field(default=4000, gt=0)
    """warm-up to the peak: a share of the run when below 1, else a number of updates"""

    @property
    def depends_on_end(self) -> bool:
        """See the function `depends_on_end`."""
        return 0 < self.warmup < 1

    def rates(self, step: float, total: float) -> Rates:
        """See `Schedule`."""
        warmup = max(1.0, _updates(self.warmup, total))
        return Rates(_climb(step, warmup) * math.sqrt(warmup / max(step, warmup)), None)


class WarmupStableDecay(Config):
    """Warm-up, a plateau at the peak, then down with 1 - sqrt (Hägele et al. 2024)."""

    kind: Literal["wsd"] = "wsd"
    """which schedule this is"""
    warmup: Warmup = 0.05
    """warm-up to the peak: a share of the run when below 1, else a number of updates"""
    decay: Share = 0.2
    """share of the updates in which the rate decays, at the end"""
    final_factor: Factor = 0.0
    """last learning rate, as a share of the peak"""

    @model_validator(mode="after")
    def _phases_fit(self) -> "WarmupStableDecay":
        if self.warmup < 1 and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} together are more than the whole run")
        return self

    def rates(self, step: float, total: float) -> Rates:
        """See `Schedule`."""
        warmup = _updates(self.warmup, total)
        fall = 1 - math.sqrt(_progress(step, total * (1 - self.decay), total))
        return Rates(_climb(step, warmup) * _between(self.final_factor, 1, fall), None)


class Constant(Config):
    """One rate throughout, after a warm-up if one is asked for."""

    kind: Literal["constant"] = "constant"
    """which schedule this is"""
    warmup: Warmup = 0.0
    """warm-up to that rate: a share of the run when below 1, else a number of updates"""
    level: float = Field(default=1.0, gt=0, le=1)
    """learning rate, as a share of the peak"""

    @property
    def depends_on_end(self) -> bool:
        """See the function `depends_on_end`."""
        return 0 < self.warmup < 1

    def rates(self, step: float, total: float) -> Rates:
        """See `Schedule`."""
        return Rates(self.level * _climb(step, _updates(self.warmup, total)), None)


class Exponential(Config):
    """From a small share of the peak up to the peak by a constant factor an update: the learning-rate range test."""

    kind: Literal["exponential"] = "exponential"
    """which schedule this is"""
    start_factor: float = Field(default=1e-6, gt=0, lt=1)
    """first learning rate, as a share of the peak"""

    def rates(self, step: float, total: float) -> Rates:
        """See `Schedule`."""
        return Rates(self.start_factor ** (1 - _progress(step, 0, total - 1)), None)


def depends_on_end(schedule: Schedule) -> bool:
    """Whether the rates of an update change with the length of the run, or only with the updates made before it."""
    return getattr(schedule, "depends_on_end", True)


def _updates(warmup: float, total: float) -> float:
    return warmup * total if warmup < 1 else warmup


def _climb(step: float, warmup: float) -> float:
    """Straight to 1 at step `warmup`, from 1 / (warmup + 1): at 0 the first update would be wasted."""
    return min(1.0, (step + 1) / (warmup + 1))


def _progress(step: float, start: float, end: float) -> float:
    """Where `step` lies between `start` (0) and `end` (1)."""
    if end <= start:
        return float(step >= end)
    return min(1.0, max(0.0, (step - start) / (end - start)))


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _half_cosine(progress: float) -> float:
    """0 to 1 along half a cosine wave."""
    return (1 - math.cos(math.pi * progress)) / 2
