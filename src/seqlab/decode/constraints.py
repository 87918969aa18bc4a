"""Which tokens may come next? Pure functions that set the logit (or log-probability) of forbidden ones to -inf.

Nothing is renormalised: a constraint narrows the choice but does not change what the model thinks of what remains.
Shapes: `R` rows (of the batch, or of all its hypotheses), `T` tokens emitted so far, `V` vocabulary.
"""

import torch
from torch import Tensor

from seqlab.decode.settings import DecodeConfig


def constrain(logits: Tensor, prefix: Tensor, config: DecodeConfig, eos_id: int) -> Tensor:
    """Logits (R, V) of what follows `prefix` (R, T, without beginning of sequence), forbidden ones -inf."""
    if config.no_repeat_ngram:
        logits = forbid_repeated_ngrams(logits, prefix, config.no_repeat_ngram)
    if prefix.size(1) < config.min_length:
        logits = forbid_end(logits, eos_id)
    return logits


def forbid_end(logits: Tensor, eos_id: int) -> Tensor:
    """Forbids the end of sequence, except in rows where nothing else is allowed: a short output beats none."""
    rest = logits.clone()
    rest[..., eos_id] = -torch.inf
    nothing_else = rest.amax(-1).isneginf()
    rest[..., eos_id] = logits[..., eos_id].where(nothing_else, -torch.inf)
    return rest


def forbid_repeated_ngrams(logits: Tensor, prefix: Tensor, n: int) -> Tensor:
    """Forbids every token that would make the last `n` tokens equal to `n` consecutive tokens of `prefix` (R, T).

    The end of sequence is never in a prefix, so it is never forbidden.
    """
    length = prefix.size(1)
    if length < n:
        return logits
    ngrams = prefix.unfold(1, n, 1)  # (R, T - n + 1, n)
    tail = prefix[:, length - n + 1 :]  # the n - 1 tokens that the next one would complete; none when n is 1
    follows_tail = (ngrams[..., :-1] == tail[:, None]).all(-1)  # (R, T - n + 1)
    times_seen = torch.zeros_like(logits).scatter_add(1, ngrams[..., -1], follows_tail.to(logits.dtype))
    return logits.masked_fill(times_seen > 0, -torch.inf)
