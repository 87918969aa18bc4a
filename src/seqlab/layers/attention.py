"""Attention: one function over two kernels, the self- and cross-attention layers around it, and positions.

Positions are either added to the embeddings (`PositionSignal`) or turn queries and keys (`Rotation`).
Shapes: `B` rows, `T` queries or positions, `S` keys, `D` width, `H` heads, `K` head width (D / H).
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.compiler import is_exporting

from seqlab.errors import UserError
from seqlab.layers.functional import Dropout, RMSNorm, dropout

PositionKind = Literal["sinusoidal", "learned", "rotary"]

LONGEST_WAVELENGTH = 10_000.0


class Rotation(NamedTuple):
    """Cosines and sines of the rotation at each position, each (T, K/2)."""

    cos: Tensor
    sin: Tensor


class PositionSignal(nn.Module):
    """What tells the layers of a stack where a token stands: a table that is added, or a rotation for the heads.

    Args:
        kind: "sinusoidal" and "learned" tables are added before the first depth; "rotary" turns queries and keys.
        max_length: number of positions.
        width, num_heads: of the model.
        num_depths: how many depths there are, to add the table before each of them together with a sinusoidal signal
            of the depth itself (Dehghani et al. 2019); None: before the first depth only.
        dropout: of the sum that enters the first depth.
    """

    table: Tensor | None
    cos: Tensor | None
    sin: Tensor | None
    time: Tensor | None

    def __init__(
        self,
        kind: PositionKind,
        max_length: int,
        width: int,
        num_heads: int,
        *,
        num_depths: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.max_length = max_length
        self.dropout = Dropout(dropout)
        table = rotation = None
        match kind:
            case "sinusoidal":
                table = sinusoidal_table(max_length, width)
            case "learned":
                table = nn.Parameter(sinusoidal_table(max_length, width))
            case "rotary":
                rotation = rotary_table(max_length, width // num_heads)
        if isinstance(table, nn.Parameter):
            self.table = table
        else:
            self.register_buffer("table", table, persistent=False)
        self.register_buffer("cos", rotation and rotation.cos, persistent=False)
        self.register_buffer("sin", rotation and rotation.sin, persistent=False)
        time = sinusoidal_table(num_depths, width) if num_depths is not None else None
        self.register_buffer("time", time, persistent=False)

    def forward(self, x: Tensor, depth: int, start: int = 0) -> Tensor:
        """The input of the layer at `depth`: x (B, T, D) with the signal of positions start..start+T-1."""
        end = self._checked(start + x.shape[1])
        if self.table is not None and (depth == 0 or self.time is not None):
            x = x + self.table[start:end].to(x.dtype)
        if self.time is not None:
            x = x + self.time[depth].to(x.dtype)
        return self.dropout(x) if depth == 0 else x

    def rotation(self, length: int, start: int = 0) -> Rotation | None:
        """The rotary tables of positions start..start+length-1, or None with other kinds of positions."""
        if self.cos is None or self.sin is None:
            return None
        end = self._checked(start + length)
        return Rotation(self.cos[start:end], self.sin[start:end])

    def _checked(self, end: int) -> int:
        if end > self.max_length:
            raise UserError(
                f"a sequence of {end} tokens is longer than model.max_length = {self.max_length}: "
                "raise it, or drop or cut longer examples"
            )
        return end


def sinusoidal_table(length: int, width: int) -> Tensor:
    """Rows of sines and cosines of geometrically spaced wavelengths, (length, D), float32 (Vaswani et al. 2017)."""
    angles = _angles(length, width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


def rotary_table(length: int, head_width: int) -> Rotation:
    """The rotations of RoPE (Su et al. 2021) for positions 0..length-1, float32."""
    angles = _angles(length, head_width)
    return Rotation(angles.cos().float(), angles.sin().float())


def rotate(heads: Tensor, rotation: Rotation) -> Tensor:
    """Turns (B, H, T, K) by the angles of its positions, so that a dot product depends on distances only.

    Coordinate i is paired with i + K/2. The tables are rounded to the dtype of `heads`; the angles never are.
    """
    cos, sin = rotation.cos.to(heads.dtype), rotation.sin.to(heads.dtype)
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _angles(length: int, width: int) -> Tensor:
    """position / wavelength, (length, width / 2), in float64: float32 loses whole turns at long positions."""
    frequencies = LONGEST_WAVELENGTH ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.outer(torch.arange(length, dtype=torch.float64), frequencies)


LONGEST_PRODUCTS = {torch.bfloat16: 256, torch.float32: 24}
"""Up to so many keys, products beat the fused kernel on a CPU."""


class KeyValue(NamedTuple):
    """Keys and values of all heads, each (B, H, S, K)."""

    key: Tensor
    value: Tensor

    def select(self, index: Tensor) -> "KeyValue":
        """Those of the rows `index` (N,)."""
        return KeyValue(self.key.index_select(0, index), self.value.index_select(0, index))


class AttentionMask(NamedTuple):
    """Which keys each query sees; made once per batch, used by every layer.

    `bias` is added to the scores and broadcasts to (B, H, T, S'): 0 where the key takes part, else the most negative
    finite number (minus infinity would turn a row without any key into NaN). It may cover more keys than there are,
    S' >= S, the rest hidden. `causal` says that query t sees the keys 0..t, for kernels that know this by themselves.
    """

    bias: Tensor
    causal: bool = False


def padding_mask(mask: Tensor, dtype: torch.dtype) -> AttentionMask | None:
    """Hides the keys (B, S) at which `mask` is False; None where there is nothing to hide, and that is free to see.

    It is not free on a GPU, which would have to be waited for, nor while torch exports, when there are no values.
    """
    slots = key_slots(mask.shape[1], dtype, mask.device)
    if not is_exporting() and slots == mask.shape[1] and mask.device.type == "cpu" and bool(mask.all()):
        return None
    return AttentionMask(_bias(mask, slots, dtype)[:, None, None, :])


def causal_mask(length: int, dtype: torch.dtype, device: torch.device) -> AttentionMask:
    """Hides the keys after each of `length` queries."""
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril_()
    return AttentionMask(_bias(seen, key_slots(length, dtype, device), dtype), causal=True)


def key_slots(num_keys: int, dtype: torch.dtype, device: torch.device) -> int:
    """With how many keys a CPU is fastest: at least as many as fill a 512-bit register.

    torch's softmax is slow on rows shorter than that; benchmarks/attention.py measures what the extra keys save.
    An exported program has no extra keys: it is made for every number of them, and for other devices than this one.
    """
    if is_exporting():
        return num_keys
    lanes = {torch.bfloat16: 32, torch.float32: 16}.get(dtype, 1) if device.type == "cpu" else 1
    return max(num_keys, lanes)


def attend(query: Tensor, heads: KeyValue, mask: AttentionMask | None = None, dropout_rate: float = 0.0) -> Tensor:
    """The mean of the values that each query (B, H, T, K) attends to, (B, H, T, K), by the faster of two kernels."""
    if prefers_products(query, heads.key.shape[2], dropout_rate):
        return attend_by_products(query, heads, mask, dropout_rate)
    return attend_fused(query, heads, mask, dropout_rate)


def prefers_products(query: Tensor, num_keys: int, dropout_rate: float) -> bool:
    """Whether two batched products and a softmax beat torch's fused kernel: a fixed rule of dtype, length and dropout.

    Derived with benchmarks/attention.py, never measured at run time: exact resume needs the same kernel every time.
    An exported program serves all lengths and devices, so it has the fused kernel.
    """
    if query.device.type != "cpu":
        return False
    if dropout_rate > 0.0:
        return True
    if is_exporting():
        return False
    # A single query has no mask whose padding would make short rows of float32 fast
    short = num_keys <= LONGEST_PRODUCTS.get(query.dtype, 0)
    return short and (query.shape[2] > 1 or query.dtype == torch.bfloat16)


def attend_fused(query: Tensor, heads: KeyValue, mask: AttentionMask | None, dropout_rate: float) -> Tensor:
    """torch's scaled_dot_product_attention."""
    causal = mask is not None and mask.causal
    bias = None if mask is None or causal else mask.bias[..., : heads.key.shape[2]]
    return F.scaled_dot_product_attention(
        query, heads.key, heads.value, attn_mask=bias, dropout_p=dropout_rate, is_causal=causal
    )


def attend_by_products(query: Tensor, heads: KeyValue, mask: AttentionMask | None, dropout_rate: float) -> Tensor:
    """Two batched matrix products with a softmax between them."""
    if mask is not None and mask.bias.shape[-1] > heads.key.shape[2]:
        hidden = mask.bias.shape[-1] - heads.key.shape[2]
        heads = KeyValue(F.pad(heads.key, (0, 0, 0, hidden)), F.pad(heads.value, (0, 0, 0, hidden)))
    return dropout(_weights(query, heads.key, mask), dropout_rate) @ heads.value


def attention_weights(query: Tensor, key: Tensor, mask: AttentionMask | None = None) -> Tensor:
    """What each query gives to each key, (B, H, T, S); the rows sum to 1."""
    return _weights(query, key, mask and AttentionMask(mask.bias[..., : key.shape[2]]))


def _weights(query: Tensor, key: Tensor, mask: AttentionMask | None) -> Tensor:
    scores, scale = query @ key.transpose(-2, -1), query.shape[-1] ** -0.5
    scores = scores * scale if mask is None else torch.add(mask.bias, scores, alpha=scale)
    return scores.softmax(dim=-1)


def _bias(seen: Tensor, slots: int, dtype: torch.dtype) -> Tensor:
    """(..., S) booleans -> (..., slots) of 0 and the most negative number."""
    hidden = ~F.pad(seen, (0, slots - seen.shape[-1]))
    return torch.zeros(hidden.shape, dtype=dtype, device=seen.device).masked_fill_(hidden, torch.finfo(dtype).min)


class SelfAttention(nn.Module):
    """Every token attends to the tokens of its own sequence; queries, keys and values come from one product."""

    def __init__(self, width: int, num_heads: int, dropout: float, qk_norm: bool):
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.qk_norm = QueryKeyNorm(width // num_heads) if qk_norm else None
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: AttentionMask | None = None, rotation: Rotation | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        query, heads = self.project(x, rotation)
        rate = self.dropout if self.training else 0.0
        return self.out(merge_heads(attend(query, heads, mask, rate)))

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

    def forward(self, x: Tensor, memory: KeyValue, mask: AttentionMask | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); `memory` comes from `project_memory`, once for all depths that share this layer."""
        rate = self.dropout if self.training else 0.0
        return self.out(merge_heads(attend(self.project_query(x), memory, mask, rate)))

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
