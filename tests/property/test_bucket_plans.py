"""Whatever the lengths and settings: every example once, within the budget, as tightly padded as allowed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.batching.stream import BatchConfig, Bucket, in_order_of_length, plan

lengths = st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=80)
sizes = st.one_of(
    st.fixed_dictionaries({"max_tokens": st.integers(1, 400)}),
    st.fixed_dictionaries({"batch_size": st.integers(1, 20)}),
)
others = st.fixed_dictionaries(
    {
        "order": st.sampled_from(["buckets", "random"]),
        "padding": st.sampled_from(["dynamic", "fixed"]),
        "pad_to_multiple_of": st.sampled_from([1, 3, 8]),
        "shuffle_pool": st.integers(1, 100),
    }
)
seeds = st.integers(0, 2**32 - 1)


def planned(shapes: np.ndarray, settings: dict, seed: int) -> list[Bucket]:
    return plan(shapes, BatchConfig(**settings), np.random.default_rng(seed))


def every_row(buckets: list[Bucket]) -> list[int]:
    return [int(row) for bucket in buckets for row in bucket.rows]


@given(lengths, sizes, others, seeds)
def test_every_example_is_in_exactly_one_batch(pairs: list, size: dict, other: dict, seed: int) -> None:
    shapes = np.array(pairs)
    buckets = planned(shapes, size | other, seed)
    assert sorted(every_row(buckets)) == list(range(len(pairs)))
    assert all(len(bucket.rows) for bucket in buckets)


@given(lengths, sizes, others, seeds)
def test_no_batch_is_over_the_budget_unless_one_example_is(pairs: list, size: dict, other: dict, seed: int) -> None:
    for rows, source_width, target_width in planned(np.array(pairs), size | other, seed):
        if "batch_size" in size:
            assert len(rows) <= size["batch_size"]
        else:
            assert len(rows) == 1 or len(rows) * max(source_width, target_width) <= size["max_tokens"]


@given(lengths, sizes, others, seeds)
def test_widths_are_the_longest_rounded_up(pairs: list, size: dict, other: dict, seed: int) -> None:
    shapes, multiple = np.array(pairs), other["pad_to_multiple_of"]
    for rows, *widths in planned(shapes, size | other, seed):
        longest = shapes.max(axis=0) if other["padding"] == "fixed" else shapes[rows].max(axis=0)
        assert widths == (-(-longest // multiple) * multiple).tolist()


@given(lengths, sizes, others, seeds)
def test_the_same_seed_makes_the_same_plan(pairs: list, size: dict, other: dict, seed: int) -> None:
    first, again = (planned(np.array(pairs), size | other, seed) for _ in range(2))
    assert [(b.rows.tolist(), *b[1:]) for b in first] == [(b.rows.tolist(), *b[1:]) for b in again]


@given(lengths, seeds, st.integers(1, 20))
def test_buckets_never_pad_more_than_a_pool_in_random_order(pairs: list, seed: int, rows: int) -> None:
    """With one pool and batches of as many rows, sorting cannot make the longer sides wider in sum."""
    shapes = np.array(pairs)
    shapes[:, 1] = shapes[:, 0]  # one length an example: with two, a batch sorted by the longer may pad the shorter
    places = {
        order: sum(
            len(bucket.rows) * bucket.source_width
            for bucket in planned(
                shapes, {"batch_size": rows, "order": order, "pad_to_multiple_of": 1, "shuffle_pool": 1000}, seed
            )
        )
        for order in ("buckets", "random")
    }
    full = len(pairs) - len(pairs) % rows
    slack = (len(pairs) - full) * int(shapes.max())  # where the smaller last batch falls is chance
    assert places["buckets"] <= places["random"] + slack


@given(lengths, st.integers(1, 400))
def test_evaluation_sees_every_example_once_longest_first(pairs: list, tokens: int) -> None:
    shapes = np.array(pairs)
    buckets = in_order_of_length(shapes, tokens)
    assert sorted(every_row(buckets)) == list(range(len(pairs)))
    longest = shapes[every_row(buckets)].max(axis=1)
    assert (np.diff(longest) <= 0).all()
    assert all(len(bucket.rows) == 1 or len(bucket.rows) * max(bucket[1:]) <= tokens for bucket in buckets)
