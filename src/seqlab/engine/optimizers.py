"""Optimizers, their settings and their parameter groups.

Weight decay is for matrices: biases, gains of norms and embeddings are left alone. Shrinking a bias or gain does not
make a layer simpler, and an embedding row would shrink in every update in which its token is absent.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import torch
from pydantic import Field
from torch import nn

from seqlab.config.settings import Config
from seqlab.engine.schedules import Rates
from seqlab.errors import UserError

LearningRate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Protocol):
    """What the loop, clipping, the loss scaler and checkpoints need: one of torch's optimizers, or several together."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters with their settings; each has `lr` and `peak_lr`."""
        ...

    def step(self) -> Any:
        """One update from the gradients that the parameters hold."""
        ...

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        ...


class CompositeOptimizer:
    """Several optimizers, each with its own parameters, that step as one."""

    def __init__(self, parts: list[torch.optim.Optimizer]):
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts; changing a group changes the part that owns it."""
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        """One update of all parts."""
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parts."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


class Roles(NamedTuple):
    """The trainable parameters of a model by what they are; each parameter stands in one list, once."""

    matrices: list[nn.Parameter]
    """weights of hidden layers (two axes or more)"""
    head: list[nn.Parameter]
    """weights of the output layer, unless tied to an embedding"""
    embeddings: list[nn.Parameter]
    """tables of tokens and positions, tied heads among them"""
    vectors: list[nn.Parameter]
    """biases and gains of norms"""


class OptimizerConfig(Protocol):
    """The settings of any optimizer."""

    @property
    def lr(self) -> float:
        """Peak learning rate; the schedule scales it."""
        ...

    def build(self, roles: Roles) -> Optimizer:
        """The optimizer of these parameters, which are on their device already."""
        ...


class AdamW(Config):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    """which optimizer this is"""
    lr: LearningRate = 1e-3
    """peak learning rate; the schedule scales it"""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """decay rates beta1 and beta2 of the first and second moment of the gradient"""
    eps: float = Field(default=1e-8, gt=0)
    """added to the square root of the second moment"""
    weight_decay: Decay = 0.01
    """decoupled weight decay of every matrix"""
    fused: bool = True
    """one fused kernel for all weights; false: torch's default, which is one tensor at a time on a CPU"""

    def build(self, roles: Roles) -> Optimizer:
        """See `OptimizerConfig`."""
        groups = _all_groups(roles, self.weight_decay)
        # None leaves the choice to torch, where False would also forbid its grouped kernels on a GPU
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=self.fused or None)


class Adam(Config):
    """Adam (Kingma and Ba 2015); weight decay, if any, is part of the gradient."""

    kind: Literal["adam"] = "adam"
    """which optimizer this is"""
    lr: LearningRate = 1e-3
    """peak learning rate; the schedule scales it"""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """decay rates beta1 and beta2 of the first and second moment of the gradient"""
    eps: float = Field(default=1e-8, gt=0)
    """added to the square root of the second moment"""
    weight_decay: Decay = 0.0
    """L2 penalty on matrices"""
    fused: bool = True
    """one fused kernel for all weights; false: torch's default, which is one tensor at a time on a CPU"""

    def build(self, roles: Roles) -> Optimizer:
        """See `OptimizerConfig`."""
        groups = _all_groups(roles, self.weight_decay)
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=self.fused or None)


class SGD(Config):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    """which optimizer this is"""
    lr: LearningRate = 0.1
    """peak learning rate; the schedule scales it"""
    momentum: Beta = 0.9
    """momentum factor"""
    nesterov: bool = False
    """look ahead along the momentum before taking the gradient"""
    weight_decay: Decay = 0.0
    """L2 penalty on matrices"""
    fused: bool = True
    """one fused kernel for all weights; false: torch's default, which is one tensor at a time on a CPU"""

    def build(self, roles: Roles) -> Optimizer:
        """See `OptimizerConfig`."""
        groups = _all_groups(roles, self.weight_decay)
        return torch.optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=self.fused or None
        )


class Adafactor(Config):
    """Second moments kept as row and column sums (Shazeer and Stern 2018): memory of SGD, steps like Adam's.

    A step is relative to the size of the weights, and torch caps the learning rate at 1 / sqrt(step).
    """

    kind: Literal["adafactor"] = "adafactor"
    """which optimizer this is"""
    lr: LearningRate = 1e-2
    """peak learning rate, relative to the root mean square of each tensor; the schedule scales it"""
    beta2_decay: float = Field(default=-0.8, le=0)
    """the decay rate of the second moment after t updates is 1 - t ** beta2_decay"""
    clip_update: float = Field(default=1.0, ge=1)
    """largest root mean square of an update before it is scaled"""
    weight_decay: Decay = 0.0
    """decoupled weight decay of every matrix"""

    def build(self, roles: Roles) -> Optimizer:
        """See `OptimizerConfig`."""
        groups = _all_groups(roles, self.weight_decay)
        return torch.optim.Adafactor(groups, lr=self.lr, beta2_decay=self.beta2_decay, d=self.clip_update)


