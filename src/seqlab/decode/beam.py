"""Beam search: which sequences have the highest log-probability, after a penalty that makes up for length?

Every step extends the `W` live hypotheses of a row by every token. The `W` best extensions that do not end live on.
Those that end, and are among the `W` best of all, join the ended ones and take no place of a live one. The `n_best`
best ended ones are kept. Width 1 is greedy search, unless the penalty favours long outputs.

When is a row done? A sequence of n tokens, its end included, is ranked by log p / penalty(n). A live hypothesis with t
tokens and log p = s ends at some n from t + 1 to limit + 1, where the limit is that of its row. Another token never
raises log p, and s <= 0, so that it ends no better than s / (the largest of these penalties). The row is done when that
bound of the best live hypothesis does not pass the worst of the `n_best` ended ones. No smaller bound is certain: all
tokens to come may have probability 1. The first end proves nothing: a longer output may still win.

Shapes: `B` rows, `W` hypotheses of a row, `T` tokens so far, `V` vocabulary.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.decode.contract import NO_TOKEN, Decoder, Hypothesis, RowSelection, State, from_padded
from seqlab.decode.next_token import constrain, log_normaliser
from seqlab.decode.settings import DecodeConfig

BLOCK = 64
"""Entries of the vocabulary that `largest` looks at together."""


def beam_search(
    model: Decoder[State], state: State, first: Tensor, limits: Tensor, config: DecodeConfig, eos_id: int
) -> list[list[Hypothesis]]:
    """For each row that `first` (B,), its beginning of sequence, starts: up to `n_best` hypotheses, the best first.

    Ended hypotheses come before those cut at as many tokens as `limits` (B,) allows their row. There are fewer than
    `n_best` where the beam found no more.
    """
    alpha = config.length_penalty
    results: list[list[Hypothesis]] = [[] for _ in range(len(first))]
    rows = torch.arange(len(first), device=first.device)  # (B,) the result that each row of the batch fills
    live = _Beam(first.new_empty(len(first), 1, 0), torch.zeros(len(first), 1, device=first.device))
    nothing = live.log_prob.new_full((len(first), config.n_best), -torch.inf)
    ended = _Beam(live.ids.repeat(1, config.n_best, 1), nothing)
    tokens = first
    while True:
        logits, state = model.step(tokens, state)
        longer, parent, new_ended = _extensions(live, logits, config, eos_id)
        ended = _best_ended(ended, new_ended, alpha)
        at_limit = limits[rows] == live.ids.size(2)
        done = at_limit | (ended.ranking(alpha).amin(1) >= _best_end_in_reach(longer, limits[rows], alpha))
        keep = (~done).nonzero().squeeze(1)  # the one wait for the device in a step
        if len(keep) < len(rows):
            cut = live.only(at_limit[:, None] & new_ended.log_prob.isneginf())
            limit = live.ids.size(2)
            for row, whole, unfinished in zip(
                rows[done].tolist(),
                ended.rows(done).hypotheses(eos_id, limit),
                cut.rows(done).hypotheses(eos_id, limit),
                strict=True,
            ):
                results[row] = (whole + unfinished)[: config.n_best]
        if len(keep) == 0:
            return results
        parents = keep[:, None] * live.log_prob.size(1) + parent[keep]
        state = model.select_rows(state, RowSelection(rows=parents.flatten(), sources=keep))
        rows, live, ended = rows[keep], longer.rows(keep), ended.rows(keep)
        tokens = live.ids[..., -1].flatten()


def length_penalty(num_tokens: Tensor, alpha: float) -> Tensor:
    """((5 + n) / 6)^alpha, n counting the end of sequence (Wu et al. 2016, "GNMT", equation 14)."""
    return ((5 + num_tokens) / 6) ** alpha


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest values of each row (R, V), in order, and where they stand; as `topk`, ties aside.

    The k largest are among the k blocks with the largest maxima. Finding these reads everything once and sorts little:
    on a CPU it takes a fifth of the time of `topk` over 8,000 entries.
    """
    num_blocks = values.size(1) // BLOCK
    if num_blocks <= 2 * k:
        return values.topk(k)
    whole = num_blocks * BLOCK
    blocks = values[:, :whole].unflatten(1, (num_blocks, BLOCK))
    chosen = blocks.amax(2).topk(k).indices  # (R, k)
    places = (chosen[..., None] * BLOCK + torch.arange(BLOCK, device=values.device)).flatten(1)
    rest = torch.arange(whole, values.size(1), device=values.device).expand(len(values), -1)
    places = torch.cat([places, rest], dim=1)
    found, index = values.gather(1, places).topk(k)
    return found, places.gather(1, index)


