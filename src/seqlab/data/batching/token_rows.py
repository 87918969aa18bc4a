"""Encoded rows of tokens with labels, and the padded batch that is cut from them.

Shapes: `N` rows, `B` rows of a batch, `S` tokens, `D` width of a state. Each row counts once in the loss, however long
it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batching.pairs import Ragged
from seqlab.data.batching.stream import to_device


@dataclass(frozen=True)
class TokenBatch:
    """Padded rows; the mask is True at real tokens."""

    ids: Tensor  # (B, S)
    mask: Tensor  # (B, S)
    types: Tensor | None  # (B, S), which of two texts a token belongs to; None where the model does not ask
    labels: Tensor  # (B, ...)
    rows: np.ndarray  # (B,), which rows these are
    states: Tensor | None = None  # (B, S, D), what the lowest layers of the model make of them, where that is known

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """What a model is called with."""
        return self.ids, self.mask, self.types, self.states

    @property
    def tokens(self) -> int:
        """What the loss is divided by: the number of rows."""
        return len(self.rows)

    def to(self, device: torch.device) -> "TokenBatch":
        """The same batch on `device`; the copy to a GPU does not wait."""
        return to_device(self, device)


class States(Protocol):
    """What is known of the tokens of all rows."""

    def padded(self, rows: np.ndarray, width: int) -> Tensor:
        """Of the chosen rows, (B, S, D), padded to `width` tokens with anything finite."""
        ...


@dataclass(frozen=True)
class TokenRows:
    """Rows as ids."""

    ids: Ragged
    types: Ragged | None
    labels: np.ndarray  # (N, ...)
    pad_id: int
    states: States | None = None  # of the tokens, where they are known

    @classmethod
    def of(
        cls, ids: Sequence[list[int]], types: Sequence[list[int]] | None, labels: np.ndarray, pad_id: int
    ) -> "TokenRows":
        """Packs lists of ids, and of types where the model asks for them."""
        return cls(Ragged.of(ids), None if types is None else Ragged.of(types), labels, pad_id)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shapes(self) -> np.ndarray:
        """(N, 2): the tokens of every row, and 1, as it has one label."""
        return np.stack([self.ids.lengths, np.ones(len(self), dtype=np.int64)], axis=1)

    def batch(self, rows: np.ndarray, source_width: int, target_width: int) -> TokenBatch:
        """The chosen rows, padded to `source_width` tokens."""
        mask = np.arange(source_width) < self.ids.lengths_of(rows)[:, None]
        types = None if self.types is None else torch.from_numpy(self.types.padded(rows, source_width, 0))
        return TokenBatch(
            ids=torch.from_numpy(self.ids.padded(rows, source_width, self.pad_id)),
            mask=torch.from_numpy(mask),
            types=types,
            labels=torch.from_numpy(self.labels[rows]),
            rows=rows,
            states=None if self.states is None else self.states.padded(rows, source_width),
        )
