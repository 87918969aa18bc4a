"""Attention: one function over two kernels, and the self- and cross-attention layers around it.

Shapes: `B` rows, `T` queries, `S` keys, `D` width, `H` heads, `K` head width (D / H).
A bias is what is added to the scores: 0 where a key takes part, hugely negative where it does not.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.layers.dropout import dropout
from seqlab.layers.norms import RMSNorm
from seqlab.layers.positions import Rotation, rotate


class KeyValue(NamedTuple):
    """Keys and values of all heads, each (B, H, S, K)."""

    key: Tensor
    value: Tensor


def padding_bias(mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The bias of a mask of real keys (B, S) -> (B, 1, 1, S), or None where it would be all zeros."""
    if mask.device.type == "cpu" and bool(mask.all()):  # on a GPU the question would wait for the device
        return None
    return bias_of(mask, dtype)[:, None, None, :]


def bias_of(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `mask` is True, the most negative finite number elsewhere (so a row without any key gives no NaN)."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)


def attend(
    query: Tensor, heads: KeyValue, bias: Tensor | None = None, causal: bool = False, dropout_rate: float = 0.0
) -> Tensor:
    """The values that each query (B, H, T, K) attends to, (B, H, T, K).

    `causal` lets query t see the keys 0..t; `bias` broadcasts to (B, H, T, S). Both kernels agree within rounding.
    """
    if prefers_products(query, heads.key, dropout_rate):
        return attend_by_products(query, heads, bias, causal, dropout_rate)
    return attend_fused(query, heads, bias, causal, dropout_rate)


def prefers_products(query: Tensor, key: Tensor, dropout_rate: float) -> bool:
    """Whether two batched products and a softmax beat torch's fused kernel: a fixed rule of device, dtype and length.

    Measured by benchmarks/attention.py, never at run time: exact resume needs the same kernel every time.
    """
    if query.device.type != "cpu":
        return False
    return query.dtype == torch.bfloat16 or dropout_rate > 0.0


def attend_fused(query: Tensor, heads: KeyValue, bias: Tensor | None, causal: bool, dropout_rate: float) -> Tensor:
    """torch's scaled_dot_product_attention."""
    return F.scaled_dot_product_attention(
        query, heads.key, heads.value, attn_mask=bias, dropout_p=dropout_rate, is_causal=causal
    )


def attend_by_products(
    query: Tensor, heads: KeyValue, bias: Tensor | None, causal: bool, dropout_rate: float
) -> Tensor:
    """Two batched matrix products with a softmax between them."""
    weights = attention_weights(query, heads.key, bias, causal)
    return dropout(weights, dropout_rate) @ heads.value


def attention_weights(query: Tensor, key: Tensor, bias: Tensor | None = None, causal: bool = False) -> Tensor:
    """What each query gives to each key, (B, H, T, S); the rows sum to 1."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if causal:
        scores = scores + causal_bias(query.shape[-2], scores)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1)


def causal_bias(length: int, like: Tensor) -> Tensor:
    """The (length, length) bias that hides later keys."""
    hidden = torch.full((length, length), torch.finfo(like.dtype).min, dtype=like.dtype, device=like.device)
    return hidden.triu_(diagonal=1)


class SelfAttention(nn.Module):
    """Every token attends to the tokens of its own sequence; queries, keys and values come from one product."""

    def __init__(self, width: int, num_heads: int, dropout: float, qk_norm: bool):
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.qk_norm = QueryKeyNorm(width // num_heads) if qk_norm else None
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, causal: bool = False, rotation: Rotation | None = None
    ) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        query, heads = self.project(x, rotation)
        rate = self.dropout if self.training else 0.0
        return self.out(merge_heads(attend(query, heads, bias, causal, rate)))

    def step(self, x: Tensor, cache: KeyValue, rotation: Rotation | None = None) -> tuple[Tensor, KeyValue]:
        """One more token (B, 1, D) after those in `cache` -> its output (B, 1, D) and the longer cache."""
        query, new = self.project(x, rotation)
        heads = KeyValue(torch.cat([cache.key, new.key], dim=2), torch.cat([cache.value, new.value], dim=2))
        return self.out(merge_heads(attend(query, heads))), heads

    def project(self, x: Tensor, rotation: Rotation | None = None) -> tuple[Tensor, KeyValue]:
        """Queries, and keys with values, each (B, H, T, K)."""
        query, key, value = (split_heads(part, self.num_heads) for part in self.query_key_value(x).chunk(3, dim=-1))
        if self.qk_norm is not None:
            query, key = self.qk_norm(query, key)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        return query, KeyValue(key, value)


class CrossAttention(nn.Module):
    """Every target token attends to the encoded source."""

    def __init__(self, width: int, num_heads: int, dropout: float, qk_norm: bool):
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.qk_norm = QueryKeyNorm(width // num_heads) if qk_norm else None
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: KeyValue, bias: Tensor | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); `memory` comes from `project_memory`, once for all depths that share this layer."""
        rate = self.dropout if self.training else 0.0
        return self.out(merge_heads(attend(self.project_query(x), memory, bias, dropout_rate=rate)))

    def project_query(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, H, T, K)."""
        query = split_heads(self.query(x), self.num_heads)
        return query if self.qk_norm is None else self.qk_norm.query(query)

    def project_memory(self, memory: Tensor) -> KeyValue:
        """The encoded source (B, S, D) as keys and values."""
        key, value = (split_heads(part, self.num_heads) for part in self.key_value(memory).chunk(2, dim=-1))
        return KeyValue(key if self.qk_norm is None else self.qk_norm.key(key), value)


class QueryKeyNorm(nn.Module):
    """RMS norms of queries and keys, head by head: keeps scores from growing (Henry et al. 2020)."""

    def __init__(self, head_width: int):
        super().__init__()
        self.query = RMSNorm(head_width)
        self.key = RMSNorm(head_width)

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Both (B, H, T, K)."""
        return self.query(query), self.key(key)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, T, D) -> (B, H, T, K), a view."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(heads: Tensor) -> Tensor:
    """(B, H, T, K) -> (B, T, D)."""
    return heads.transpose(1, 2).flatten(2)
