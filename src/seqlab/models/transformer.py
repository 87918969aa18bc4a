"""The encoder-decoder Transformer (Vaswani et al. 2017), with its modern variants and all layer-sharing schemes.

Shapes: `B` rows, `S` source, `T` target, `D` width, `H` heads, `K` head width, `V` target vocabulary, `N` real target
tokens of a batch. Padding stands on the right of both sides; masks are True at real tokens.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.decode.contract import RowSelection
from seqlab.errors import UserError
from seqlab.layers.attention import (
    AttentionMask,
    KeyValue,
    PositionKind,
    PositionSignal,
    attention_weights,
    causal_mask,
    padding_mask,
)
from seqlab.layers.blocks import Activation, BlockShape, DecoderBlock, EncoderBlock, NormPlacement, Sharing, layer_order
from seqlab.layers.functional import NormKind, build_norm

Tying = Literal["none", "decoder", "all"]


class TransformerConfig(Config):
    """An encoder-decoder Transformer."""

    sized_by_data: ClassVar = True
    """`auto_size = true` chooses width, depth and dropout"""

    kind: Literal["transformer"] = "transformer"
    """which model this is"""
    width: int = Field(default=256, ge=2)
    """size of the vector of a token"""
    feedforward: int = Field(default=1024, ge=1)
    """hidden units of the feed-forward nets"""
    num_heads: int = Field(default=8, ge=1)
    """attention heads; must divide the width"""
    encoder_layers: int = Field(default=3, ge=1)
    """depth of the encoder"""
    decoder_layers: int = Field(default=3, ge=1)
    """depth of the decoder"""
    sharing: Sharing = "none"
    """which depths share one layer: none, albert, universal, sequence, cycle or cycle-rev"""
    distinct_layers: int | None = None
    """layers of each stack with their own weights (sharing sequence, cycle, cycle-rev); must divide both depths"""
    norm_placement: NormPlacement = "pre"
    """norm before each sublayer (pre, with one more at the end of a stack) or after each sum (post)"""
    norm: NormKind = "layer"
    """LayerNorm or RMSNorm"""
    positions: PositionKind = "sinusoidal"
    """position encoding: sinusoidal or learned embeddings that are added, or rotary queries and keys"""
    activation: Activation = "relu"
    """nonlinearity of the feed-forward nets: relu, gelu, swiglu (a third matrix) or relu2"""
    qk_norm: bool = False
    """RMS norm of queries and keys in every head"""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """dropout of embeddings and of what each sublayer adds"""
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """dropout of attention weights"""
    activation_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """dropout inside the feed-forward nets"""
    tying: Tying = "none"
    """one matrix for target embedding and output (decoder), or for source embedding too (all)"""
    max_length: int = Field(default=1024, ge=1)
    """longest source or target, in tokens"""

    @model_validator(mode="after")
    def _sizes_fit(self) -> "TransformerConfig":
        if self.width % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide width {self.width}")
        if self.positions == "rotary" and (self.width // self.num_heads) % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.width // self.num_heads}")
        if self.width % 2 and (self.positions != "rotary" or self.sharing == "universal"):
            raise ValueError(f"width {self.width} is odd: position signals are pairs of a sine and a cosine")
        for depth in (self.encoder_layers, self.decoder_layers):
            layer_order(self.sharing, depth, self.distinct_layers)
        return self

    def complaints(self, experiment: Any) -> Iterator[str]:
        """See `Config`."""
        if self.tying == "all" and not experiment.text.shared:
            yield 'model.tying="all" needs one vocabulary for both sides: set text.shared=true'


class Memory(NamedTuple):
    """An encoded source: states (B, S, D) and the mask of real tokens (B, S)."""

    states: Tensor
    mask: Tensor


@dataclass(frozen=True)
class DecoderState:
    """What the decoder remembers; the first axis of every tensor is rows, or the sources that they share.

    `cache` has the keys and values of the tokens so far at each depth. `memory` has those of the source for each
    distinct layer, as they are the same at all depths of a layer.
    """

    cache: tuple[KeyValue, ...]
    memory: tuple[KeyValue, ...]
    memory_mask: AttentionMask | None


class Transformer(nn.Module):
    """Maps source ids and the target ids so far to logits of the next target id.

    Initialisation: embeddings and the output matrix N(0, 1/D), and embeddings are multiplied by sqrt(D), so that both
    the stream and the first logits have a standard deviation near 1. Learned positions start as the sinusoids. Other
    matrices are Xavier-uniform, query, key and value each on its own; the last matrix of each residual branch is
    divided by the root of the number of branches in its stack (as in GPT-2), so that the stream does not grow with
    depth. Biases are 0, gains 1. Post-norm needs no such division, and has none.

    Under bf16 autocast the residual stream is bf16 too, two bytes a value where float32 has four. It is no faster, and
    the training loss is the same; both were measured (docs/techniques/attention-and-dropout-on-cpus.md).
    """

    config_class = TransformerConfig
    role = "encoder-decoder"

    def __init__(self, config: TransformerConfig, source_vocab_size: int, target_vocab_size: int):
        super().__init__()
        if config.tying == "all" and source_vocab_size != target_vocab_size:
            raise UserError(
                f'model.tying = "all" needs one vocabulary for both sides, but the source has {source_vocab_size} '
                f'entries and the target {target_vocab_size}: share the vocabulary, or use tying "decoder"'
            )
        self.config = config
        shape = _block_shape(config)
        self.encoder_order = layer_order(config.sharing, config.encoder_layers, config.distinct_layers)
        self.decoder_order = layer_order(config.sharing, config.decoder_layers, config.distinct_layers)

        # A tied matrix has one name only, so that a saved state holds it once.
        self.source_embedding = nn.Embedding(source_vocab_size, config.width)
        self.target_embedding = None if config.tying == "all" else nn.Embedding(target_vocab_size, config.width)
        self.output = nn.Linear(config.width, target_vocab_size, bias=False) if config.tying == "none" else None
        self.encoder = nn.ModuleList(EncoderBlock(shape) for _ in set(self.encoder_order))
        self.decoder = nn.ModuleList(DecoderBlock(shape) for _ in set(self.decoder_order))
        final_norm = config.norm_placement == "pre"
        self.encoder_norm = build_norm(config.norm, config.width) if final_norm else nn.Identity()
        self.decoder_norm = build_norm(config.norm, config.width) if final_norm else nn.Identity()
        self.source_positions = _position_signal(config, config.encoder_layers)
        self.target_positions = _position_signal(config, config.decoder_layers)
        self.reset_parameters()

    def forward(self, source: Tensor, source_mask: Tensor, target: Tensor, target_index: Tensor) -> Tensor:
        """Logits (N, V) of the token after each real target token, row by row.

        source (B, S) and target (B, T) are ids, the target starting with the begin token. The mask is True at real
        source tokens; the index (N,) has the real target tokens among all B * T. Nothing here waits for a GPU.
        """
        memory = self.encode(source, source_mask)
        states = self.decode(memory, target)
        return self.logits(states.flatten(0, 1).index_select(0, target_index))

    def encode(self, source: Tensor, source_mask: Tensor) -> Memory:
        """Source ids (B, S) and the mask of real ones (B, S) -> memory."""
        x = self.encoder_stream(source, source_mask, self.config.encoder_layers)
        return Memory(self.encoder_norm(x), source_mask)

    def encoder_stream(self, source: Tensor, source_mask: Tensor, layers: int) -> Tensor:
        """The residual stream (B, S, D) after the first `layers` depths of the encoder."""
        x = self.embed(source, self.source_table)
        mask = padding_mask(source_mask, x.dtype)
        rotation = self.source_positions.rotation(source.shape[1])
        for depth in range(layers):
            x = self.encoder_block(depth)(self.source_positions(x, depth), mask, rotation)
        return x

    def decode(self, memory: Memory, target: Tensor) -> Tensor:
        """Teacher forcing: target ids (B, T) -> states (B, T, D), each of which sees only the ids up to its own."""
        return self.decoder_norm(self.decoder_stream(memory, target, self.config.decoder_layers))

    def decoder_stream(self, memory: Memory, target: Tensor, layers: int) -> Tensor:
        """The residual stream (B, T, D) after the first `layers` depths of the decoder."""
        x = self.embed(target, self.target_table)
        causal, padding = causal_mask(target.shape[1], x.dtype, x.device), padding_mask(memory.mask, x.dtype)
        rotation = self.target_positions.rotation(target.shape[1])
        heads = self.project_memory(memory)
        for depth in range(layers):
            memory_heads = heads[self.decoder_order[depth]]
            x = self.decoder_block(depth)(self.target_positions(x, depth), memory_heads, causal, padding, rotation)
        return x

    def logits(self, states: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        return F.linear(states, self.target_table if self.output is None else self.output.weight)

    def start(self, memory: Memory) -> DecoderState:
        """The state of B rows before their first token."""
        heads = self.project_memory(memory)
        nothing = KeyValue(heads[0].key[:, :, :0], heads[0].value[:, :, :0])
        return DecoderState(
            cache=(nothing,) * len(self.decoder_order),
            memory=heads,
            memory_mask=padding_mask(memory.mask, heads[0].key.dtype),
        )

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The last token of every row (B,) -> logits of the next one (B, V), and the state after it."""
        position = state.cache[0].key.shape[2]
        x = self.embed(tokens[:, None], self.target_table)
        rotation = self.target_positions.rotation(1, start=position)
        cache = []
        for depth, layer in enumerate(self.decoder_order):
            x = self.target_positions(x, depth, start=position)
            x, longer = self.decoder_block(depth).step(
                x, state.cache[depth], state.memory[layer], state.memory_mask, rotation
            )
            cache.append(longer)
        logits = self.logits(self.decoder_norm(x).squeeze(1))
        return logits, DecoderState(tuple(cache), state.memory, state.memory_mask)

    def select_rows(self, state: DecoderState, selection: RowSelection) -> DecoderState:
        """The state of the selected rows; those of one source share its memory."""
        rows, sources = selection
        mask = state.memory_mask
        return DecoderState(
            cache=tuple(heads.select(rows) for heads in state.cache),
            memory=tuple(heads.select(sources) for heads in state.memory),
            memory_mask=None if mask is None else AttentionMask(mask.bias.index_select(0, sources)),
        )

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

        Runs the model as far as that layer. Rows of padded queries are 0.
        """
        depths = self.config.encoder_layers if kind == "encoder" else self.config.decoder_layers
        if not 0 <= depth < depths:
            raise UserError(f"there is no {kind} attention at depth {depth}: depths are 0 to {depths - 1}")
        if kind == "encoder":
            weights = self._encoder_weights(source, source_mask, depth)
            return weights * source_mask[:, None, :, None]
        weights = self._decoder_weights(self.encode(source, source_mask), target, kind == "cross", depth)
        return weights * target_mask[:, None, :, None]

    def _encoder_weights(self, source: Tensor, source_mask: Tensor, depth: int) -> Tensor:
        block = self.encoder_block(depth)
        x = self.source_positions(self.encoder_stream(source, source_mask, depth), depth)
        x = block.attention_residual.sublayer_input(x)
        query, heads = block.attention.project(x, self.source_positions.rotation(source.shape[1]))
        return attention_weights(query, heads.key, padding_mask(source_mask, query.dtype))

    def _decoder_weights(self, memory: Memory, target: Tensor, cross: bool, depth: int) -> Tensor:
        block = self.decoder_block(depth)
        x = self.target_positions(self.decoder_stream(memory, target, depth), depth)
        rotation = self.target_positions.rotation(target.shape[1])
        causal = causal_mask(target.shape[1], x.dtype, x.device)
        if not cross:
            query, heads = block.attention.project(block.attention_residual.sublayer_input(x), rotation)
            return attention_weights(query, heads.key, causal)
        x = block.cross_attention_residual.sublayer_input(block.attend_to_self(x, causal, rotation))
        heads = block.cross_attention.project_memory(memory.states)
        query = block.cross_attention.project_query(x)
        return attention_weights(query, heads.key, padding_mask(memory.mask, query.dtype))

    def forward_flops(self, source_lengths: Tensor, target_lengths: Tensor) -> float:
        """Floating-point operations of one forward pass over real tokens: 2 a multiply-add, matrix products only.

        Lengths (B,) are those of each row. A training step has three times as many. The causal half of the
        decoder's scores counts, as it is computed.
        """
        width, config = self.config.width, self.config
        source, target = torch.as_tensor(source_lengths).double(), torch.as_tensor(target_lengths).double()
        matrices = 3 if config.activation == "swiglu" else 2
        feedforward = matrices * width * config.feedforward
        attention = 4 * width**2  # query, key, value and output matrices
        encoder = source * (attention + feedforward) + 2 * source**2 * width
        decoder = target * (attention + 2 * width**2 + feedforward) + 2 * target * (target + source) * width
        memory = source * 2 * width**2 * len(self.decoder)
        head = target * width * self.target_table.shape[0]
        multiply_adds = encoder * config.encoder_layers + decoder * config.decoder_layers + memory + head
        return 2.0 * float(multiply_adds.sum())

    @property
    def attention_layers(self) -> int:
        """At how many depths of the decoder the source is attended to."""
        return self.config.decoder_layers

    @property
    def source_table(self) -> Tensor:
        """The matrix of source embeddings."""
        return self.source_embedding.weight

    @property
    def target_table(self) -> Tensor:
        """The matrix of target embeddings."""
        return self.source_embedding.weight if self.target_embedding is None else self.target_embedding.weight

    def embed(self, ids: Tensor, table: Tensor) -> Tensor:
        """Ids (B, T) -> the start of the stream (B, T, D), before any position signal."""
        x = F.embedding(ids, table) * math.sqrt(self.config.width)
        return x.to(stream_dtype(x))

    def project_memory(self, memory: Memory) -> tuple[KeyValue, ...]:
        """The keys and values of the source for each distinct decoder layer."""
        blocks = cast(list[DecoderBlock], list(self.decoder))
        return tuple(block.cross_attention.project_memory(memory.states) for block in blocks)

    def encoder_block(self, depth: int) -> EncoderBlock:
        """The encoder layer that stands at `depth`."""
        return cast(EncoderBlock, self.encoder[self.encoder_order[depth]])

    def decoder_block(self, depth: int) -> DecoderBlock:
        """The decoder layer that stands at `depth`."""
        return cast(DecoderBlock, self.decoder[self.decoder_order[depth]])

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws new weights; see the class for their distribution."""
        for table in {self.source_table, self.target_table}:
            nn.init.normal_(table, std=self.config.width**-0.5)
        if self.output is not None:
            nn.init.normal_(self.output.weight, std=self.config.width**-0.5)
        pre_norm = self.config.norm_placement == "pre"
        for depth in range(self.config.encoder_layers):
            _reset_block(self.encoder_block(depth), num_branches=2 * self.config.encoder_layers if pre_norm else 1)
        for depth in range(self.config.decoder_layers):
            _reset_block(self.decoder_block(depth), num_branches=3 * self.config.decoder_layers if pre_norm else 1)


