"""Damaging rows: what is lost and what stays, how much of it, and worked examples."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.tasks.pretraining.noising import (
    Damaged,
    SpanCorruption,
    TextInfilling,
    in_spans,
    noised,
    parts,
    permuted,
    poisson_lengths,
    restored,
    span_corruption,
    text_infilling,
)

MASK = 9000
SENTINELS = np.arange(9000, 9100)
"""A token of a test row is its own place, so that a row tells where its tokens come from."""


class Chosen:
    """In place of a generator: gives out what a worked example needs, in its order."""

    def __init__(self, *drawn: list[int]) -> None:
        self.drawn = [np.array(values) for values in drawn]

    def permutation(self, number: int) -> np.ndarray:
        return self.drawn.pop(0)

    poisson = choice = lambda self, *_, **__: self.drawn.pop(0)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def starts_of(tokens: int, seed: int) -> np.ndarray:
    """Some sentences."""
    drawn = generator(seed).integers(1, tokens, size=3) if tokens > 1 else []
    return np.unique(np.append(0, drawn).astype(np.int64))


rows = st.integers(1, 150)
seeds = st.integers(0, 10_000)
shares = st.floats(0.01, 0.99)


def test_infilling_worked_by_hand() -> None:
    """The second sentence comes first; spans of 2, 0 and 3 tokens, the last of them cut to 1, then shuffled."""
    drawn = Chosen([1, 0], [0, 2, 3, 5], [1, 0, 2], [0, 4, 6])
    noise = TextInfilling(share=0.43)
    found = text_infilling(np.arange(10, 17), np.array([0, 3]), noise, MASK, drawn)  # type: ignore[arg-type]
    # shuffled: 13 14 15 16 10 11 12; 4 visible tokens and 3 masks share 7 places, masks at 0, 4 and 6
    assert found.source.tolist() == [MASK, 15, 16, 10, MASK, 11, MASK]
    assert found.target.tolist() == [10, 11, 12, 13, 14, 15, 16]
    assert found.hidden.tolist() == [False, False, True, True, True, False, False]
    assert drawn.drawn == []


def test_infilling_without_shuffling_worked_by_hand() -> None:
    found = text_infilling(
        np.arange(6),
        np.array([0, 2]),
        TextInfilling(share=0.5, permute_sentences=False),
        MASK,
        Chosen([3], [0], [1]),  # type: ignore[arg-type]
    )
    assert found.source.tolist() == [0, MASK, 4, 5]
    assert found.target.tolist() == list(range(6))
    assert found.hidden.tolist() == [False, True, True, True, False, False]


def test_corruption_worked_by_hand() -> None:
    """The sentence of figure 2 of the paper: Thank you <X> me to your party <Y> week."""
    ids = np.arange(len(["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]))
    # 3 tokens in 2 spans: 2 + 1; gaps of 2, 4 and 2 tokens: of 10 with one more at either end, cut behind 3 and 7
    drawn = Chosen([1], [2, 6])
    found = span_corruption(ids, SpanCorruption(share=0.27, mean_span=1.5), SENTINELS, drawn)  # type: ignore[arg-type]
    assert found.source.tolist() == [0, 1, 9000, 4, 5, 6, 7, 9001, 9, 10]
    assert found.target.tolist() == [9000, 2, 3, 9001, 8, 9002]
    assert found.hidden.tolist() == [False, True, True, False, True, False]
    assert restored(found.source, found.target, SENTINELS.tolist()) == ids.tolist()


@given(rows, seeds, shares, st.floats(1.0, 10.0))
def test_a_corrupted_row_can_be_put_together_again(tokens: int, seed: int, share: float, mean: float) -> None:
    noise = SpanCorruption(share=share, mean_span=mean)
    found = span_corruption(np.arange(tokens), noise, SENTINELS, generator(seed))
    assert restored(found.source.tolist(), found.target.tolist(), SENTINELS.tolist()) == list(range(tokens))
    spans = int((found.source >= 9000).sum())
    assert found.source[found.source >= 9000].tolist() == SENTINELS[:spans].tolist()
    assert found.target[found.target >= 9000].tolist() == SENTINELS[: spans + 1].tolist()
    assert (found.target[[0, -1]] >= 9000).all()
    assert np.array_equal(found.hidden, found.target < 9000)
    assert found.hidden.sum() == noised(tokens, share)
    marks = np.flatnonzero(found.source >= 9000)
    assert (np.diff(marks) > 1).all()  # a token stands between two spans
    assert (np.diff(np.flatnonzero(~found.hidden)) > 1).all()  # no span is empty


@given(rows, seeds, shares, st.floats(0.2, 10.0), st.booleans())
def test_infilling_keeps_what_it_does_not_mask(tokens: int, seed: int, share: float, mean: float, move: bool) -> None:
    noise = TextInfilling(share=share, mean_span=mean, permute_sentences=move)
    starts = starts_of(tokens, seed)
    found = text_infilling(np.arange(tokens), starts, noise, MASK, generator(seed))
    assert found.target.tolist() == list(range(tokens))
    assert found.hidden.sum() == noised(tokens, share)
    visible = found.source[found.source != MASK]
    assert sorted(visible.tolist()) == np.flatnonzero(~found.hidden).tolist()
    sentence = np.searchsorted(starts, visible, side="right")
    for number in np.unique(sentence):
        assert (np.diff(visible[sentence == number]) > 0).all()  # in order inside a sentence
    assert len(np.flatnonzero(np.diff(sentence))) < len(starts)  # and sentences stay in one piece
    if not move:
        assert (np.diff(visible) > 0).all()
    assert len(found.source) <= tokens
    assert (found.source == MASK).any()


@given(rows, seeds)
def test_permutation_keeps_the_sentences(tokens: int, seed: int) -> None:
    starts = starts_of(tokens, seed)
    order = permuted(starts, tokens, generator(seed))
    borders = np.flatnonzero(np.isin(order, starts))
    found = Counter(tuple(part) for part in np.split(order, borders[1:]))
    assert found == Counter(tuple(part) for part in np.split(np.arange(tokens), starts[1:]))


def test_all_orders_of_sentences_are_equally_likely() -> None:
    draws = generator(1)
    found = Counter(tuple(permuted(np.array([0, 1, 2]), 3, draws)) for _ in range(6000))
    assert len(found) == 6
    assert max(abs(count / 6000 - 1 / 6) for count in found.values()) < 0.02


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_the_share_of_noised_tokens_is_the_asked_one(share: float) -> None:
    lengths = range(20, 130, 7)
    draws = generator(2)
    for damage in (
        lambda ids: text_infilling(ids, np.array([0]), TextInfilling(share=share), MASK, draws),
        lambda ids: span_corruption(ids, SpanCorruption(share=share), SENTINELS, draws),
    ):
        found = [damage(np.arange(tokens)) for tokens in lengths for _ in range(20)]
        hidden = sum(int(row.hidden.sum()) for row in found)
        assert hidden / (20 * sum(lengths)) == pytest.approx(share, abs=0.01)


def test_tokens_are_hidden_equally_often() -> None:
    draws = generator(3)
    for damage in (
        lambda: text_infilling(np.arange(20), np.array([0]), TextInfilling(), MASK, draws),
        lambda: span_corruption(np.arange(20), SpanCorruption(share=0.3), SENTINELS, draws),
    ):
        counts = np.zeros(20)
        for _ in range(4000):
            found = damage()
            counts[found.target[found.hidden]] += 1
        inner = counts[3:-3] / 4000  # spans of several tokens reach the ends of a row less often
        assert inner == pytest.approx(inner.mean(), abs=0.03)
        assert counts.sum() / 4000 == 6


def test_spans_of_infilling_are_of_poisson_lengths() -> None:
    lengths = poisson_lengths(60_000, 3.0, generator(4))
    assert lengths.sum() == 60_000
    assert lengths.mean() == pytest.approx(3.0, abs=0.05)
    assert lengths.var() == pytest.approx(3.0, abs=0.1)
    probability = np.exp(-3.0)
    for length in range(8):
        assert (lengths == length).mean() == pytest.approx(probability, abs=0.01)
        probability *= 3.0 / (length + 1)


def test_spans_of_corruption_are_of_the_mean_length() -> None:
    draws = generator(5)
    found = [span_corruption(np.arange(200), SpanCorruption(), SENTINELS, draws) for _ in range(50)]
    assert np.mean([row.hidden.sum() / (row.source >= 9000).sum() for row in found]) == pytest.approx(3.0)


@given(st.integers(1, 60), st.floats(0.1, 5.0), seeds)
def test_lengths_add_up_and_are_not_too_many(total: int, mean: float, seed: int) -> None:
    lengths = poisson_lengths(total, mean, generator(seed))
    assert lengths.sum() == total
    assert len(lengths) <= total
    assert (lengths >= 0).all()


def test_all_ways_to_part_a_number_are_equally_likely() -> None:
    draws = generator(6)
    found = Counter(tuple(parts(5, 3, draws)) for _ in range(6000))
    assert set(found) == {(1, 1, 3), (1, 3, 1), (3, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1)}
    assert max(abs(count / 6000 - 1 / 6) for count in found.values()) < 0.02


def test_spans_stand_between_their_gaps() -> None:
    assert in_spans(np.array([1, 0, 2]), np.array([2, 1])).tolist() == [False, True, True, True, False, False]


def test_a_row_of_one_token_is_hidden_whole() -> None:
    infilled = text_infilling(np.array([7]), np.array([0]), TextInfilling(), MASK, generator(1))
    assert (infilled.source.tolist(), infilled.target.tolist()) == ([MASK], [7])
    corrupted = span_corruption(np.array([7]), SpanCorruption(), SENTINELS, generator(1))
    assert (corrupted.source.tolist(), corrupted.target.tolist()) == ([9000], [9000, 7, 9001])


@pytest.mark.parametrize("seed", range(20))
def test_rows_shorter_than_a_span_lose_their_share_and_no_more(seed: int) -> None:
    for found in (
        text_infilling(np.arange(2), np.array([0]), TextInfilling(mean_span=50.0), MASK, generator(seed)),
        span_corruption(np.arange(2), SpanCorruption(mean_span=50.0), SENTINELS, generator(seed)),
    ):
        assert found.hidden.sum() == 1
        assert len(found.source) == 2


def test_the_same_generator_damages_alike() -> None:
    def both(seed: int) -> list[Damaged]:
        draws, ids = generator(seed), np.arange(90)
        infilled = text_infilling(ids, np.array([0, 30, 70]), TextInfilling(), MASK, draws)
        return [infilled, span_corruption(ids, SpanCorruption(), SENTINELS, draws)]

    for one, other, third in zip(both(1), both(1), both(2), strict=True):
        assert np.array_equal(one.source, other.source)
        assert np.array_equal(one.target, other.target)
        assert not np.array_equal(one.source, third.source)


def test_there_are_no_more_spans_than_sentinels() -> None:
    found = span_corruption(np.arange(500), SpanCorruption(share=0.5, mean_span=1), SENTINELS[:9], generator(1))
    assert (found.source >= 9000).sum() == 8
    assert found.hidden.sum() == 250


def test_what_is_written_without_a_place_is_left_out() -> None:
    sentinels = [90, 91, 92]
    assert restored([1, 90, 2, 91, 3], [5, 91, 8, 9, 92, 7], sentinels) == [1, 2, 8, 9, 3]
    assert restored([1, 90], [90, 4, 90, 5], sentinels) == [1, 4, 5]
