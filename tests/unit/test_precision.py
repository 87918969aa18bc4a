"""Gradients that are right in every format, and a choice of format that follows the measured times."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rounding import additions, assert_close
from seqlab.errors import UserError
from seqlab.train import precision as module
from seqlab.train.optimizers import AdamW, Muon, OptimizerConfig, build_optimizer
from seqlab.train.precision import Clip, Mode, Precision, choose_precision

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
        precision.unscale_and_clip(model.parameters(), optimizer, Clip())
        precision.step(optimizer)
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_an_overflow_skips_the_update_and_halves_the_scale() -> None:
    model, precision = make_model(), Precision("fp16", CPU, initial_scale=2.0**8)
    optimizer = build_optimizer(model, AdamW())
    before = [parameter.detach().clone() for parameter in model.parameters()]
    precision.backward(loss_of(model) * math.inf)
    norm = precision.unscale_and_clip(model.parameters(), optimizer, Clip())
    precision.step(optimizer)
    assert not norm.isfinite()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
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
        precision.unscale_and_clip(model.parameters(), optimizer, Clip(limit=0.1))
        steps[each] = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        precision.step(optimizer)
    torch.testing.assert_close(steps[mode], steps["fp32"], rtol=0.05, atol=2e-3)
