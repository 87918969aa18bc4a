"""Encoder-decoders of the type of T5 and BART that come with weights of their own, behind our decoder contract.

The networks are those of `transformers`; here they are told apart, fitted into training, and driven one token at a
time. `transformers` is imported when it is needed.

Shapes: `B` rows, `S` source, `T` target, `P` marks before the target, `D` width, `H` heads, `V` vocabulary, `N` real
target tokens of a batch. Padding stands on the right; masks are True at real tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.decode.contract import RowSelection
from seqlab.errors import UserError
from seqlab.layers.attention import KeyValue, causal_mask, padding_mask
from seqlab.models.hf.encoder import (
    ATTENTION,
    build_network,
    compute_dtype,
    load_network,
    name_weights_as_in_files,
    random_network,
    set_attention,
    use_our_attention,
    use_our_dropout,
)
from seqlab.models.hf.warm_start import STARTS, encoder_decoder_config, start_from
from seqlab.runs.hf_folder import Checkpoint, check_fits, load_tokenizer, read_network_config

KNOWN = ("t5", "mt5", "bart", "pegasus")
"""Types of networks that are tested against `generate`."""

OF_THE_SOURCE = ("EncDecAttention.k", "EncDecAttention.v", "encoder_attn.k_proj", "encoder_attn.v_proj")
"""Matrices of a decoder that every source token meets, and no target token."""


class PretrainedEncoderDecoderConfig(Config):
    """An encoder-decoder with weights from elsewhere."""

    brings_vocabulary: ClassVar = True
    """its checkpoint has one of its own"""

    kind: Literal["pretrained-encoder-decoder"] = "pretrained-encoder-decoder"
    """an encoder-decoder such as T5 or BART that is fine-tuned, or made of an encoder such as BERT"""
    checkpoint: str
    """folder in the layout of transformers; minilm; or a name on the Hugging Face hub such as google-t5/t5-small"""
    pretrained: bool = True
    """false: the same network with random weights, to see what pretraining buys"""
    decoder_layers: int | None = Field(default=None, ge=1)
    """checkpoint of an encoder: layers of the decoder that is made from it; when absent, as many as the encoder has"""
    encoder_rate: float = Field(default=1.0, ge=0, le=1)
    """learning rate of the encoder and the token embeddings, as a share of optimizer.lr; 0: frozen"""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """dropout of embeddings and of what each sublayer adds; when absent, as the checkpoint says"""
    max_length: int | None = Field(default=None, ge=1)
    """longest source or target, in tokens; when absent, as long as the checkpoint has seen or can read"""

    def complaints(self, experiment: Any) -> Iterator[str]:
        """See `Config`."""
        if experiment.text.unit != "pretrained":
            yield 'the checkpoint brings its own vocabulary: set text.unit="pretrained"'


class PretrainedMemory(NamedTuple):
    """An encoded source: states (B, S, D) and the mask of real tokens (B, S)."""

    states: Tensor
    mask: Tensor


@dataclass(frozen=True)
class PretrainedState:
    """What the decoder remembers; the first axis of every tensor is rows, or the sources that they share.

    `own` has the keys and values of the tokens so far in each layer, `source` those of the source. Both are empty
    before the first token, when the layers have not yet made them from `states`.
    """

    own: tuple[KeyValue, ...]
    source: tuple[KeyValue, ...]
    states: Tensor
    bias: Tensor | None
    """what is added to the scores of source tokens: hides padding"""


class PretrainedEncoderDecoder(nn.Module):
    """A network of `transformers` that meets the decoder contract.

    A target starts with the begin token; where the decoder was trained to read marks even before that (BART reads
    `</s>`, then `<s>`), they are put before it here, and nothing else needs to know.
    """

    config_class = PretrainedEncoderDecoderConfig
    role = "encoder-decoder"

    HEAD = "AutoModelForSeq2SeqLM"
    """The class of `transformers` that picks the network."""

    decoder_prefix: Tensor

    def __init__(
        self, config: PretrainedEncoderDecoderConfig, network: Any, decoder_prefix: Sequence[int] = ()
    ) -> None:
        """`decoder_prefix` are the special tokens before the begin token."""
        super().__init__()
        check_known(network.config)
        self.config = config.model_copy(update={"max_length": longest(config, network.config, len(decoder_prefix))})
        self.network = network
        self.register_buffer("decoder_prefix", torch.tensor(decoder_prefix, dtype=torch.long), persistent=False)
        use_our_attention(network)
        use_our_dropout(network, config.dropout)
        name_weights_as_in_files(self)
        for name in self._of_the_encoder if config.encoder_rate == 0 else ():
            self.get_parameter(name).requires_grad_(False)

    def forward(self, source: Tensor, source_mask: Tensor, target: Tensor, target_index: Tensor) -> Tensor:
        """Logits (N, V) of the token after each real target token, row by row.

        source (B, S) and target (B, T) are ids, the target starting with the begin token. The mask is True at real
        source tokens; the index (N,) has the real target tokens among all B * T.
        """
        memory = self.encode(source, source_mask)
        states = self._decode(memory, target).last_hidden_state[:, len(self.decoder_prefix) :]
        return self.logits(states.flatten(0, 1).index_select(0, target_index))

    def encode(self, source: Tensor, source_mask: Tensor) -> PretrainedMemory:
        """Source ids (B, S) and the mask of real ones (B, S) -> memory."""
        self._check_length(source.shape[1])
        bias = _bias(source_mask)
        return PretrainedMemory(self._encoder(input_ids=source, attention_mask=bias).last_hidden_state, source_mask)

    def rate_factors(self) -> dict[str, float]:
        """The share of the learning rate that each parameter has, by name; empty where all have the same.

        Source: Liu and Lapata (2019), "Text summarization with pretrained encoders", section 4.3: an encoder that is
        pretrained has to learn more slowly than a decoder that is not, or it is spoilt before the decoder reads it.
        """
        if self.config.encoder_rate == 1:
            return {}
        slow = self._of_the_encoder
        return {name: self.config.encoder_rate if name in slow else 1.0 for name, _ in self.named_parameters()}

    def check_writes(self, tokens: int) -> None:
        """Raises UserError where an output of so many tokens, begun with its marks, would find no place."""
        assert self.config.max_length is not None
        if tokens + 1 > self.config.max_length:
            raise UserError(
                f"decode.max_length={tokens}: with its begin token an output has more than the "
                f"{self.config.max_length} tokens of model.max_length"
            )

    def check_reads(self, tokens: int) -> None:
        """Raises UserError where rows of so many tokens find no place."""
        assert self.config.max_length is not None
        if tokens > self.config.max_length:
            raise UserError(f"task.longest={tokens}: the network reads {self.config.max_length} tokens at most")

    def logits(self, states: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        if getattr(self.network.config, "scale_decoder_outputs", False):  # T5 with tied embeddings
            states = states * states.shape[-1] ** -0.5
        logits = self.network.get_output_embeddings()(states)
        bias = getattr(self.network, "final_logits_bias", None)
        return logits if bias is None else logits + bias

    def start(self, memory: PretrainedMemory) -> PretrainedState:
        """The state of B rows before their first token; the marks before it have been read."""
        state = PretrainedState((), (), memory.states, _bias(memory.mask))
        for mark in self.decoder_prefix:
            _, state = self._advance(mark.expand(len(memory.states)), state)
        return state

    def step(self, tokens: Tensor, state: PretrainedState) -> tuple[Tensor, PretrainedState]:
        """The last token of every row (B,) -> logits of the next one (B, V), and the state after it."""
        states, state = self._advance(tokens, state)
        return self.logits(states), state

    def select_rows(self, state: PretrainedState, selection: RowSelection) -> PretrainedState:
        """The state of the selected rows; those of one source share it."""
        rows, sources = selection
        return PretrainedState(
            own=tuple(heads.select(rows) for heads in state.own),
            source=tuple(heads.select(sources) for heads in state.source),
            states=state.states.index_select(0, sources),
            bias=None if state.bias is None else state.bias.index_select(0, sources),
        )

    def forward_flops(self, source_lengths: Tensor, target_lengths: Tensor) -> float:
        """Floating-point operations of one forward pass over rows of these lengths (B,): matrix products only.

        2 a multiply-add; attention has two products over all pairs of tokens.
        """
        source = torch.as_tensor(source_lengths).double()
        written = torch.as_tensor(target_lengths).double()
        target = written + len(self.decoder_prefix)
        memory = _weights(self._decoder, of_the_source=True)
        width = self.network.get_output_embeddings().in_features
        encoder = source * _weights(self._encoder) + 2 * source**2 * width * len(_layers(self._encoder))
        decoder = target * _weights(self._decoder, of_the_source=False) + source * memory
        pairs = 2 * target * (target + source) * width * self.attention_layers
        head = written * self.network.get_output_embeddings().weight.numel()
        return 2.0 * float((encoder + decoder + pairs + head).sum())

    @property
    def attention_layers(self) -> int:
        """At how many depths of the decoder the source is attended to."""
        return len(_layers(self._decoder))

    def attention_weights(
        self,
        source: Tensor,
        source_mask: Tensor,
        target: Tensor,
        target_mask: Tensor,
        kind: Literal["encoder", "decoder", "cross"],
        depth: int,
    ) -> Tensor:
        """What the layer at `depth` (0 is the first) attends to: (B, H, S, S), (B, H, T, T) or (B, H, T, S).

        Rows of padded queries are 0, and the marks before the target are left out.
        """
        with self._seen():
            if kind == "encoder":
                found = self._encoder(input_ids=source, attention_mask=_bias(source_mask), output_attentions=True)
                return found.attentions[depth] * source_mask[:, None, :, None]
            found = self._decode(self.encode(source, source_mask), target, output_attentions=True)
        marks = len(self.decoder_prefix)
        weights = found.cross_attentions[depth] if kind == "cross" else found.attentions[depth][..., marks:]
        return weights[:, :, marks:] * target_mask[:, None, :, None]

    @property
    def _of_the_encoder(self) -> set[str]:
        """Names of the parameters of the encoder, and of the table of tokens that the decoder shares."""
        own = {id(parameter) for parameter in (*self._encoder.parameters(), self.network.get_input_embeddings().weight)}
        return {name for name, parameter in self.named_parameters() if id(parameter) in own}

    @property
    def _encoder(self) -> Any:
        return self.network.get_encoder()

    @property
    def _decoder(self) -> Any:
        return self.network.get_decoder()

    def _decode(self, memory: PretrainedMemory, target: Tensor, **asked: bool) -> Any:
        """Teacher forcing: what the decoder makes of the marks and the target ids (B, T), at (B, P + T) places."""
        self._check_length(target.shape[1])
        read = torch.cat([self.decoder_prefix.expand(len(target), -1), target], dim=1)
        causal = causal_mask(read.shape[1], compute_dtype(read.device), read.device).bias
        return self._decoder(
            input_ids=read,
            attention_mask=causal[: read.shape[1], : read.shape[1]][None, None],
            encoder_hidden_states=memory.states,
            encoder_attention_mask=_bias(memory.mask),
            use_cache=False,
            **asked,
        )

    def _advance(self, tokens: Tensor, state: PretrainedState) -> tuple[Tensor, PretrainedState]:
        """One more token a row (B,) -> the states above it (B, D), and the state after it."""
        cache = _cache(state)
        found = self._decoder(
            input_ids=tokens[:, None],
            encoder_hidden_states=state.states,
            encoder_attention_mask=state.bias,
            past_key_values=cache,
            use_cache=True,
        )
        own, source = (
            tuple(KeyValue(layer.keys, layer.values) for layer in part.layers)
            for part in (cache.self_attention_cache, cache.cross_attention_cache)
        )
        # The layers have made of the source what they need of it: nothing of its states has to be kept.
        after = PretrainedState(own, source, state.states[:, :0], state.bias)
        return found.last_hidden_state[:, 0], after

    def _check_length(self, length: int) -> None:
        assert self.config.max_length is not None
        if length > self.config.max_length:
            raise UserError(
                f"a sequence of {length} tokens is longer than model.max_length = {self.config.max_length}: "
                "raise it where the checkpoint can read more, or drop or cut longer examples"
            )

    @contextmanager
    def _seen(self) -> Iterator[None]:
        """The attention of `transformers` inside, which tells its weights."""
        set_attention(self.network, "eager")
        try:
            yield
        finally:
            set_attention(self.network, ATTENTION)


def load_encoder_decoder(config: PretrainedEncoderDecoderConfig, checkpoint: Checkpoint) -> tuple[Any, Any]:
    """Tokenizer and network that a new run starts from; of an encoder an encoder-decoder is made.

    Raises UserError for a checkpoint that is damaged, of an unknown type, or does not suit the config.
    """
    found, head = read_network_config(checkpoint), PretrainedEncoderDecoder.HEAD
    is_encoder = found.model_type in STARTS
    if not is_encoder:
        check_known(found)
        if config.decoder_layers is not None:
            raise UserError(
                f"model.decoder_layers={config.decoder_layers} has no effect with a checkpoint of type "
                f"{found.model_type}, which has a decoder: leave it out"
            )
    tokenizer = load_tokenizer(checkpoint)
    check_fits(checkpoint, tokenizer, found, longest=1)
    if not is_encoder:
        return tokenizer, build_network(config, checkpoint, with_settings(config, found), head)
    settings = encoder_decoder_config(found, tokenizer, config.decoder_layers)
    network = random_network(with_settings(config, settings), head)
    if config.pretrained:
        start_from(network, load_network(checkpoint, found, "AutoModel"))
    return tokenizer, network


def check_known(network_config: Any) -> None:
    """Raises UserError for a network that is none of those that this adapter knows."""
    if network_config.model_type not in KNOWN:
        raise UserError(
            f"model.checkpoint: a network of type {network_config.model_type} is not supported; "
            f"supported encoder-decoders are {', '.join(KNOWN)}; one can also be made from an encoder of type "
            f"{' or '.join(STARTS)}"
        )


def with_settings(config: PretrainedEncoderDecoderConfig, network_config: Any) -> Any:
    """The config of a network with the settings of ours laid over it."""
    for name in ("dropout", "dropout_rate"):
        if config.dropout is not None and hasattr(network_config, name):
            setattr(network_config, name, config.dropout)
    return network_config


def longest(config: PretrainedEncoderDecoderConfig, network_config: Any, marks: int) -> int:
    """The longest sequence that is read; UserError where the network has no places for what is asked.

    BART has a table of places. T5 has none, and reads as much as it was trained with, or as much as is asked.
    """
    places = getattr(network_config, "max_position_embeddings", None)
    if places is None:
        return config.max_length or getattr(network_config, "n_positions", 512)
    if config.max_length is not None and config.max_length + marks > places:
        raise UserError(
            f"model.max_length={config.max_length}: the checkpoint has {places} positions, {marks} of them "
            "for special tokens"
        )
    return config.max_length or places - marks


def _bias(mask: Tensor) -> Tensor | None:
    """What hides padding (B, S) from scores, (B, 1, 1, S); None where there is nothing to hide."""
    hidden = padding_mask(mask, compute_dtype(mask.device))
    return None if hidden is None else hidden.bias[..., : mask.shape[1]]


def _cache(state: PretrainedState) -> Any:
    """A state in the form that `transformers` reads and extends; the tensors of the state stay as they are."""
    from transformers import DynamicCache, EncoderDecoderCache
    from transformers.cache_utils import DynamicLayer

    def part(layers: tuple[KeyValue, ...]) -> Any:
        cache = DynamicCache()
        for key, value in layers:
            layer = DynamicLayer()
            layer.lazy_initialization(key, value)
            layer.keys, layer.values = key, value
            cache.layers.append(layer)
        return cache

    return EncoderDecoderCache(part(state.own), part(state.source))


def _layers(stack: nn.Module) -> nn.ModuleList:
    return next(module for module in stack.modules() if isinstance(module, nn.ModuleList))


def _weights(stack: nn.Module, of_the_source: bool | None = None) -> int:
    """Weights of the matrices of a stack; only those that source tokens meet, or only the others."""
    return sum(
        module.weight.numel()
        for name, module in _layers(stack).named_modules()
        if isinstance(module, nn.Linear) and of_the_source in (None, name.endswith(OF_THE_SOURCE))
    )
