"""Gradients that are right in every format, and a choice of format that follows the measured times."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rounding import additions, assert_close
from torch import Tensor, nn

from seqlab.engine import precision as module
from seqlab.engine.optimizers import SGD, Adafactor, Adam, AdamW, Muon, Optimizer, OptimizerConfig, build_optimizer
from seqlab.engine.precision import Clip, Mode, Precision, choose_precision
from seqlab.errors import UserError

torch.set_num_threads(1)
CPU = torch.device("cpu")
ADAMW = AdamW()


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def loss_of(model: nn.Module) -> Tensor:
    torch.manual_seed(1)
    return 10 * model(torch.randn(5, 6)).square().sum()


def clipped_gradients(mode: Mode, clip: Clip, optimizer: OptimizerConfig = ADAMW) -> tuple[list[Tensor], Tensor]:
    """Gradients after `unscale_and_clip`, computed in fp32 whatever the mode, and the norm that it returns."""
    model = make_model()
    precision = Precision(mode, CPU, initial_scale=2.0**20)
    precision.backward(loss_of(model))
    norm = precision.unscale_and_clip(model.parameters(), build_optimizer(model, optimizer), clip)
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None], norm


@pytest.mark.parametrize("clip", [Clip(limit=0.3), Clip(by="value", limit=0.01), Clip(by="nothing")])
@pytest.mark.parametrize("optimizer", [AdamW(), Muon()], ids=["adamw", "muon"])
def test_clipping_meets_unscaled_gradients(clip: Clip, optimizer: OptimizerConfig) -> None:
    # The trap: a threshold that meets gradients 2**20 times too large shrinks them to nothing.
    scaled, scaled_norm = clipped_gradients("fp16", clip, optimizer)
    plain, plain_norm = clipped_gradients("fp32", clip, optimizer)
    torch.testing.assert_close(scaled, plain)
    torch.testing.assert_close(scaled_norm, plain_norm)


def test_the_norm_is_that_of_all_gradients_before_clipping() -> None:
    model = make_model()
    loss_of(model).backward()
    whole = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).double().norm()
    assert whole > 10
    for clip in (Clip(limit=0.3), Clip(by="value", limit=0.01), Clip(by="nothing")):
        _, norm = clipped_gradients("fp32", clip)
        assert_close(norm, whole, terms=additions(model))


def test_clipping_by_norm_shrinks_to_the_limit_and_never_stretches() -> None:
    gradients, norm = clipped_gradients("fp32", Clip(limit=0.3))
    numbers = torch.cat([gradient.flatten() for gradient in gradients])
    assert_close(numbers.norm(), torch.tensor(0.3), terms=numbers.numel())
    loose, _ = clipped_gradients("fp32", Clip(limit=2 * norm.item()))
    untouched, _ = clipped_gradients("fp32", Clip(by="nothing"))
    assert all(torch.equal(a, b) for a, b in zip(loose, untouched, strict=True))


def test_clipping_by_value_cuts_each_number() -> None:
    gradients, _ = clipped_gradients("fp32", Clip(by="value", limit=0.01))
    untouched, _ = clipped_gradients("fp32", Clip(by="nothing"))
    for cut, whole in zip(gradients, untouched, strict=True):
        torch.testing.assert_close(cut, whole.clamp(-0.01, 0.01))


@pytest.mark.parametrize(
    ("mode", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_products_run_in_the_format_and_weights_stay_fp32(mode: Mode, dtype: torch.dtype) -> None:
    model, precision = make_model(), Precision(mode, CPU)
    with precision.autocast():
        assert model(torch.randn(2, 6)).dtype == dtype
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("mode", ["fp32", "bf16", "fp16"])
def test_training_goes_down_in_every_format(mode: Mode) -> None:
    model, precision = make_model(), Precision(mode, CPU, initial_scale=16.0)
    optimizer = build_optimizer(model, AdamW(lr=1e-2))
    losses = []
    for _ in range(20):
        with precision.autocast():
            loss = loss_of(model)
        precision.backward(loss)
        norm = precision.unscale_and_clip(model.parameters(), optimizer, Clip())
        precision.step(optimizer, norm)
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_an_overflow_skips_the_update_and_halves_the_scale() -> None:
    model, precision = make_model(), Precision("fp16", CPU, initial_scale=2.0**8)
    optimizer = build_optimizer(model, AdamW())
    before = [parameter.detach().clone() for parameter in model.parameters()]
    precision.backward(loss_of(model) * math.inf)
    norm = precision.unscale_and_clip(model.parameters(), optimizer, Clip())
    precision.step(optimizer, norm)
    assert not norm.isfinite()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert precision.state_dict()["scale"] == 2.0**7


def bad_loss(model: nn.Module) -> Tensor:
    """Infinite, though its derivative is an ordinary number."""
    return loss_of(model) + math.inf


def bad_gradient(model: nn.Module) -> Tensor:
    """Finite, with a derivative that is not: that of a root at zero."""
    return loss_of(model) + (0 * next(model.parameters()).sum()).sqrt()


BAD = [bad_loss, bad_gradient]
OPTIMIZERS = [AdamW(), AdamW(fused=False), Adam(), SGD(), Adafactor(), Muon()]


def update(model: nn.Module, loss: Tensor, precision: Precision, optimizer: Optimizer, clip: Clip) -> bool:
    precision.backward(loss)
    norm = precision.unscale_and_clip(model.parameters(), optimizer, clip)
    applied = precision.step(optimizer, norm)
    optimizer.zero_grad()
    return applied


def everything(model: nn.Module, optimizer: Optimizer) -> list[Tensor]:
    """All weights, and all that the optimizer remembers."""
    states = optimizer.state_dict()
    parts = states.get("parts", [states])
    remembered = [value for part in parts for state in part["state"].values() for value in state.values()]
    return [value.detach().clone() for value in (*model.parameters(), *remembered) if isinstance(value, Tensor)]


def test_the_gradient_is_that_of_torch_bit_for_bit() -> None:
    model, reference = make_model(), make_model()
    loss_of(reference).backward()
    Precision("fp32", CPU).backward(loss_of(model))
    pairs = zip(model.parameters(), reference.parameters(), strict=True)
    assert all(ours.grad is not None and torch.equal(ours.grad, theirs.grad) for ours, theirs in pairs)


@pytest.mark.parametrize("mode", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("clip", [Clip(), Clip(by="value"), Clip(by="nothing")], ids=lambda clip: clip.by)
@pytest.mark.parametrize("bad", BAD)
def test_the_norm_tells_of_a_bad_loss_and_of_a_bad_gradient(mode: Mode, clip: Clip, bad: Any) -> None:
    model, precision = make_model(), Precision(mode, CPU)
    precision.backward(bad(model))
    norm = precision.unscale_and_clip(model.parameters(), build_optimizer(model, ADAMW), clip)
    assert not norm.isfinite()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda config: f"{config.kind} {getattr(config, 'fused', '')}")
@pytest.mark.parametrize("clip", [Clip(), Clip(by="nothing")], ids=lambda clip: clip.by)
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_update_is_not_made(optimizer: OptimizerConfig, clip: Clip, bad: Any) -> None:
    model, precision = make_model(), Precision("fp32", CPU)
    built = build_optimizer(model, optimizer)
    assert update(model, loss_of(model), precision, built, clip)
    before = everything(model, built)
    assert not update(model, bad(model), precision, built, clip)
    assert all(torch.equal(a, b) for a, b in zip(everything(model, built), before, strict=True))


class TestOnAGpu:
    """The way of a GPU, whose fused kernels decide; those of a CPU obey the same flag."""

    @pytest.mark.parametrize("optimizer", [AdamW(), Adam(), SGD()], ids=lambda config: config.kind)
    @pytest.mark.parametrize("bad", BAD)
    def test_the_bad_update_and_all_after_it_change_nothing(self, optimizer: OptimizerConfig, bad: Any) -> None:
        model, precision = make_model(), Precision("fp32", torch.device("cuda"))
        built = build_optimizer(model, optimizer)
        assert update(model, loss_of(model), precision, built, Clip())
        before = everything(model, built)
        for loss in (bad, loss_of, loss_of):
            assert update(model, loss(model), precision, built, Clip())  # nobody has looked yet
        assert all(torch.equal(a, b) for a, b in zip(everything(model, built), before, strict=True))

    def test_good_updates_are_those_of_a_cpu(self) -> None:
        made = []
        for device in ("cuda", "cpu"):
            model, precision = make_model(), Precision("fp32", torch.device(device))
            built = build_optimizer(model, ADAMW)
            assert all(update(model, loss_of(model), precision, built, Clip()) for _ in range(3))
            made.append(everything(model, built))
        assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))

    @pytest.mark.parametrize("optimizer", [AdamW(fused=False), Adafactor(), Muon()], ids=lambda config: config.kind)
    def test_optimizers_that_are_not_fused_are_asked_at_once(self, optimizer: OptimizerConfig) -> None:
        model, precision = make_model(), Precision("fp32", torch.device("cuda"))
        assert not update(model, bad_loss(model), precision, build_optimizer(model, optimizer), Clip())


def test_fp16_goes_on_after_an_update_that_it_skipped() -> None:
    model, precision = make_model(), Precision("fp16", CPU, initial_scale=2.0**8)
    optimizer = build_optimizer(model, ADAMW)
    before = everything(model, optimizer)
    assert update(model, loss_of(model) * math.inf, precision, optimizer, Clip())
    assert all(torch.equal(a, b) for a, b in zip(everything(model, optimizer)[: len(before)], before, strict=True))
    assert update(model, loss_of(model), precision, optimizer, Clip())
    assert not torch.equal(next(model.parameters()), before[0])
    assert precision.state_dict()["scale"] == 2.0**7


def test_the_scale_is_saved_and_a_run_in_another_format_has_none() -> None:
    precision = Precision("fp16", CPU, initial_scale=2.0**8)
    precision.backward(loss_of(make_model()))
    other = Precision("fp16", CPU)
    other.load_state_dict(precision.state_dict())
    assert other.state_dict()["scale"] == 2.0**8
    assert Precision("bf16", CPU).state_dict() == {}
    other.load_state_dict({})
    assert other.state_dict()["scale"] == 2.0**8


def takes(fp32_s: float, bf16_s: float) -> Callable[[Mode], float]:
    return lambda mode: {"fp32": fp32_s, "bf16": bf16_s}[mode]


@pytest.fixture
def even_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_product_s", lambda dtype: 1.0)


@pytest.mark.usefixtures("even_products")
@pytest.mark.parametrize(("bf16_s", "mode"), [(0.05, "bf16"), (0.086, "bf16"), (0.089, "fp32"), (0.4, "fp32")])
def test_auto_on_a_cpu_takes_bf16_only_where_it_pays(bf16_s: float, mode: Mode) -> None:
    choice = choose_precision("auto", CPU, takes(0.1, bf16_s))
    assert choice.mode == mode
    assert (choice.fp32_s, choice.bf16_s) == (0.1, bf16_s)
    assert "100 ms in fp32" in choice.reason
    assert f"{1000 * bf16_s:.0f} ms of processor time in bf16" in choice.reason


@pytest.mark.usefixtures("even_products")
def test_auto_is_not_fooled_by_one_slow_step_and_interleaves() -> None:
    order: list[Mode] = []

    def step(mode: Mode) -> float:
        order.append(mode)
        return 9.0 if len(order) in (1, 4) else {"fp32": 0.2, "bf16": 0.1}[mode]

    assert choose_precision("auto", CPU, step).mode == "bf16"
    assert order == ["fp32", "bf16"] * (len(order) // 2)


def test_auto_tries_no_step_where_bare_products_crawl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_product_s", lambda dtype: 44.0 if dtype == torch.bfloat16 else 1.0)
    choice = choose_precision("auto", CPU, never)
    assert (choice.mode, choice.fp32_s) == ("fp32", None)
    assert "44 times" in choice.reason


def test_a_bare_product_that_crawls_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    products = []

    def crawl(left: Tensor, right: Tensor) -> None:
        products.append(left.shape)
        clock[0] += 2.0

    monkeypatch.setattr(torch, "mm", crawl)
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    assert module._product_s(torch.bfloat16) == 2.0
    assert len(products) == 2  # the first one prepares the kernel


def never(mode: Mode) -> float:
    raise AssertionError("no step was needed")


def test_a_request_is_followed_without_measuring() -> None:
    assert choose_precision("bf16", CPU, never).mode == "bf16"
    assert choose_precision("fp32", CPU, never).mode == "fp32"


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(UserError, match="only pays on a GPU"):
        choose_precision("fp16", CPU, never)


def test_other_devices_stay_in_fp32_by_themselves() -> None:
    assert choose_precision("auto", torch.device("mps"), never).mode == "fp32"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("mode", ["bf16", "fp16"])
def test_a_gpu_step_is_close_to_fp32(mode: Mode) -> None:
    device = torch.device("cuda")
    steps: dict[str, list[Tensor]] = {}
    for each in ("fp32", mode):
        model, precision = make_model().to(device), Precision(each, device)
        optimizer = build_optimizer(model, AdamW())
        with precision.autocast():
            loss = model(torch.ones(5, 6, device=device)).square().sum()
        precision.backward(loss)
        norm = precision.unscale_and_clip(model.parameters(), optimizer, Clip(limit=0.1))
        steps[each] = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        precision.step(optimizer, norm)
    torch.testing.assert_close(steps[mode], steps["fp32"], rtol=0.05, atol=2e-3)
