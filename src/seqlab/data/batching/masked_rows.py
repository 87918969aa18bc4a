"""Encoded rows of which some tokens are hidden, and the padded batch that is cut from them.

Shapes: `N` rows, `B` rows of a batch, `S` tokens, `M` hidden tokens of a batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batching.pairs import Ragged
from seqlab.data.batching.stream import to_device


@dataclass(frozen=True)
class MaskedBatch:
    """Padded pairs of texts; the mask is True at real tokens, hidden ones among them."""

    ids: Tensor  # (B, S), as the model sees them
    mask: Tensor  # (B, S)
    types: Tensor  # (B, S), 1 in the second text
    places: Tensor  # (M,), the hidden ones among the B * S places, row after row
    labels: Tensor  # (M,), what stood there
    elsewhere: Tensor  # (B,), 1 where the second text does not follow the first, else 0
    hidden: Tensor  # (B,), hidden tokens of each row
    rows: np.ndarray  # (B,), which rows these are

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a model is called with."""
        return self.ids, self.mask, self.types, self.places

    @property
    def tokens(self) -> int:
        """What the loss is divided by: the number of hidden tokens."""
        return len(self.labels)

    def to(self, device: torch.device) -> "MaskedBatch":
        """The same batch on `device`; the copy to a GPU does not wait."""
        return to_device(self, device)


@dataclass(frozen=True)
class MaskedRows:
    """Rows as ids, and what was hidden of them."""

    ids: Ragged  # as the model sees them
    first: np.ndarray  # (N,), tokens before the second text
    columns: Ragged  # where the hidden tokens of a row are
    labels: Ragged  # what stood there
    elsewhere: np.ndarray  # (N,), 1 where the second text does not follow the first, else 0
    pad_id: int

    def __len__(self) -> int:
        return len(self.first)

    @property
    def shapes(self) -> np.ndarray:
        """(N, 2): the tokens of every row, and the hidden ones."""
        return np.stack([self.ids.lengths, self.labels.lengths], axis=1)

    def batch(self, rows: np.ndarray, source_width: int, target_width: int) -> MaskedBatch:
        """The chosen rows, padded to `source_width` tokens; hidden tokens need no padding."""
        columns, hidden = np.arange(source_width), self.labels.lengths_of(rows)
        mask = columns < self.ids.lengths_of(rows)[:, None]
        places = self.columns.ids[self.columns.places(rows)] + np.repeat(np.arange(len(rows)) * source_width, hidden)
        return MaskedBatch(
            ids=torch.from_numpy(self.ids.padded(rows, source_width, self.pad_id)),
            mask=torch.from_numpy(mask),
            types=torch.from_numpy((mask & (columns >= self.first[rows][:, None])).astype(np.int64)),
            places=torch.from_numpy(places),
            labels=torch.from_numpy(self.labels.ids[self.labels.places(rows)].astype(np.int64)),
            elsewhere=torch.from_numpy(self.elsewhere[rows].astype(np.int64)),
            hidden=torch.from_numpy(hidden),
            rows=rows,
        )
