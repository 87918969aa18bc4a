"""Drawing the next token at random: temperature, top-k, top-p. Shapes: `R` rows, `V` vocabulary."""

import torch
from torch import Tensor

from seqlab.decode.settings import DecodeConfig


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