def stream_dtype(x: Tensor) -> torch.dtype:
    """The dtype of the residual stream: bf16 under bf16 autocast, else that of `x` (fp16 would overflow)."""
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):  # "meta" knows no autocast
        return x.dtype
    return torch.bfloat16 if torch.get_autocast_dtype(device) == torch.bfloat16 else x.dtype


def _block_shape(config: TransformerConfig) -> BlockShape:
    return BlockShape(**{name: getattr(config, name) for name in BlockShape._fields})


def _position_signal(config: TransformerConfig, depth: int) -> PositionSignal:
    return PositionSignal(
        config.positions,
        config.max_length,
        config.width,
        config.num_heads,
        num_depths=depth if config.sharing == "universal" else None,
        dropout=config.dropout,
    )


def _reset_block(block: EncoderBlock | DecoderBlock, num_branches: int) -> None:
    """Xavier-uniform for each (out, in) square of a fused matrix; branch ends divided by sqrt(num_branches)."""
    fused = {"attention.query_key_value": 3, "cross_attention.key_value": 2}
    if block.feedforward.activation == "swiglu":
        fused["feedforward.expand"] = 2
    for name, linear in block.named_modules():
        if not isinstance(linear, nn.Linear):
            continue
        for part in linear.weight.chunk(fused.get(name, 1)):
            nn.init.xavier_uniform_(part)
        if name.endswith("out"):
            linear.weight.div_(math.sqrt(num_branches))
        nn.init.zeros_(linear.bias)
