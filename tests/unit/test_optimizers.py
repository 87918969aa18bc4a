"""Which parameter lands where, and that two optimizers together behave as one."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from seqlab.engine.optimizers import (
    SGD,
    Adafactor,
    Adam,
    AdamW,
    CompositeOptimizer,
    Muon,
    OptimizerConfig,
    apply_rates,
    build_optimizer,
    roles,
)
from seqlab.engine.schedules import Rates
from seqlab.errors import UserError

torch.set_num_threads(1)
ALL: list[OptimizerConfig] = [AdamW(), Adam(), SGD(), Adafactor(), Muon()]
by_kind = pytest.mark.parametrize("config", ALL, ids=lambda config: config.kind)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.hidden = nn.Linear(8, 8)

    def forward(self, states: Tensor) -> Tensor:
        return states + self.hidden(self.norm(states))


class Toy(nn.Module):
    """One block at two depths, a head that may be tied to the embedding, learned positions."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.positions = nn.Module()
        self.positions.table = nn.Parameter(torch.randn(4, 8))
        self.block = Block()
        self.depths = nn.ModuleList([self.block, self.block])
        self.output = nn.Linear(8, 5, bias=False)
        if tied:
            self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.embedding(tokens) + cast(Tensor, self.positions.table)
        for block in self.depths:
            states = block(states)
        return self.output(states)


def make(tied: bool = False) -> Toy:
    torch.manual_seed(0)
    return Toy(tied)


def loss_of(model: nn.Module) -> Tensor:
    tokens = torch.tensor([[0, 1, 2, 3]])
    return nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten().roll(1))


def test_roles_of_an_untied_model() -> None:
    model = make()
    found = roles(model)
    assert [id(p) for p in found.matrices] == [id(model.block.hidden.weight)]
    assert [id(p) for p in found.head] == [id(model.output.weight)]
    assert {id(p) for p in found.embeddings} == {id(model.embedding.weight), id(model.positions.table)}
    assert len(found.vectors) == 3  # gain and bias of the norm, bias of the hidden layer


def test_a_tied_head_is_an_embedding_and_frozen_parameters_have_no_role() -> None:
    model = make(tied=True)
    model.block.norm.requires_grad_(False)
    found = roles(model)
    assert found.head == []
    assert len(found.embeddings) == 2
    assert len(found.vectors) == 1


def test_an_inner_layer_whose_path_mentions_output_is_hidden() -> None:
    bert = nn.ModuleDict({"attention": nn.ModuleDict({"output": nn.ModuleDict({"dense": nn.Linear(4, 4)})})})
    assert len(roles(bert).matrices) == 1


@by_kind
@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_is_in_exactly_one_group(config: OptimizerConfig, tied: bool) -> None:
    model = make(tied)
    grouped = [id(p) for group in build_optimizer(model, config).param_groups for p in group["params"]]
    assert sorted(grouped) == sorted({id(p) for p in model.parameters()})


@by_kind
def test_only_matrices_and_an_untied_head_decay(config: OptimizerConfig) -> None:
    model = make()
    config = config.model_copy(update={"weight_decay": 0.5})
    decayed = {
        id(p) for group in build_optimizer(model, config).param_groups if group["weight_decay"] for p in group["params"]
    }
    assert decayed == {id(model.block.hidden.weight), id(model.output.weight)}


