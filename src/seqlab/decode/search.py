"""One search for every model: greedy search, sampling and beam search, from source ids to the ids of the output.

Shapes: `B` rows, `R` rows still in the batch, `S` source, `V` vocabulary, `W` beam width.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.decode.contract import NO_TOKEN, Decoder, Hypothesis, RowSelection, State
from seqlab.decode.next_token import constrain, draw, log_normaliser
from seqlab.decode.settings import DecodeConfig


@torch.inference_mode()
def search(
    model: Decoder[Any],
    source: Tensor,
    source_mask: Tensor,
    config: DecodeConfig,
    *,
    bos_id: int,
    eos_id: int,
    unk_id: int | None = None,
    references: Sequence[Sequence[int]] | None = None,
    generator: torch.Generator | None = None,
) -> list[list[Hypothesis]]:
    """The outputs for `source` (B, S), whose real ids `source_mask` (B, S, True = takes part) marks, in its order.

    greedy: one hypothesis a row. beam: up to `n_best`, best first; by log p / length penalty, the cut ones last.
    sample: `n_best` independent draws, in the order drawn.

    `references` (ids without end of sequence, one list a row) are for greedy search when only an exact match counts: a
    row is then left, unfinished, at its first token that differs. `generator` is what sampling draws from; it lives on
    the device of the model, and its state after the call depends on the batch.

    Warn where many hypotheses were `cut`. Raises ValueError when the arguments do not fit the method, or the model is
    in training mode (dropout would spoil the output unnoticed).
    """
    _check_arguments(model, source, config, references, generator)
    limits = config.limits(source_mask.sum(1))
    state = model.start(model.encode(source, source_mask))
    first = torch.full((len(source),), bos_id, device=source.device)
    allowed = partial(constrain, config=config, eos_id=eos_id, unk_id=unk_id)
    match config.method:
        case "greedy":
            return [
                [hypothesis]
                for hypothesis in generate_single(model, state, first, limits, allowed, eos_id, references=references)
            ]
        case "beam":
            return beam_search(model, state, first, limits, config, eos_id, allowed)
        case "sample":
            assert generator is not None  # _check_arguments has seen to it
            n = config.n_best
            copies = torch.arange(len(source), device=source.device).repeat_interleave(n)
            state = model.select_rows(state, RowSelection(rows=copies, sources=copies))
            choose = partial(draw, config=config, generator=generator)
            drawn = generate_single(model, state, first[copies], limits[copies], allowed, eos_id, choose)
            return [drawn[start : start + n] for start in range(0, len(drawn), n)]


def _check_arguments(
    model: object,
    source: Tensor,
    config: DecodeConfig,
    references: Sequence[Sequence[int]] | None,
    generator: torch.Generator | None,
) -> None:
    if isinstance(model, nn.Module) and model.training:
        raise ValueError("the model is in training mode: call model.eval() before the search")
    if references is not None and config.method != "greedy":
        raise ValueError(f'references stop greedy search only, not method="{config.method}"')
    if references is not None and len(references) != len(source):
        raise ValueError(f"{len(references)} references for {len(source)} rows of the source")
    if config.method == "sample" and generator is None:
        raise ValueError('method="sample" needs a torch.Generator to draw from')


Allowed = Callable[[Tensor, Tensor], Tensor]
"""Logits (R, V) of what follows prefixes (R, T) -> the same with forbidden ones -inf: `constrain` with its settings."""

Choose = Callable[[Tensor], Tensor]
"""Logits (R, V), forbidden ones -inf -> tokens (R,)."""


def most_probable(logits: Tensor) -> Tensor:
    """The greedy choice (R,) of logits (R, V); the lowest id of equals."""
    return logits.argmax(-1)


def generate_single(
    model: Decoder[State],
    state: State,
    first: Tensor,
    limits: Tensor,
    allowed: Allowed,
    eos_id: int,
    choose: Choose = most_probable,
    references: Sequence[Sequence[int]] | None = None,
) -> list[Hypothesis]:
    """One hypothesis for each of the rows that `first` (B,), their beginning of sequence, starts.

    A row stops at its end of sequence, at as many tokens as `limits` (B,) allows it, or, given `references` (ids
    without end of sequence, when only an exact match counts), at its first token that differs. In the loop, the
    only wait for the device is one per step, for the number of rows that continue.
    """
    longest = int(limits.amax()) if len(limits) else 0
    ids = first.new_full((len(first), longest + 1), NO_TOKEN)
    scores = torch.zeros(len(first), device=first.device)
    expected = None if references is None else _padded(references, ids)
    rows = torch.arange(len(first), device=first.device)  # (R,) the output that each row of the batch writes
    active = torch.ones_like(rows, dtype=torch.bool)  # (R,) False: stopped, but not dropped yet
    tokens = first
    for length in range(longest + 1):
        logits, state = model.step(tokens, state)
        prefix = ids[rows, :length].clamp(min=0)  # stopped rows hold NO_TOKEN, which is no index; they do not matter
        tokens = choose(allowed(logits, prefix))
        is_end = tokens == eos_id
        active = active & (is_end | (length < limits[rows]))  # at the limit there is room for the end only
        ids[rows, length] = tokens.where(active, NO_TOKEN)
        log_probs = logits.gather(1, tokens[:, None]).squeeze(1).float() - log_normaliser(logits)
        scores[rows] += log_probs.where(active, 0.0)

        active = active & ~is_end
        if expected is not None:
            active = active & (tokens == expected[rows, length])
        num_active = int(active.sum())
        if num_active == 0:
            break
        if _dropping_pays(num_active, len(rows)):
            keep = active.nonzero().squeeze(1)
            state = model.select_rows(state, RowSelection(rows=keep, sources=keep))
            rows, tokens, active = rows[keep], tokens[keep], active[keep]
    return [
        _from_padded(row, score, eos_id, limit)
        for row, score, limit in zip(ids.tolist(), scores.tolist(), limits.tolist(), strict=True)
    ]


def _from_padded(ids: list[int], score: float, eos_id: int, limit: int) -> Hypothesis:
    """The hypothesis in one row of an id tensor, `[5, 7, eos, NO_TOKEN, NO_TOKEN]` or `[5, 7, NO_TOKEN, ...]`.

    It may have `limit` tokens.
    """
    emitted = [token for token in ids if token != NO_TOKEN]
    finished = emitted[-1:] == [eos_id]
    return Hypothesis(emitted[:-1] if finished else emitted, score, finished, len(emitted) == limit and not finished)


def _dropping_pays(num_active: int, num_rows: int) -> bool:
    """Copying the state costs about its size; at each halving, all copies together cost less than the first state,
    and a step never works on more than twice the rows it must."""
    return num_active <= num_rows // 2


def _padded(references: Sequence[Sequence[int]], like: Tensor) -> Tensor:
    """The references as a tensor of the shape of `like`; what is too long for it can never match, and is cut."""
    padded = torch.full_like(like, NO_TOKEN)
    for row, reference in enumerate(references):
        wanted = torch.tensor(reference[: like.size(1)], dtype=like.dtype)
        padded[row, : len(wanted)] = wanted
    return padded


BLOCK = 64
"""Entries of the vocabulary that `largest` looks at together."""


def beam_search(
    model: Decoder[State],
    state: State,
    first: Tensor,
    limits: Tensor,
    config: DecodeConfig,
    eos_id: int,
    allowed: Allowed,
) -> list[list[Hypothesis]]:
    """For each row that `first` (B,), its beginning of sequence, starts: up to `n_best` hypotheses, the best first.

    Ended hypotheses come before those cut at as many tokens as `limits` (B,) allows their row. There are fewer than
    `n_best` where the beam found no more.

    Every step extends the `W` live hypotheses of a row by every token. The `W` best extensions that do not end live on.
    Those that end, and are among the `W` best of all, join the ended ones and take no place of a live one. The `n_best`
    best ended ones are kept. Width 1 is greedy search, unless the penalty favours long outputs.

    When is a row done? A sequence of n tokens, its end included, is ranked by log p / penalty(n). A live hypothesis
    with t tokens and log p = s ends at some n from t + 1 to limit + 1, where the limit is that of its row. Another
    token never raises log p, and s <= 0, so that it ends no better than s / (the largest of these penalties). The row
    is done when that bound of the best live hypothesis does not pass the worst of the `n_best` ended ones. No smaller
    bound is certain: all tokens to come may have probability 1. The first end proves nothing: a longer output may
    still win.
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
        longer, parent, new_ended = _extensions(live, logits, config.beam_width, eos_id, allowed)
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


