"""What is held out shares no source with what is trained on, and follows from the texts and the seed alone."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.splitting import Pair, fingerprint, split, take_units
from seqlab.errors import UserError

SIZES = {"test": 20, "validation": 10}


def pairs(num_sources: int, translations: int = 3) -> list[Pair]:
    """Every source with several translations, shuffled."""
    found = [
        Pair(Example(f"source {number}", f"target {number}.{other}"), f"source {number}")
        for number in range(num_sources)
        for other in range(translations)
    ]
    Random(0).shuffle(found)
    return found


@given(
    texts=st.lists(st.tuples(*[st.text("ab", min_size=1, max_size=3)] * 3), min_size=30),
    sizes=st.dictionaries(st.sampled_from(["test", "validation"]), st.integers(1, 3)),
    seed=st.integers(-5, 5),
)
def test_no_source_is_in_two_sets(texts: list[tuple[str, str, str]], sizes: dict[str, int], seed: int) -> None:
    numbered = enumerate(texts)
    given_pairs = [Pair(Example(source, f"{target} {n}"), "\0" + group) for n, (source, target, group) in numbered]
    try:
        training, held_out, left_out = split(given_pairs, sizes, seed)
    except UserError:
        return
    sets = [{example.source for example in examples} for examples in (training, *held_out.values())]
    assert sum(map(len, sets)) == len(set().union(*sets))
    assert len(training) + sum(map(len, held_out.values())) + left_out == len(texts)
    assert held_out.keys() == sizes.keys()
    units = {pair.example: pair.unit for pair in given_pairs}
    assert not {units[e] for e in training} & {units[e] for examples in held_out.values() for e in examples}


def test_held_out_sources_come_once_with_their_first_translation() -> None:
    everything = pairs(100)
    training, held_out, left_out = split(everything, SIZES, seed=1)
    assert {name: len(examples) for name, examples in held_out.items()} == SIZES
    assert len(training) == 70 * 3
    assert left_out == 30 * 2
    first = {pair.example.source: pair.example for pair in reversed(everything)}
    assert all(first[example.source] == example for examples in held_out.values() for example in examples)


def test_training_keeps_its_order() -> None:
    everything = [pair.example for pair in pairs(100)]
    training = split(pairs(100), SIZES, seed=1).training
    kept = set(training)
    assert training == [example for example in everything if example in kept]


def test_sets_follow_from_texts_and_seed_alone() -> None:
    shuffled = pairs(100)
    Random(1).shuffle(shuffled)
    sources = [{e.source for e in split(some, SIZES, seed=1).held_out["test"]} for some in (pairs(100), shuffled)]
    assert sources[0] == sources[1] == {e.source for e in split(pairs(100), {"test": 20}, seed=1).held_out["test"]}
    assert sources[0] != {e.source for e in split(pairs(100), SIZES, seed=2).held_out["test"]}


def test_more_sources_move_few_of_those_held_out() -> None:
    before = {e.source for e in split(pairs(1000), {"test": 100}, seed=1).held_out["test"]}
    after = {e.source for e in split(pairs(1100), {"test": 100}, seed=1).held_out["test"]}
    assert len(before & after) > 80


def test_one_in_twenty_but_at_most_a_thousand() -> None:
    assert len(split(pairs(41, 1), {"test": None}, seed=1).held_out["test"]) == 3
    sets = split(pairs(21_000, 1), {"test": None, "validation": None}, seed=1).held_out
    assert [len(examples) for examples in sets.values()] == [1000, 1000]


def test_groups_stay_together() -> None:
    verses = [Pair(Example(f"{chapter}:{verse}", "x"), f"\0{chapter}") for chapter in range(20) for verse in range(7)]
    training, held_out, _ = split(verses, {"test": 10}, seed=1)
    assert len(held_out["test"]) == 14
    assert len(training) == 18 * 7
    assert not {e.source.split(":")[0] for e in training} & {e.source.split(":")[0] for e in held_out["test"]}


def test_a_source_of_two_groups_is_not_trained_on() -> None:
    """A verse that stands in every chapter goes where the first held-out chapter goes."""
    verses = [Pair(Example(verse, "x"), f"\0{chapter}") for chapter in range(9) for verse in ("same", f"{chapter}")]
    training, held_out, left_out = split(verses, {"test": 2, "validation": 2}, seed=1)
    assert [len(held_out["test"]), len(held_out["validation"])] == [2, 1]
    assert len(training) == 7
    assert left_out == 8


def test_units_are_taken_in_order_until_each_set_is_large_enough() -> None:
    queue = {"a": 2, "b": 2, "c": 1, "d": 5, "e": 1}
    assert take_units(queue, [3, 1, 2]) == [["a", "b"], ["c"], ["d"]]
    assert take_units(queue, [6, 9, 1]) == [["a", "b", "c", "d"], ["e"], []]
    assert take_units(queue, [0]) == [[]]


def test_too_few_sources() -> None:
    with pytest.raises(UserError, match="30 distinct sources, too few to hold out 30 of them: lower"):
        split(pairs(30), SIZES, seed=1)


def test_fingerprints_are_the_same_everywhere() -> None:
    """They decide splits, which must not change with a new version of anything."""
    assert fingerprint("A man.", 1) == 7301349651303566736
    assert fingerprint("A man.", 2) == 15548489528307046213
    assert fingerprint("", -1) == 5826056532638970623
