"""LoRA: low-rank adapters of a pretrained network, and merging them into its matrices.

Source: Hu et al. (2022), "LoRA: low-rank adaptation of large language models". The layers are those of the library
`peft`, which is imported when it is needed.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from seqlab.errors import UserError


def add_adapters(network: nn.Module, names: Sequence[str], rank: int) -> None:
    """Gives each of the named matrices W a change 2 B A with two factors of this rank; B starts as 0.

    What had a gradient before has one afterwards; W has none.
    """
    try:
        import peft
    except ModuleNotFoundError:
        raise UserError(f"model.lora_rank={rank} needs the library peft: pip install peft") from None
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(names))
    peft.inject_adapter_in_model(config, network)
    del network.peft_config  # or transformers would save adapters instead of a network
    for parameter in trained:
        parameter.requires_grad_(True)
    for layer in _adapted(network).values():
        layer.base_layer.requires_grad_(False)
        layer.cast_input_dtype_enabled = False  # autocast does that


def merge_adapters(model: nn.Module) -> None:
    """Makes plain matrices W + 2 B A of all that have a change; a model without any stays as it is."""
    for name, layer in _adapted(model).items():
        layer.merge()
        layer.base_layer.requires_grad_(True)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.base_layer)


def _adapted(model: nn.Module) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