def length_penalty(num_tokens: Tensor | int, alpha: float) -> Any:
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
            [_from_padded(ids, score, eos_id, limit) for ids, score in zip(*row, strict=True) if score != -math.inf]
            for row in rows
        ]


def _extensions(live: _Beam, logits: Tensor, width: int, eos_id: int, allowed: Allowed) -> tuple[_Beam, Tensor, _Beam]:
    """The best `width` extensions by one token that do not end; the place (B, W) of each one's parent; the ends.

    The end of a live hypothesis stands at the place of that hypothesis, which is empty where the end is not among the
    best `width` of all extensions. All have the same number of tokens, so no penalty is needed to compare them.
    """
    possible = allowed(logits, live.ids.flatten(0, 1))
    best, token = largest(possible, min(width + 1, logits.size(1)))  # of each hypothesis: one may be its end
    normaliser, total = log_normaliser(logits), live.log_prob.flatten()
    totals = total[:, None] + (best.float() - normaliser[:, None]).masked_fill(token == eos_id, -torch.inf)
    totals, token = (each.view(len(live.ids), -1) for each in (totals, token))  # (B, W * (width + 1))
    log_prob, index = totals.topk(min(width, totals.size(1)))
    parent = index // best.size(1)
    longer = _Beam(torch.cat([live.places(parent).ids, token.gather(1, index)[..., None]], dim=2), log_prob)

    ends = (total + (possible[:, eos_id].float() - normaliser)).view_as(live.log_prob)
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
