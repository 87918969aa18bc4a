"""The blocks that a Transformer stacks, attention and a feed-forward net, and which block stands at which depth.

Shapes: `B` rows, `S` source, `T` target, `D` width.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.layers.attention import AttentionMask, CrossAttention, KeyValue, Rotation, SelfAttention
from seqlab.layers.functional import Dropout, NormKind, build_norm

NormPlacement = Literal["pre", "post"]

Activation = Literal["relu", "gelu", "swiglu", "relu2"]


class FeedForward(nn.Module):
    """(..., D) -> (..., D) through a hidden layer of `hidden` units.

    "swiglu" (Shazeer 2020) gates the hidden layer with a second one of the same size, so it has three matrices where
    the others have two; "relu2" is the square of ReLU (So et al. 2021).
    """

    def __init__(self, width: int, hidden: int, activation: Activation, dropout: float):
        super().__init__()
        self.activation: Activation = activation
        self.expand = nn.Linear(width, 2 * hidden if activation == "swiglu" else hidden)
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.out(self.dropout(self._activate(self.expand(x))))

    def _activate(self, hidden: Tensor) -> Tensor:
        match self.activation:
            case "relu":
                return hidden.relu_()  # in place: the product before it does not keep its result
            case "gelu":
                return F.gelu(hidden)
            case "relu2":
                return hidden.relu().square()
            case "swiglu":
                gate, value = hidden.chunk(2, dim=-1)
                return F.silu(gate) * value


class BlockShape(NamedTuple):
    """What all blocks of a model have in common."""

    width: int
    feedforward: int
    num_heads: int
    norm_placement: NormPlacement
    norm: NormKind
    activation: Activation
    qk_norm: bool
    dropout: float
    attention_dropout: float
    activation_dropout: float


class Residual(nn.Module):
    """Adds a sublayer's output to the stream: `x + f(norm(x))` ("pre") or `norm(x + f(x))` ("post")."""

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.placement: NormPlacement = shape.norm_placement
        self.norm = build_norm(shape.norm, shape.width)
        self.dropout = Dropout(shape.dropout)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, T, D) -> (B, T, D), with what `sublayer` makes of it."""
        if self.placement == "pre":
            return x + self.dropout(sublayer(self.norm(x)))
        return self.norm(x + self.dropout(sublayer(x)))

    def sublayer_input(self, x: Tensor) -> Tensor:
        """What the sublayer sees."""
        return self.norm(x) if self.placement == "pre" else x


class EncoderBlock(nn.Module):
    """Self-attention over the whole source, then the feed-forward net."""

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.attention = SelfAttention(shape.width, shape.num_heads, shape.attention_dropout, shape.qk_norm)
        self.feedforward = FeedForward(shape.width, shape.feedforward, shape.activation, shape.activation_dropout)
        self.attention_residual = Residual(shape)
        self.feedforward_residual = Residual(shape)

    def forward(self, x: Tensor, mask: AttentionMask | None, rotation: Rotation | None) -> Tensor:
        """(B, S, D) -> (B, S, D)."""
        x = self.attention_residual(x, lambda y: self.attention(y, mask, rotation))
        return self.feedforward_residual(x, self.feedforward)


class DecoderBlock(nn.Module):
    """Self-attention over the target so far, attention to the source, then the feed-forward net."""

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.attention = SelfAttention(shape.width, shape.num_heads, shape.attention_dropout, shape.qk_norm)
        self.cross_attention = CrossAttention(shape.width, shape.num_heads, shape.attention_dropout, shape.qk_norm)
        self.feedforward = FeedForward(shape.width, shape.feedforward, shape.activation, shape.activation_dropout)
        self.attention_residual = Residual(shape)
        self.cross_attention_residual = Residual(shape)
        self.feedforward_residual = Residual(shape)

    def forward(
        self,
        x: Tensor,
        memory: KeyValue,
        causal_mask: AttentionMask,
        memory_mask: AttentionMask | None,
        rotation: Rotation | None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.finish(self.attend_to_self(x, causal_mask, rotation), memory, memory_mask)

    def step(
        self,
        x: Tensor,
        cache: KeyValue,
        memory: KeyValue,
        memory_mask: AttentionMask | None,
        rotation: Rotation | None,
    ) -> tuple[Tensor, KeyValue]:
        """One more token (R, 1, D), given the keys and values of those before it at this depth.

        Rows of one source stand side by side, R / B of each; the source's keys and values (B, H, S, K) are there once.
        """
        longer = cache

        def attend_and_remember(y: Tensor) -> Tensor:
            nonlocal longer
            out, longer = self.attention.step(y, cache, rotation)
            return out

        x = self.attention_residual(x, attend_and_remember)
        together = x.view(memory.key.shape[0], -1, x.shape[-1])  # so that they ask their source in one product
        return self.finish(together, memory, memory_mask).view_as(x), longer

    def attend_to_self(self, x: Tensor, causal_mask: AttentionMask, rotation: Rotation | None) -> Tensor:
        """The first residual branch: causal self-attention."""
        return self.attention_residual(x, lambda y: self.attention(y, causal_mask, rotation))

    def finish(self, x: Tensor, memory: KeyValue, memory_mask: AttentionMask | None) -> Tensor:
        """The residual branches after self-attention."""
        x = self.cross_attention_residual(x, lambda y: self.cross_attention(y, memory, memory_mask))
        return self.feedforward_residual(x, self.feedforward)


Sharing = Literal["none", "albert", "universal", "sequence", "cycle", "cycle-rev"]

SCHEMES_WITH_DISTINCT_LAYERS = ("sequence", "cycle", "cycle-rev")


def layer_order(sharing: Sharing, depth: int, distinct: int | None = None) -> list[int]:
    """The index of the layer that stands at each depth, `depth` numbers in 0..M-1.

    `distinct` (M, a divisor of `depth`) is needed by the three schemes of Takase & Kiyono 2021 ("Lessons on Parameter
    Sharing across Layers in Transformers"), and by no other: "none" has M = N, "albert" (Lan et al. 2020) and
    "universal" (Dehghani et al. 2019) have M = 1. Raises ValueError when `distinct` does not fit.
    """
    if sharing not in SCHEMES_WITH_DISTINCT_LAYERS:
        if distinct is not None:
            raise ValueError(f'distinct_layers means nothing with sharing "{sharing}": leave it out')
        return list(range(depth)) if sharing == "none" else [0] * depth
    if distinct is None:
        raise ValueError(f'sharing "{sharing}" needs distinct_layers, the number of layers with weights of their own')
    if distinct < 1 or depth % distinct:
        raise ValueError(f"distinct_layers {distinct} does not divide the {depth} layers of a stack")

    repeats = depth // distinct
    cycle = list(range(distinct))
    if sharing == "sequence":
        return [layer for layer in cycle for _ in range(repeats)]
    if sharing == "cycle" or repeats == 1:
        return cycle * repeats
    return cycle * (repeats - 1) + cycle[::-1]