class _Beam(NamedTuple):
    """The hypotheses of every row; a place whose `log_prob` is -inf is empty."""

    ids: Tensor
    """(B, W, T), NO_TOKEN behind the end."""
    log_prob: Tensor
    """(B, W), the sum over tokens."""

    def only(self, mask: Tensor) -> "_Beam":
        """The other places (B, W) emptied."""
        return _Beam(self.ids, self.log_prob.where(mask, -torch.inf))

    def places(self, index: Tensor) -> "_Beam":
        """The places `index` (B, N) of each row."""
        ids = self.ids.gather(1, index[..., None].expand(-1, -1, self.ids.size(2)))
        return _Beam(ids, self.log_prob.gather(1, index))

    def rows(self, index: Tensor) -> "_Beam":
        """The rows `index` (N,) of the batch."""
        return _Beam(self.ids[index], self.log_prob[index])

    def ranking(self, alpha: float) -> Tensor:
        """log p / penalty (B, W): what ended hypotheses are compared by."""
        return self.log_prob / length_penalty((self.ids != NO_TOKEN).sum(-1), alpha)

    def hypotheses(self, eos_id: int, limit: int) -> list[list[Hypothesis]]:
        """Those of every row, empty places left out; with `limit` tokens and no end they count as cut."""
        rows = zip(self.ids.tolist(), self.log_prob.tolist(), strict=True)
        return [
            [from_padded(ids, score, eos_id, limit) for ids, score in zip(*row, strict=True) if score != -math.inf]
            for row in rows
        ]


def _extensions(live: _Beam, logits: Tensor, config: DecodeConfig, eos_id: int) -> tuple[_Beam, Tensor, _Beam]:
    """The best `beam_width` extensions by one token that do not end; the place (B, W) of each one's parent; the ends.

    The end of a live hypothesis stands at the place of that hypothesis, which is empty where the end is not among the
    best `beam_width` of all extensions. All have the same number of tokens, so no penalty is needed to compare them.
    """
    width = config.beam_width
    allowed = constrain(logits, live.ids.flatten(0, 1), config, eos_id)
    best, token = largest(allowed, min(width + 1, logits.size(1)))  # of each hypothesis: one may be its end
    normaliser, total = log_normaliser(logits), live.log_prob.flatten()
    totals = total[:, None] + (best.float() - normaliser[:, None]).masked_fill(token == eos_id, -torch.inf)
    totals, token = (each.view(len(live.ids), -1) for each in (totals, token))  # (B, W * (width + 1))
    log_prob, index = totals.topk(min(width, totals.size(1)))
    parent = index // best.size(1)
    longer = _Beam(torch.cat([live.places(parent).ids, token.gather(1, index)[..., None]], dim=2), log_prob)

    ends = (total + (allowed[:, eos_id].float() - normaliser)).view_as(live.log_prob)
    all_extensions = torch.cat([log_prob, ends], dim=1)
    last_place = all_extensions.topk(min(width, all_extensions.size(1))).values[:, -1:]
    new_ended = _Beam(F.pad(live.ids, (0, 1), value=eos_id), ends)
    return longer, parent, new_ended.only(ends >= last_place)


def _best_ended(ended: _Beam, new: _Beam, alpha: float) -> _Beam:
    """The best of the kept ended hypotheses and the `new` ones, which are longer by one token; as many as before."""
    ids = torch.cat([F.pad(ended.ids, (0, 1), value=NO_TOKEN), new.ids], dim=1)
    both = _Beam(ids, torch.cat([ended.log_prob, new.log_prob], dim=1))
    return both.places(both.ranking(alpha).topk(ended.log_prob.size(1)).indices)


def _best_end_in_reach(live: _Beam, limits: Tensor, alpha: float) -> Tensor:
    """The bound (B,) on log p / penalty(n) over all ends of live hypotheses; -inf where none lives.

    log p <= 0, so the largest penalty gives the largest quotient. The penalty is monotonic in n: it is largest at the
    last possible end, or, where alpha is negative, at the next.
    """
    ends = torch.stack([torch.full_like(limits, live.ids.size(2) + 1), limits + 1])
    return live.log_prob.amax(1) / length_penalty(ends, alpha).amax(0)
