"""Beam search against enumeration of every sequence, and against a plain beam that never stops early."""

import itertools
import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqlab.config.settings import build
from seqlab.decode.contract import RowSelection
from seqlab.decode.search import Hypothesis, search
from seqlab.decode.settings import DecodeConfig, Method

EOS, BOS = 0, 1
PENALTIES = [-1.0, 0.0, 0.6, 1.0, 2.0]

torch.set_num_threads(1)


class RandomTable:
    """A model without structure: the logits are a fixed pseudo-random function of the source and the whole prefix.

    The state is one number a row, a hash of everything so far.
    """

    def __init__(self, vocab_size: int, scale: float = 2.0, eos_bias: float = 0.0):
        self.frequencies = torch.arange(1, vocab_size + 1, dtype=torch.float64) * 1.618
        self.scale = scale
        self.eos_bias = eos_bias

    def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
        return (source * source_mask).sum(1) + 17

    def start(self, memory: Tensor) -> Tensor:
        return memory

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = (state * 1_103_515 + tokens * 7_919 + 12_345) % 1_000_003
        logits = self.scale * torch.sin(state[:, None] * self.frequencies)
        logits[:, EOS] += self.eos_bias
        return logits.float(), state

    def select_rows(self, state: Tensor, selection: RowSelection) -> Tensor:
        return state[selection.rows]

    def log_probs_after(self, source: int, prefix: tuple[int, ...]) -> list[float]:
        """The plain way: from the start, one row, one token after the other, in double precision."""
        state = self.encode(torch.tensor([[source]]), torch.tensor([[True]]))
        logits = torch.empty(0)
        for token in (BOS, *prefix):
            logits, state = self.step(torch.tensor([token]), state)
        return logits[0].double().log_softmax(0).tolist()


def run(model: RandomTable, sources: list[int], config: DecodeConfig) -> list[list[Hypothesis]]:
    source = torch.tensor(sources)[:, None]
    return search(model, source, torch.ones_like(source, dtype=torch.bool), config, bos_id=BOS, eos_id=EOS)


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    """But for the rounding of scores, which may depend on the number of rows that a kernel is given."""
    for ours, theirs in zip(found, expected, strict=True):
        assert [hypothesis._replace(score=0) for hypothesis in ours] == [h._replace(score=0) for h in theirs]
        assert [hypothesis.score for hypothesis in ours] == pytest.approx([h.score for h in theirs], abs=1e-4)


def forbidden(prefix: tuple[int, ...], vocab_size: int, config: DecodeConfig) -> set[int]:
    n = config.no_repeat_ngram
    banned = set()
    if n:
        seen = {prefix[i : i + n] for i in range(len(prefix) - n + 1)}
        banned = {token for token in range(vocab_size) if (*prefix, token)[-n:] in seen}
    if len(prefix) < config.min_length and len(banned) < vocab_size - 1:
        banned.add(EOS)
    return banned


def ranking(score: float, ids: tuple[int, ...] | list[int], alpha: float) -> float:
    return score / ((5 + len(ids) + 1) / 6) ** alpha


