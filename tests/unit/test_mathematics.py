"""Drawn problems are right, keep to their entropy, and depend on nothing but their seed; so do the sets of a run."""

import gzip
import lzma
import math
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.config.settings import build, to_toml
from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.mathematics import Mathematics, MathematicsData
from seqlab.data.synthetic import questions
from seqlab.data.synthetic.questions import ENTROPIES, MODULES, SPLITS, alphabet, draw
from seqlab.errors import UserError

deterministic = settings(deadline=None, derandomize=True, max_examples=200)
seeds = st.integers(0, 2**32)
entropies = st.floats(3, 12)

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d*[1-9]|/[1-9]\d*)?")
PLACES = {
    "units": 0,
    "tens": 1,
    "hundreds": 2,
    "thousands": 3,
    "ten thousands": 4,
    "hundred thousands": 5,
    "millions": 6,
    "ten millions": 7,
    "hundred millions": 8,
    "billions": 9,
    "ten billions": 10,
    "hundred billions": 11,
    "trillions": 12,
}


# ------------------------------------------------------------------------------------------------ independent solvers


def check_linear_1d(example: Example) -> None:
    """Exactly the answer solves the equation, which is written as it should be."""
    found = re.fullmatch(r"Solve (.+) = (.+) for ([a-df-z])\.", example.source)
    assert found is not None
    left, right, variable = found.groups()
    for side in (left, right):
        term = rf"(\d+|(\d+\*)?{variable})"
        assert re.fullmatch(rf"-?{term}( [-+] {term})*", side)
        assert not re.search(rf"(?<!\d)(1\*|0\d)|\d {variable}", side)
        assert re.fullmatch(r"[^a-z]*", re.sub(rf".*{variable}", "", side))  # constants come last
    # The sides are linear: their difference at two points gives slope and intercept.
    at = [eval(f"({left}) - ({right})", {variable: point}) for point in (0, 1)]
    slope, intercept = at[1] - at[0], at[0]
    assert slope != 0
    assert Fraction(-intercept, slope) == int(example.target)
    assert str(int(example.target)) == example.target


def check_sort(example: Example) -> None:
    """The answer holds the numbers of the question in the order asked for, strictly."""
    found = re.fullmatch(r"(?:Sort|Put) (.+?)(?: in (\w+) order)?\.", example.source)
    assert found is not None
    listed, answer = found[1].split(", "), example.target.split(", ")
    assert all(NUMBER.fullmatch(text) for text in listed)
    assert all(str(Fraction(text)) == text for text in listed if "." not in text)  # fractions in lowest terms
    assert sorted(listed) == sorted(answer)
    values = [Fraction(text) for text in answer]
    assert found[2] in ("ascending", "increasing", "descending", "decreasing", None)
    if found[2] in ("descending", "decreasing"):
        values.reverse()
    assert all(low < high for low, high in pairwise(values))


def check_place_value(example: Example) -> None:
    """The answer stands at the place; the top digit is never 0."""
    found = re.fullmatch(r"What is the ([a-z ]+) digit of ([1-9]\d*)\?", example.source)
    assert found is not None
    place, digits = PLACES[found[1]], found[2]
    assert digits[len(digits) - 1 - place] == example.target
    assert place < len(digits)
    assert example.target != "0" or place < len(digits) - 1


CHECKS = {
    "algebra__linear_1d": check_linear_1d,
    "comparison__sort": check_sort,
    "numbers__place_value": check_place_value,
}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("module", MODULES)
def test_every_answer_is_right(module, split):
    for example in draw(module, split, 1000, seed=7):
        CHECKS[module](example)


@deterministic
@given(seeds, entropies)
def test_answers_are_right_at_any_entropy(seed, entropy):
    check_linear_1d(questions.linear_1d(Random(seed), entropy))
    check_sort(questions.sort(Random(seed), entropy))
    check_place_value(questions.place_value(Random(seed), entropy))


@deterministic
@given(seeds, st.floats(1, 12), st.floats(1, 12))
def test_numbers_compare_as_their_exact_values(seed, first, second):
    rng = Random(seed)
    left, right = questions.mixed_number(rng, first), questions.mixed_number(rng, second)
    exact = Fraction(left.text), Fraction(right.text)
    assert (left.value < right.value) == (exact[0] < exact[1])
    assert (left.value == right.value) == (exact[0] == exact[1])


