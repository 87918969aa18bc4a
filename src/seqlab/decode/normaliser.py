"""What turns logits into log-probabilities: one number a row, while the search goes on comparing logits."""

import torch
from torch import Tensor

ROWS = 32
"""Rows whose fp32 copies stay in the cache of a core for usual vocabularies."""


def log_normaliser(logits: Tensor) -> Tensor:
    """log(sum(exp)) of each row: (R, V) -> (R,), fp32. log p of a token is its logit minus this.

    A search needs log p of a few tokens a row only. On a CPU the log-softmax of all of them, for hundreds of rows and
    8,000 tokens, fills memory that no cache holds, and takes longer than the matrix product that made the logits; a few
    rows at a time it takes a quarter of that.
    """
    if logits.device.type != "cpu":
        return logits.float().logsumexp(-1)
    # the largest logit is finite, whatever else a model forbids
    return torch.cat([_normaliser(rows) for rows in logits.split(ROWS)])


def _normaliser(logits: Tensor) -> Tensor:
    return logits.amax(-1).float() - logits.log_softmax(-1, dtype=torch.float32).amax(-1)