def all_endings(model: RandomTable, source: int, vocab_size: int, config: DecodeConfig) -> dict[tuple[int, ...], float]:
    """Every allowed sequence up to `max_length` that ends, with its log-probability."""
    found: dict[tuple[int, ...], float] = {}
    alive: dict[tuple[int, ...], float] = {(): 0.0}
    while alive:
        prefix, score = alive.popitem()
        log_probs = model.log_probs_after(source, prefix)
        for token in set(range(vocab_size)) - forbidden(prefix, vocab_size, config):
            if token == EOS:
                found[prefix] = score + log_probs[EOS]
            elif len(prefix) < config.max_length:
                alive[(*prefix, token)] = score + log_probs[token]
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    source=st.integers(0, 10_000),
    vocab_size=st.integers(2, 4),
    alpha=st.sampled_from(PENALTIES),
    n_best=st.integers(1, 4),
    max_length=st.integers(1, 3),
    min_length=st.integers(0, 3),
    no_repeat_ngram=st.integers(0, 3),
    scale=st.sampled_from([0.5, 2.0, 6.0]),
)
def test_wide_enough_beam_is_brute_force(
    source: int,
    vocab_size: int,
    alpha: float,
    n_best: int,
    max_length: int,
    min_length: int,
    no_repeat_ngram: int,
    scale: float,
) -> None:
    model = RandomTable(vocab_size, scale)
    config = DecodeConfig(
        method="beam",
        beam_width=max(n_best, vocab_size * (vocab_size - 1) ** max_length),
        length_penalty=alpha,
        n_best=n_best,
        max_length=max_length,
        min_length=min(min_length, max_length),
        no_repeat_ngram=no_repeat_ngram,
    )
    endings = all_endings(model, source, vocab_size, config)
    best = sorted((ranking(score, ids, alpha) for ids, score in endings.items()), reverse=True)[:n_best]

    (hypotheses,) = run(model, [source], config)

    assert all(hypothesis.finished for hypothesis in hypotheses)
    assert len({tuple(hypothesis.ids) for hypothesis in hypotheses}) == len(hypotheses)
    for hypothesis in hypotheses:  # the sequences are allowed ones and carry their own scores
        assert hypothesis.score == pytest.approx(endings[tuple(hypothesis.ids)], abs=1e-4)
    assert [ranking(h.score, h.ids, alpha) for h in hypotheses] == pytest.approx(best, abs=1e-4)

    limits = config.model_dump(include={"max_length", "min_length", "no_repeat_ngram"})
    greedy = run(model, [source], build(DecodeConfig, limits, "test"))[0][0]
    if alpha == 0 and greedy.finished:
        assert hypotheses[0].score >= greedy.score - 1e-4


class Live(NamedTuple):
    score: float
    ids: tuple[int, ...]


def patient_beam(model: RandomTable, source: int, vocab_size: int, config: DecodeConfig) -> list[Hypothesis]:
    """The same beam in plain Python that always goes on to `max_length`: what stopping early must not change."""
    alive, ended, length = [Live(0.0, ())], [], 0
    while True:
        extensions = [
            Live(parent.score + log_probs[token], (*parent.ids, token))
            for parent in alive
            for log_probs in [model.log_probs_after(source, parent.ids)]
            for token in set(range(vocab_size)) - forbidden(parent.ids, vocab_size, config)
        ]
        extensions.sort(reverse=True)
        new = [
            Hypothesis(list(ids[:-1]), score, True) for score, ids in extensions[: config.beam_width] if ids[-1] == EOS
        ]
        ended += new
        if length == config.max_length:
            break
        alive = [live for live in extensions if live.ids[-1] != EOS][: config.beam_width]
        length += 1
    cut = [Hypothesis(list(ids), score, False) for score, ids in alive]
    cut = [hypothesis for hypothesis in cut if hypothesis.ids not in [other.ids for other in new]]
    ended.sort(key=lambda hypothesis: -ranking(hypothesis.score, hypothesis.ids, config.length_penalty))
    return (ended + cut)[: config.n_best]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    sources=st.lists(st.integers(0, 10_000), min_size=1, max_size=4),
    vocab_size=st.integers(3, 8),
    beam_width=st.integers(1, 9),
    alpha=st.sampled_from(PENALTIES),
    max_length=st.integers(1, 8),
    no_repeat_ngram=st.integers(0, 2),
    eos_bias=st.sampled_from([-6.0, -2.0, 0.0, 2.0]),
    data=st.data(),
)
def test_narrow_beam_loses_nothing_by_stopping_early(
    sources: list[int],
    vocab_size: int,
    beam_width: int,
    alpha: float,
    max_length: int,
    no_repeat_ngram: int,
    eos_bias: float,
    data: st.DataObject,
) -> None:
    model = RandomTable(vocab_size, eos_bias=eos_bias)
    config = DecodeConfig(
        method="beam",
        beam_width=beam_width,
        length_penalty=alpha,
        n_best=data.draw(st.integers(1, beam_width)),
        max_length=max_length,
        min_length=data.draw(st.integers(0, max_length)),
        no_repeat_ngram=no_repeat_ngram,
    )
    for source, hypotheses in zip(sources, run(model, sources, config), strict=True):
        expected = patient_beam(model, source, vocab_size, config)
        assert [(h.ids, h.finished) for h in hypotheses] == [(h.ids, h.finished) for h in expected]
        assert [h.score for h in hypotheses] == pytest.approx([h.score for h in expected], abs=1e-4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    sources=st.lists(st.integers(0, 10_000), min_size=1, max_size=9),
    alpha=st.sampled_from([-1.0, 0.0]),
    min_length=st.integers(0, 4),
    no_repeat_ngram=st.integers(0, 2),
    eos_bias=st.sampled_from([-3.0, 0.0, 2.0]),
)
def test_beam_of_one_is_greedy(
    sources: list[int], alpha: float, min_length: int, no_repeat_ngram: int, eos_bias: float
) -> None:
    """A penalty that favours long outputs makes the beam look on behind the end that greedy search takes."""
    model = RandomTable(5, eos_bias=eos_bias)
    limits = {"max_length": 7, "min_length": min_length, "no_repeat_ngram": no_repeat_ngram}
    beam = build(DecodeConfig, {"method": "beam", "beam_width": 1, "length_penalty": alpha, **limits}, "test")
    assert_same(run(model, sources, beam), run(model, sources, build(DecodeConfig, limits, "test")))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    sources=st.lists(st.integers(0, 10_000), min_size=2, max_size=9),
    method=st.sampled_from(["greedy", "beam"]),
    eos_bias=st.sampled_from([-3.0, 0.0, 2.0]),
)
def test_rows_do_not_depend_on_their_batch_mates(sources: list[int], method: Method, eos_bias: float) -> None:
    model = RandomTable(6, eos_bias=eos_bias)
    config = DecodeConfig(method=method, max_length=9, n_best=3 if method == "beam" else 1)
    alone = list(itertools.chain.from_iterable(run(model, [source], config) for source in sources))
    assert_same(run(model, sources, config), alone)