def test_equal_numbers_never_stand_in_one_list():
    assert questions.Number(1 / 2, "1/2").value == questions.Number(5 / 10, "0.5").value
    for seed in range(2000):
        numbers = questions.distinct_numbers(Random(seed), 3.0, 4, only_integers=seed % 2 == 0)
        assert len({Fraction(number.text) for number in numbers}) == 4


@pytest.mark.parametrize("coin", [True, False])
def test_equations_are_written_as_in_the_original(monkeypatch, coin):
    monkeypatch.setattr(questions, "coin", lambda rng: coin)
    monomials = [(0, "*v"), (-1, "*v"), (1, "*v"), (-3, "*v"), (0, ""), (-1, ""), (5, "")]
    written = questions.equation(Random(0), monomials)
    assert written == ("0*v - v + v - 3*v + 0 - 1 + 5 = 0" if coin else "0 = -0*v + v - v + 3*v - 0 + 1 - 5")


# --------------------------------------------------------------------------------------------------- entropy and form


@pytest.mark.parametrize("split", SPLITS)
def test_place_value_numbers_fill_the_range_of_their_entropy(split):
    low, high = ENTROPIES[split]
    numbers = np.array([int(e.source[:-1].split()[-1]) for e in draw("numbers__place_value", split, 20_000, seed=3)])
    assert numbers.min() >= 1
    assert numbers.max() <= 10**high + 2
    assert numbers.max() > 0.9 * 10**high
    # E[n] = E[(10^E + 2) / 2], and the mean of 10^E for uniform E is (10^high - 10^low) / ((high - low) ln 10)
    power = 10**low if low == high else (10**high - 10**low) / ((high - low) * math.log(10))
    assert numbers.mean() == pytest.approx((power + 2) / 2, rel=0.03)


@pytest.mark.parametrize(("split", "counts"), [("train-easy", {3, 4, 5}), ("train-medium", {3, 4, 5, 6})])
def test_sort_lists_grow_with_entropy(split, counts):
    assert {e.target.count(",") + 1 for e in draw("comparison__sort", split, 3000, seed=3)} == counts


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("module", MODULES)
def test_lengths_are_within_the_limits(module, split):
    examples = draw(module, split, 2000, seed=5)
    assert max(len(e.source) for e in examples) <= 160
    assert max(len(e.target) for e in examples) <= 30


def test_the_length_filter_throws_long_problems_away():
    rng = Random(1)
    long = sum(len(questions.sort(rng, 8).target) > 30 for _ in range(5000))
    assert 0.07 < long / 5000 < 0.13  # 10 % of interpolate, says the description of the original


@pytest.mark.parametrize("module", MODULES)
def test_the_alphabet_is_what_can_be_drawn(module):
    examples = [example for split in SPLITS for example in draw(module, split, 4000, seed=2)]
    sources, targets = alphabet(module)
    assert sources == set().union(*(e.source for e in examples))
    assert targets == set().union(*(e.target for e in examples))


@deterministic
@given(seeds, st.integers(-(10**6), 10**6), st.integers(1, 8), st.floats(0, 8))
def test_a_split_integer_sums_to_itself(seed, value, count, entropy):
    terms = questions.split_integer(Random(seed), value, count, entropy)
    assert len(terms) == count
    assert sum(terms) == value


@deterministic
@given(seeds, st.floats(0, 12), st.integers(0, 2))
def test_signed_integers_keep_their_bounds(seed, entropy, min_abs):
    value = questions.signed_integer(Random(seed), entropy, min_abs)
    assert min_abs <= abs(value) <= math.ceil((10**entropy + min_abs) / 2)


def test_signed_integers_are_uniform_with_both_ends():
    rng = Random(0)
    values = [questions.signed_integer(rng, 1.0) for _ in range(22_000)]
    counts = np.bincount(np.array(values) + 5, minlength=11)
    assert len(counts) == 11
    assert ((counts - 2000) ** 2 / 2000).sum() < 29.6  # chi-squared, 10 degrees of freedom: 0.1 %


