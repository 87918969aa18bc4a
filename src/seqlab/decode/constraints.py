"""Which tokens may come next? Pure functions that set the log-probability (or logit) of forbidden ones to -inf.

Nothing is renormalised: a constraint narrows the choice but does not change what the model thinks of what remains.
Shapes: `R` rows (of the batch, or of all its hypotheses), `T` tokens emitted so far, `V` vocabulary.
"""

import torch
from torch import Tensor

from seqlab.decode.settings import DecodeConfig


def constrain(log_probs: Tensor, prefix: Tensor, config: DecodeConfig, eos_id: int) -> Tensor:
    """Log-probabilities (R, V) of what follows `prefix` (R, T, without beginning of sequence), forbidden ones -inf."""
    if config.no_repeat_ngram:
        log_probs = forbid_repeated_ngrams(log_probs, prefix, config.no_repeat_ngram)
    if prefix.size(1) < config.min_length:
        log_probs = forbid_end(log_probs, eos_id)
    return log_probs


def forbid_end(log_probs: Tensor, eos_id: int) -> Tensor:
    """Forbids the end of sequence, except in rows where nothing else is allowed: a short output beats none."""
    is_end = torch.arange(log_probs.size(-1), device=log_probs.device) == eos_id
    nothing_else = log_probs.masked_fill(is_end, -torch.inf).isneginf().all(-1, keepdim=True)
    return log_probs.masked_fill(is_end & ~nothing_else, -torch.inf)


def forbid_repeated_ngrams(log_probs: Tensor, prefix: Tensor, n: int) -> Tensor:
    """Forbids every token that would make the last `n` tokens equal to `n` consecutive tokens of `prefix` (R, T).

    The end of sequence is never in a prefix, so it is never forbidden.
    """
    length = prefix.size(1)
    if length < n:
        return log_probs
    ngrams = prefix.unfold(1, n, 1)  # (R, T - n + 1, n)
    tail = prefix[:, length - n + 1 :]  # the n - 1 tokens that the next one would complete; none when n is 1
    follows_tail = (ngrams[..., :-1] == tail[:, None]).all(-1)  # (R, T - n + 1)
    times_seen = torch.zeros_like(log_probs).scatter_add(1, ngrams[..., -1], follows_tail.to(log_probs.dtype))
    return log_probs.masked_fill(times_seen > 0, -torch.inf)