def test_the_brute_force_itself_covers_all_probability() -> None:
    """Sequences that end within the limit, and prefixes that reach it, share all the probability."""
    config = DecodeConfig(max_length=3)
    model = RandomTable(4)
    endings = all_endings(model, 5, 4, config)
    assert len(endings) == 1 + 3 + 9 + 27
    reach_limit = sum(
        math.exp(sum(model.log_probs_after(5, ids[:i])[token] for i, token in enumerate(ids)))
        for ids in itertools.product((1, 2, 3), repeat=3)
    )
    shorter = sum(math.exp(score) for ids, score in endings.items() if len(ids) < 3)
    assert shorter + reach_limit == pytest.approx(1)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    ratio=st.sampled_from([0.25, 0.5, 1.0, 1.75]),
    max_length=st.integers(1, 20),
    alpha=st.sampled_from(PENALTIES),
    width=st.integers(0, 4),
)
def test_a_row_with_its_own_limit_is_as_if_it_were_alone(
    lengths: list[int], ratio: float, max_length: int, alpha: float, width: int
) -> None:
    beam = {"method": "beam", "beam_width": width, "length_penalty": alpha, "n_best": width}
    chosen: dict[str, object] = beam if width else {"method": "greedy"}
    model = RandomTable(5, eos_bias=-2.0)
    source = torch.arange(1, len(lengths) + 1)[:, None].expand(-1, 9)
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    config = build(DecodeConfig, {**chosen, "max_length": max_length, "max_ratio": ratio}, "decode")
    together = search(model, source, mask, config, bos_id=BOS, eos_id=EOS)
    for row, length in enumerate(lengths):
        limit = min(max_length, int(ratio * length) + 10)
        alone = build(DecodeConfig, {**chosen, "max_length": limit}, "decode")
        (expected,) = search(model, source[[row]], mask[[row]], alone, bos_id=BOS, eos_id=EOS)
        assert [found.ids for found in together[row]] == [found.ids for found in expected]
        assert [found.cut for found in together[row]] == [
            len(found.ids) == limit and not found.finished for found in expected
        ]
        assert [found.score for found in together[row]] == pytest.approx([found.score for found in expected], abs=1e-5)