def test_unsigned_integers_are_uniform_over_those_coprime():
    rng = Random(0)
    values = [questions.unsigned_integer(rng, 1.0, min_abs=2, coprime_to=6) for _ in range(13_000)]
    allowed = [v for v in range(2, 38) if math.gcd(v, 6) == 1]  # up to ceil(12 / (1/2 * 2/3) + 1) = 37
    assert sorted(set(values)) == allowed
    counts = np.bincount(values)[allowed]
    expected = 13_000 / len(allowed)
    assert ((counts - expected) ** 2 / expected).sum() < 31.3  # chi-squared, 11 degrees of freedom: 0.1 %


def test_coprime_density_counts_coprime_numbers():
    for number in range(2, 400):
        coprime = sum(math.gcd(number, other) == 1 for other in range(number))
        assert questions.coprime_density(number) == pytest.approx(coprime / number)


def test_beta_has_the_mean_of_the_distribution_and_its_edges():
    rng = Random(0)
    assert questions.beta(rng, 0, 3) == 0
    assert questions.beta(rng, 3, 0) == pytest.approx(1)
    draws = np.array([questions.beta(rng, 1, 3) for _ in range(20_000)])
    assert draws.mean() == pytest.approx(1 / 4, abs=0.01)
    assert draws.var() == pytest.approx(3 / 80, abs=0.002)


# --------------------------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("module", MODULES)
def test_draws_are_a_pure_function_of_their_arguments(module):
    first = draw(module, "train-hard", 50, seed=11)
    assert draw(module, "train-easy", 5, seed=11) != first[:5]
    assert draw(module, "train-hard", 20, seed=11) == first[:20]


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("algebra__linear_1d", "Solve -69040 = 5146*s - 831*s for s.", "-16"),
        ("comparison__sort", "Put -4, 6, 0, 139, -19, 5 in descending order.", "139, 6, 5, 0, -4, -19"),
        ("numbers__place_value", "What is the thousands digit of 95475520?", "5"),
    ],
)
def test_the_draws_of_a_seed_never_change(module, source, target):
    assert draw(module, "interpolate", 1, seed=1) == [Example(source, target)]


@pytest.mark.parametrize("module", MODULES)
def test_neighbouring_seeds_are_independent(module):
    lengths = [[len(e.source) for e in draw(module, "train-medium", 4000, seed)] for seed in (0, 1, 2)]
    correlation = np.asarray(np.corrcoef(lengths))
    assert np.abs(correlation[np.triu_indices(3, k=1)]).max() < 0.06  # 0.052 is the 0.1 % limit
    questions = [{e.source for e in draw(module, "train-hard", 2000, seed)} for seed in (0, 1)]
    assert len(questions[0] & questions[1]) < 10


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UserError, match='unknown module "comparison_sort"; did you mean "comparison__sort"'):
        draw("comparison_sort", "train-easy", 1, 1)
    with pytest.raises(UserError, match='unknown split "interpolat"; did you mean "interpolate"'):
        draw("comparison__sort", "interpolat", 1, 1)


# ------------------------------------------------------------------------------------------------- the data set, drawn


def drawn(**changes: object) -> Mathematics:
    tree = {"module": "comparison__sort", "epoch_size": 301, "validation_size": 40, "test_size": 60, **changes}
    return Mathematics(build(MathematicsData, tree, "test"))


def test_an_epoch_is_a_pure_function_of_seed_and_number():
    first, second = drawn(), drawn()
    assert len(first.training(3)) == 301
    second.training(5)
    assert second.training(3) == first.training(3)
    assert first.training(4) != first.training(3)
    assert drawn(seed=2).training(3) != first.training(3)
    assert drawn(seed=2).test() != first.test()


def test_the_splits_take_turns_in_an_epoch():
    data = drawn(epoch_size=9)
    parts = data.splits()
    easy, medium, hard = (parts[name] for name in data.config.train)
    assert data.training(0) == [e for turn in zip(easy, medium, hard, strict=True) for e in turn]
    assert list(parts) == ["train-easy", "train-medium", "train-hard", "validation", "test"]
    assert (parts["validation"], parts["test"]) == (data.validation(), data.test())