class Muon(Config):
    """Orthogonalised momentum for hidden matrices (Jordan 2024), AdamW for embeddings, head, norms and biases.

    Updates of matrices are scaled to the size of AdamW's (Liu et al. 2025): a learning rate tuned for AdamW fits. The
    iteration runs in bf16, so it is very slow on a CPU without bf16 instructions.
    """

    kind: Literal["muon"] = "muon"
    """which optimizer this is"""
    lr: LearningRate = 1e-3
    """peak learning rate of the hidden matrices; the schedule scales it"""
    rest_lr: LearningRate | None = None
    """peak learning rate of everything else; absent: the same"""
    momentum: Beta = 0.95
    """momentum factor of the hidden matrices"""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """decay rates beta1 and beta2 of AdamW, for everything else"""
    weight_decay: Decay = 0.01
    """decoupled weight decay of every matrix"""
    fused: bool = True
    """one fused kernel for the weights of AdamW; false: torch's default, which is one tensor at a time on a CPU"""

    def build(self, roles: Roles) -> Optimizer:
        """Muon takes tensors of exactly two axes; all others go to AdamW."""
        hidden = [parameter for parameter in roles.matrices if parameter.ndim == 2]
        if not hidden:
            raise UserError('optimizer.kind is "muon", but the model has no hidden matrices for it: use adamw')
        others = [parameter for parameter in roles.matrices if parameter.ndim != 2]
        muon = torch.optim.Muon(
            hidden,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        groups = _groups(others + roles.head, roles.embeddings + roles.vectors, self.weight_decay)
        if not groups:
            return CompositeOptimizer([muon])
        rest_lr = self.rest_lr or self.lr
        return CompositeOptimizer(
            [muon, torch.optim.AdamW(groups, lr=rest_lr, betas=self.betas, fused=self.fused or None)]
        )


HEADS = frozenset({"output", "head", "lm_head", "classifier", "qa_outputs"})
"""Names that output layers go by, here (`output`) and in transformers."""
TABLE = "table"
"""Name of a parameter that is looked up by row but is no `nn.Embedding`: learned positions."""


def roles(model: nn.Module) -> Roles:
    """Sorts the parameters of `model` that are trained. A shared one counts once, and as an embedding if it is one."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    found = Roles([], [], [], [])
    for name, parameter in model.named_parameters():  # yields a shared parameter once
        if not parameter.requires_grad:
            continue
        owner, _, own_name = name.rpartition(".")
        if id(parameter) in tables or own_name == TABLE:
            found.embeddings.append(parameter)
        elif parameter.ndim < 2:
            found.vectors.append(parameter)
        elif owner.rpartition(".")[2] in HEADS:
            found.head.append(parameter)
        else:
            found.matrices.append(parameter)
    return found


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """The optimizer of all trained parameters of `model`, which must be on its device already.

    Every group remembers its peak learning rate as `peak_lr`, which `apply_rates` scales. A model whose parameters are
    to learn at different rates has a method `rate_factors`: the share of the learning rate by the parameter's name.
    """
    optimizer = config.build(roles(model))
    if factors := getattr(model, "rate_factors", dict)():
        by_parameter = {id(parameter): factors[name] for name, parameter in model.named_parameters()}
        for part in optimizer.parts if isinstance(optimizer, CompositeOptimizer) else [optimizer]:
            part.param_groups[:] = _split_by_rate(part.param_groups, by_parameter)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def apply_rates(optimizer: Optimizer, rates: Rates) -> None:
    """Sets the learning rate of the next update, and its momentum or first beta if the schedule cycles it."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * rates.factor
        if rates.momentum is None:
            continue
        if "betas" in group:
            group["betas"] = (rates.momentum, group["betas"][1])
        elif "momentum" in group:
            group["momentum"] = rates.momentum
        else:
            raise UserError("schedule.momentum is set, but this optimizer has no momentum: remove it from the schedule")


def _split_by_rate(groups: Iterable[dict[str, Any]], factors: dict[int, float]) -> list[dict[str, Any]]:
    """The same groups, with one for each rate; the highest rates first, as logs show that of the first group."""
    found = []
    for group in groups:
        rates = sorted({factors[id(parameter)] for parameter in group["params"]}, reverse=True)
        for rate in rates:
            chosen = [parameter for parameter in group["params"] if factors[id(parameter)] == rate]
            found.append({**group, "params": chosen, "lr": group["lr"] * rate})
    return found


def _groups(decayed: list[nn.Parameter], rest: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    groups: Iterable[dict[str, Any]] = (
        {"params": decayed, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    )
    return [group for group in groups if group["params"]]


def _all_groups(found: Roles, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups, with and without weight decay."""
    return _groups(found.matrices + found.head, found.embeddings + found.vectors, weight_decay)
