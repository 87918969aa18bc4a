"""Cached outputs of the frozen layers of a model: the same in every epoch, so computed once.

Shapes: `B` rows, `S` tokens of a row, `D` width, `T` tokens of all rows.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batching.stream import evaluation_batches
from seqlab.data.batching.token_rows import TokenRows
from seqlab.errors import UserError
from seqlab.models.hf.encoder import cut_of, frozen_states
from seqlab.tasks.task import evaluating

BATCH_TOKENS = 8192
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def with_frozen_states(model: Any, rows: TokenRows) -> TokenRows:
    """The rows; what frozen layers make of them is in their batches where the config of the model wants that."""
    return replace(rows, states=FrozenStates(model, rows)) if cut_of(model.config) else rows


class FrozenStates:
    """The states above the frozen layers of every token of the rows.

    They are computed for all rows when a batch is first asked for, in fp32 and in an order that depends on the rows
    alone: a run that is resumed computes the same ones.
    """

    def __init__(self, model: Any, rows: TokenRows) -> None:
        self._model, self._rows = model, rows

    def padded(self, rows: np.ndarray, width: int) -> Tensor:
        """Those of the chosen rows, (B, S, D); at padding, which nothing looks at, those of the first token."""
        return self._states[torch.from_numpy(_places(self._rows, rows, width))]

    @cached_property
    def _states(self) -> Tensor:
        """(T, D)."""
        config, network = self._model.config, self._model.network
        dtype = DTYPES[config.cache_frozen]
        shape = len(self._rows.ids.ids), network.config.hidden_size
        needed = shape[0] * shape[1] * dtype.itemsize / 1e9
        if needed > config.cache_gb:
            raise UserError(
                f"model.cache_frozen={config.cache_frozen} needs {needed:.1f} GB for the {shape[0]:,} tokens of the "
                f"training set, more than model.cache_gb={config.cache_gb:g}: raise it, or set model.cache_frozen=no"
            )
        states = torch.empty(shape, dtype=dtype)
        with evaluating(self._model), torch.no_grad():
            for batch in evaluation_batches(self._rows, self._model, BATCH_TOKENS):
                found = frozen_states(self._model, batch.ids, batch.mask, batch.types)[batch.mask]
                places = _places(self._rows, batch.rows, batch.ids.shape[1])[batch.mask.cpu().numpy()]
                states[torch.from_numpy(places)] = found.to("cpu", dtype)
        return states


def _places(all_rows: TokenRows, rows: np.ndarray, width: int) -> np.ndarray:
    """(B, S): where each token of the chosen rows stands among all T; padding has the place of the first token."""
    columns = np.arange(width)
    inside = columns < all_rows.ids.lengths_of(rows)[:, None]
    return all_rows.ids.offsets[rows][:, None] + np.where(inside, columns, 0)
