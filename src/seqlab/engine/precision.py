"""Mixed precision: autocast, loss scaling, and the choice of a format for the machine.

The weights and the optimizer are always fp32; autocast runs products in bf16 or fp16. fp16 has 5 bits of exponent:
small gradients vanish unless the loss is scaled up, and then they must be scaled down before anything looks at them.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.engine.optimizers import Optimizer
from seqlab.errors import UserError

Mode = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Mode, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

WORTHWHILE = 1.15
"""bf16 must be this many times faster than fp32 on a CPU, because it costs accuracy."""
ROUNDS = 3
"""Timed steps of each format, interleaved: load on the machine then hits both alike."""
TOO_SLOW = 4
"""Without AVX512_BF16 or AMX a step in bf16 was seen 44-499 times slower: not even one is tried where a bare product
takes more than this many times as long as in fp32."""


class Clip(Config):
    """How gradients are kept from exploding, after unscaling."""

    by: Literal["norm", "value", "nothing"] = "norm"
    """norm: scale all gradients by their global norm; value: clamp each element; nothing: no clipping"""
    limit: float = Field(default=1.0, gt=0)
    """largest global norm, or largest magnitude of an element"""


class Precision:
    """Autocast, loss scaling, clipping and the optimizer's step, in the one order that is right."""

    def __init__(self, mode: Mode, device: torch.device, initial_scale: float = 2.0**16):
        self.mode: Mode = mode
        self.device = device
        # Switched off, the scaler passes losses, gradients and steps through untouched.
        self.scaler = torch.amp.GradScaler(device.type, init_scale=initial_scale, enabled=mode == "fp16")
        self._failed: Tensor | None = None
        """on a GPU: 1 from the first update on that it left out, so that it leaves out all later ones too; else 0"""

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass and the loss; backward runs outside of it."""
        return torch.autocast(self.device.type, dtype=DTYPES[self.mode], enabled=self.mode != "fp32")

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of `loss`, scaled up if the format needs it, to the parameters' gradients.

        The gradient of a loss that is not finite is NaN, even where calculus has a number for it: the norm of the
        gradients then tells of a bad loss too, and to every process, because gradients are exchanged anyway.
        """
        scaled = self.scaler.scale(loss)
        scaled.backward(1 + 0 * scaled.detach())  # 1, what torch begins with, or NaN

    def unscale_and_clip(self, parameters: Iterable[nn.Parameter], optimizer: Optimizer, clip: Clip) -> Tensor:
        """Brings the gradients back to scale, then clips them.

        Returns the norm of all gradients together before clipping, as a tensor on their device: no sync. It is inf or
        NaN when the loss or a gradient is; `step` then makes no update.
        """
        self.scaler.unscale_(cast(torch.optim.Optimizer, optimizer))
        with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(parameter.grad for parameter in with_gradient if parameter.grad is not None)
        match clip.by:
            case "norm":
                nn.utils.clip_grads_with_norm_(with_gradient, clip.limit, norm)
            case "value":
                nn.utils.clip_grad_value_(with_gradient, clip.limit)
            case "nothing":
                pass
        return norm

    def step(self, optimizer: Optimizer, norm: Tensor) -> bool:
        """One update, unless the `norm` from `unscale_and_clip` is not finite: weights and state then stay as they are.

        In fp16 that happens now and then; the update is skipped and the scale of the next loss adapted. Otherwise it
        is the end of a training: returns False. Where asking would make the host wait for the GPU, the answer is True
        whatever the norm is, and the GPU itself leaves out this update and all that follow.
        """
        if self.scaler.is_enabled():
            self.scaler.step(cast(torch.optim.Optimizer, optimizer))
            self.scaler.update()
        elif self.device.type == "cuda" and getattr(optimizer, "_step_supports_amp_scaling", False):
            self._step_unless_failed(optimizer, norm)
        elif norm.isfinite():  # on a GPU this waits: the optimizers that are not fused know no other way
            optimizer.step()
        else:
            return False
        return True

    def _step_unless_failed(self, optimizer: Any, norm: Tensor) -> None:
        """Hands the decision to the fused kernels, in the way that torch's loss scaler does."""
        before = torch.zeros((), device=norm.device) if self._failed is None else self._failed
        self._failed = torch.where(norm.isfinite(), before, 1.0)
        optimizer.found_inf = self._failed
        try:
            optimizer.step()
        finally:
            del optimizer.found_inf

    def state_dict(self) -> dict[str, Any]:
        """The loss scale and its history; empty unless fp16."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave; a state from another format says nothing about the scale."""
        if state:
            self.scaler.load_state_dict(state)