def test_no_question_stands_in_two_sets():
    # Easy questions on all sides, so that chance alone would repeat many of them.
    data = drawn(module="numbers__place_value", train=["train-easy"], validation="train-easy", test="train-easy",
                 epoch_size=20_000, validation_size=3000, test_size=3000)  # fmt: skip
    training, validation, test = (
        [e.source for e in examples] for examples in (data.training(0), data.validation(), data.test())
    )
    assert len(set(training)) < len(training)
    assert len(set(validation)) == len(validation) == 3000
    assert len(set(test)) == len(test) == 3000
    assert set(training).isdisjoint(validation)
    assert set(training).isdisjoint(test)
    assert set(validation).isdisjoint(test)


def test_the_alphabet_of_drawn_data_is_known_beforehand():
    assert drawn().alphabet() == alphabet("comparison__sort")


# --------------------------------------------------------------------------------------------- the data set, from files


@pytest.fixture
def release(tmp_path) -> Path:
    """A small published release, in all three forms of a file."""
    forms = {"train-easy": ("", bytes), "train-hard": (".gz", gzip.compress), "interpolate": (".xz", lzma.compress)}
    for number, (split, (suffix, compress)) in enumerate(forms.items()):
        (tmp_path / split).mkdir()
        text = "".join(f"{e.source}\n{e.target}\n" for e in draw("comparison__sort", split, 50, seed=number))
        (tmp_path / split / f"comparison__sort.txt{suffix}").write_bytes(compress(text.encode()))
    return tmp_path


def published(folder: Path, **changes: object) -> Mathematics:
    return drawn(**{"folder": folder, "train": ["train-easy", "train-hard"], "validation_size": 20, "test_size": 30,
                    **changes})  # fmt: skip


def test_published_files_are_read(release):
    data = published(release)
    easy, hard = draw("comparison__sort", "train-easy", 50, 0), draw("comparison__sort", "train-hard", 50, 1)
    held_out = draw("comparison__sort", "interpolate", 50, 2)
    assert data.training(0) == data.training(1) == easy + hard
    assert (data.validation(), data.test()) == (held_out[:20], held_out[20:])
    assert data.splits() == {"train-easy": easy, "train-hard": hard, "validation": held_out[:20], "test": held_out[20:]}
    assert data.alphabet()[0] == set("".join(e.source for e in easy + hard))
    assert data.alphabet()[1] == set("".join(e.target for e in easy + hard))


def test_validation_and_test_of_two_published_splits_each_start_at_the_front(release):
    data = published(release, train=["train-easy"], validation="train-hard")
    assert data.validation() == draw("comparison__sort", "train-hard", 20, 1)
    assert data.test() == draw("comparison__sort", "interpolate", 30, 2)


def test_a_missing_published_file_is_named_at_once(release):
    missing = re.escape(
        f"{release / 'train-medium' / 'comparison__sort.txt'}: no such file (nor with .gz or .xz or .zst)"
    )
    with pytest.raises(UserError, match=missing):
        published(release, train=["train-medium"]).check_files()


def test_a_published_file_that_is_too_short(release):
    with pytest.raises(UserError, match="holds 50 questions, but validation_size \\+ test_size asks for 80: lower it"):
        published(release, test_size=60).test()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"module": "comparison_sort"}, 'module is "comparison_sort", .*did you mean "comparison__sort"'),
        ({"test": "interpolat"}, 'test is "interpolat", .*did you mean "interpolate"'),
        ({"train": ["train-easy", "train-easy"]}, "train names train-easy twice"),
        ({"train": []}, "train: "),
        ({"folder": "x", "test": "train-hard"}, "test is train-hard, which is also trained on"),
        ({"test_size": 0}, "test_size: "),
    ],
)
def test_wrong_settings(changes, message):
    with pytest.raises(UserError, match=message):
        drawn(**changes)


def test_the_config_survives_a_file_and_documents_itself(release):
    config = published(release).config
    assert "comparison__sort" in to_toml(config)
    assert MathematicsData.model_validate_json(config.model_dump_json()) == config
    assert all(field.description for field in MathematicsData.model_fields.values())