@by_kind
def test_training_goes_down_and_continues_exactly_from_its_state(config: OptimizerConfig) -> None:
    def update(model: nn.Module, optimizer: Any) -> float:
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    whole, parted = make(), make()
    optimizer = build_optimizer(whole, config)
    losses = [update(whole, optimizer) for _ in range(12)]
    assert losses[-1] < losses[0]

    first = build_optimizer(parted, config)
    for _ in range(6):
        update(parted, first)
    second = build_optimizer(parted, config)
    second.load_state_dict(first.state_dict())
    for _ in range(6):
        update(parted, second)
    for one, other in zip(whole.parameters(), parted.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("config", [AdamW(), Adam(), SGD(), Muon()], ids=lambda config: config.kind)
def test_one_kernel_computes_what_torch_computes_tensor_by_tensor(config: OptimizerConfig) -> None:
    toys = []
    for fused in (True, False):
        toy = make()
        optimizer = build_optimizer(toy, config.model_copy(update={"fused": fused}))
        for turn in range(3):
            optimizer.zero_grad()
            toy(torch.tensor([[turn, 1, 2, 3]])).square().sum().backward()
            optimizer.step()
        assert {bool(group["fused"]) for group in optimizer.param_groups if "fused" in group} == {fused}
        toys.append(toy)
    for left, right in zip(*(toy.parameters() for toy in toys), strict=True):
        torch.testing.assert_close(left, right)


@by_kind
def test_rates_scale_the_peak_and_not_the_last_rate(config: OptimizerConfig) -> None:
    optimizer = build_optimizer(make(), config)
    for factor in (0.5, 0.5, 0.1):
        apply_rates(optimizer, Rates(factor, None))
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [config.lr * factor] * len(optimizer.param_groups)
        )


def test_momentum_is_cycled_where_there_is_one() -> None:
    for config in (SGD(), Adam(), AdamW(), Muon()):
        optimizer = build_optimizer(make(), config)
        apply_rates(optimizer, Rates(1.0, 0.87))
        for group in optimizer.param_groups:
            assert (group["betas"][0] if "betas" in group else group["momentum"]) == 0.87
            assert "betas" not in group or group["betas"][1] == 0.98
    with pytest.raises(UserError, match=r"schedule\.momentum is set"):
        apply_rates(build_optimizer(make(), Adafactor()), Rates(1.0, 0.9))


def test_muon_takes_hidden_matrices_and_the_rest_may_have_its_own_rate() -> None:
    model = make()
    optimizer = build_optimizer(model, Muon(lr=0.02, rest_lr=0.003))
    assert isinstance(optimizer, CompositeOptimizer)
    muon, adamw = optimizer.parts
    assert [id(p) for group in muon.param_groups for p in group["params"]] == [id(model.block.hidden.weight)]
    assert {group["peak_lr"] for group in muon.param_groups} == {0.02}
    assert {group["peak_lr"] for group in adamw.param_groups} == {0.003}
    with pytest.raises(UserError, match="no hidden matrices"):
        build_optimizer(nn.Embedding(3, 2), Muon())


def test_muons_update_has_the_size_of_adamws() -> None:
    # Liu et al. 2025: root mean square 0.2 - 0.4 times the learning rate, whatever the gradient's size
    model = nn.Linear(16, 32, bias=False)
    before = model.weight.detach().clone()
    optimizer = build_optimizer(model, Muon(lr=0.01, weight_decay=0.0))
    torch.manual_seed(0)
    model.weight.grad = 1e3 * torch.randn(32, 16)
    optimizer.step()
    size = (model.weight.detach() - before).square().mean().sqrt().item()
    assert 0.1 * 0.01 < size < 0.5 * 0.01


@by_kind
def test_a_scaler_treats_every_optimizer_as_one(config: OptimizerConfig) -> None:
    plain, scaled = make(), make()
    one, other = build_optimizer(plain, config), build_optimizer(scaled, config)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for _ in range(3):
        loss_of(plain).backward()
        one.step()
        one.zero_grad()
        scaler.scale(loss_of(scaled)).backward()
        scaler.unscale_(cast(torch.optim.Optimizer, other))
        scaler.step(cast(torch.optim.Optimizer, other))
        scaler.update()
        other.zero_grad()
    for left, right in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@by_kind
def test_an_overflow_skips_the_step_of_every_part(config: OptimizerConfig) -> None:
    model = make()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = build_optimizer(model, config)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaler.scale(loss_of(model)).backward()
    model.embedding.weight.grad = torch.full((5, 8), torch.inf)
    scaler.step(cast(torch.optim.Optimizer, optimizer))
    scaler.update()
    assert scaler.get_scale() == 2.0**9
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