@dataclass(frozen=True)
class PrecisionChoice:
    """The format of a run and why."""

    mode: Mode
    reason: str
    """one sentence for the user, with the numbers that were measured"""
    fp32_s: float | None = None
    """median seconds of processor time of a step in fp32, where it was measured"""
    bf16_s: float | None = None
    """median seconds of processor time of a step in bf16, where it was measured"""


def choose_precision(
    requested: Literal["auto"] | Mode, device: torch.device, timed_step: Callable[[Mode], float]
) -> PrecisionChoice:
    """The format asked for, or for "auto" the fastest safe one of `device`.

    `timed_step(mode)` makes one real training step and returns its seconds of processor time, which other programs on
    the machine disturb least; it must leave no trace in weights, optimizer or random numbers. It is called on a CPU
    only: GPUs are known to be fast in half precision.
    Raises UserError when the device cannot do what is asked.
    """
    if requested != "auto":
        _check_supported(requested, device)
        return PrecisionChoice(requested, f"{requested} was asked for.")
    match device.type:
        case "cuda" if torch.cuda.is_bf16_supported(including_emulation=False):
            return PrecisionChoice("bf16", "bf16: this GPU computes in it natively, and it needs no loss scaling.")
        case "cuda":
            return PrecisionChoice("fp16", "fp16 with loss scaling: this GPU has no bf16 units.")
        case "cpu":
            return _measured_choice(timed_step)
        case _:
            return PrecisionChoice("fp32", f"fp32: half precision is not chosen by itself on {device.type}.")


def _check_supported(mode: Mode, device: torch.device) -> None:
    # torch can autocast to fp16 on a CPU, but the products are emulated: slower and less exact than fp32.
    if mode == "fp16" and device.type == "cpu":
        raise UserError("precision is fp16, which only pays on a GPU: use bf16, fp32 or auto on a CPU")
    if mode == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError("precision is bf16, which this GPU does not support: use fp16, fp32 or auto")


def _measured_choice(timed_step: Callable[[Mode], float]) -> PrecisionChoice:
    if (slowdown := bf16_slowdown()) > TOO_SLOW:
        return PrecisionChoice(
            "fp32", f"fp32: on this CPU a matrix product takes {slowdown:.0f} times as long in bf16."
        )
    for mode in ("fp32", "bf16"):
        timed_step(mode)  # the first step also prepares kernels
    pairs = [(timed_step("fp32"), timed_step("bf16")) for _ in range(ROUNDS)]
    fp32_s, bf16_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    gain = fp32_s / bf16_s
    measured = f"a step takes {1000 * bf16_s:.0f} ms of processor time in bf16 and {1000 * fp32_s:.0f} ms in fp32"
    if gain >= WORTHWHILE:
        return PrecisionChoice("bf16", f"bf16: {measured}, {gain:.2f} times as fast.", fp32_s, bf16_s)
    return PrecisionChoice("fp32", f"fp32: {measured}; bf16 must be {WORTHWHILE} times as fast to pay.", fp32_s, bf16_s)


def bf16_slowdown() -> float:
    """How many times as long a small matrix product takes in bf16 as in fp32 on this CPU."""
    return _product_s(torch.bfloat16) / _product_s(torch.float32)


def _product_s(dtype: torch.dtype, size: int = 256) -> float:
    """Seconds of a square product, the shortest of a few after one that prepares the kernel."""
    matrix = torch.ones(size, size, dtype=dtype)
    torch.mm(matrix, matrix)
    times: list[float] = []
    while len(times) < ROUNDS and sum(times) < 0.1:
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        times.append(time.perf_counter() - start)
    return min(times)
