"""From the logits of a step to the next token: log-probabilities, forbidden tokens, sampling.

Shapes: `R` rows, `T` tokens so far, `V` vocabulary.
"""

import torch
from torch import Tensor

from seqlab.decode.settings import DecodeConfig

ROWS = 32
"""Rows whose fp32 copies stay in the cache of a core for usual vocabularies."""


def log_normaliser(logits: Tensor) -> Tensor:
    """log(sum(exp)) of each row: (R, V) -> (R,), fp32. log p of a token is its logit minus this.

    A search needs log p of a few tokens per row only. On a CPU the log-softmax of all of them, for hundreds of rows and
    8,000 tokens, fills memory that no cache holds, and takes longer than the matrix product that made the logits; a few
    rows at a time it takes a quarter of that.
    """
    if logits.device.type != "cpu":
        return logits.float().logsumexp(-1)
    # the largest logit is finite, whatever else a model forbids
    return torch.cat([_normaliser(rows) for rows in logits.split(ROWS)])


def _normaliser(logits: Tensor) -> Tensor:
    return logits.amax(-1).float() - logits.log_softmax(-1, dtype=torch.float32).amax(-1)


def constrain(logits: Tensor, prefix: Tensor, config: DecodeConfig, eos_id: int, unk_id: int | None = None) -> Tensor:
    """Logits (R, V) of what follows `prefix` (R, T, without beginning of sequence), forbidden ones -inf."""
    if config.forbid_unk and unk_id is not None:
        logits = logits.index_fill(-1, torch.tensor([unk_id], device=logits.device), -torch.inf)
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


def draw(logits: Tensor, config: DecodeConfig, generator: torch.Generator) -> Tensor:
    """One token (R,) a row; `generator` lives on the device of `logits` (R, V)."""
    return torch.multinomial(sampling_distribution(logits, config), 1, generator=generator).squeeze(1)


def sampling_distribution(logits: Tensor, config: DecodeConfig) -> Tensor:
    """Probabilities (R, V) to draw from: temperature first, then top-k, then top-p of what top-k left.

    Top-k keeps exactly k tokens, ties or not (Fan et al. 2018). Top-p keeps the fewest most probable tokens whose sum
    reaches p, so at least one (nucleus sampling, Holtzman et al. 2020).
    """
    scaled = logits.float() / config.temperature
    if not config.top_k and config.top_p == 1:
        return scaled.softmax(-1)
    ranked, ids = scaled.sort(-1, descending=True)
    if config.top_k:
        ranked[:, config.top_k :] = -torch.inf
    probs = ranked.softmax(-1)
    if config.top_p < 1:
        more_probable = probs.cumsum(-1) - probs  # what the tokens before this one have together
        probs = probs.masked_fill(more_probable >= config.top_p, 0)
        probs /= probs.sum(-1, keepdim=True)
    return torch.zeros_like(probs).scatter(-1, ids, probs)
