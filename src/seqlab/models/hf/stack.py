"""The stack of layers in a network of `transformers`: which they are, how deep a parameter lies, where it can be cut.

Shapes: `B` rows, `S` tokens of a row, `D` width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.errors import UserError


def layers_of(network: Any) -> nn.ModuleList:
    """The stack of layers; UserError where the network has none that is known."""
    number = getattr(network.config, "num_hidden_layers", None)
    for module in network.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise UserError(f"model.checkpoint: a network of type {network.config.model_type} has no stack of {number} layers")


def depth_of(name: str, network: Any) -> int:
    """0 for a parameter of the embeddings, k for one of layer k (from 1), and one more than the last for the head."""
    layers = layers_of(network)
    stack = next(place for place, module in network.named_modules() if module is layers)
    if name.startswith(f"{stack}."):
        return int(name.removeprefix(f"{stack}.").partition(".")[0]) + 1
    return 0 if "embed" in name else len(layers) + 1


def forward_flops(network: Any, lengths: Tensor, below: int = 0) -> float:
    """2 a multiply-add: each token meets every matrix once, and attention has two products over all pairs of tokens.

    The lowest `below` layers are left out.
    """
    layers = layers_of(network)[below:]
    tokens = torch.as_tensor(lengths).double()
    matrices = sum(m.weight.numel() for m in layers.modules() if isinstance(m, nn.Linear))
    pairs = 2 * network.config.hidden_size * len(layers)
    return 2.0 * float((tokens * matrices + tokens**2 * pairs).sum())


def states_below(network: Any, number: int, **inputs: Any) -> Tensor:
    """What the lowest `number` layers make of a batch, (B, S, D); nothing above them is computed."""

    def stop(states: Tensor) -> Tensor:
        raise _ReachedError(states)

    with _changed(layers_of(network)[number], stop):
        try:
            network(**inputs)
        except _ReachedError as reached:
            return reached.states
    raise AssertionError("every layer is gone through")


def above_states(network: Any, number: int, states: Tensor, **inputs: Any) -> Any:
    """What the network gives for a batch of which the lowest `number` layers have made `states` (B, S, D) already."""
    layers = layers_of(network)
    owner, name = next(
        (module, name) for module in network.modules() for name, child in module.named_children() if child is layers
    )
    setattr(owner, name, layers[number:])
    try:
        with _changed(layers[number], lambda embedded: states.to(embedded.dtype)):
            return network(**inputs)
    finally:
        setattr(owner, name, layers)


class _ReachedError(Exception):
    """The way out of a network in the middle of it."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


@contextmanager
def _changed(layer: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside, the layer gets other states than it is handed."""

    def hook(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (change(args[0]), *args[1:]), named
        return args, {**named, "hidden_states": change(named["hidden_states"])}

    handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
