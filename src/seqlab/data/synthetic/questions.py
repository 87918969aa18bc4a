"""Mathematics questions, drawn at random.

A generator of three modules of the DeepMind Mathematics data set (Saxton et al. 2019, arXiv:1904.01557). It draws from
the distribution of the original; how near it comes is tested in `tests/parity/test_mathematics_distribution.py`.

The entropy of a problem is log10 of the number of possibilities that it is drawn from: 8 means one in 10^8. Every draw
is made from `Random.random()` alone, the one method whose sequence Python promises never to change.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from math import ceil, gcd, log, log10
from random import Random
from typing import Literal, NamedTuple, TypeVar, get_args

from seqlab.data.corpora.corpus import Example
from seqlab.errors import UserError, nearest

Module = Literal["algebra__linear_1d", "comparison__sort", "numbers__place_value"]
Split = Literal["train-easy", "train-medium", "train-hard", "interpolate", "extrapolate"]

MODULES: tuple[str, ...] = get_args(Module)
SPLITS: tuple[str, ...] = get_args(Split)

# The entropy of a problem is uniform in this range. The training splits are thirds of 3 .. 10.
ENTROPIES: dict[str, tuple[float, float]] = {
    "train-easy": (3, 3 + 7 / 3),
    "train-medium": (3 + 7 / 3, 10 - 7 / 3),
    "train-hard": (10 - 7 / 3, 10),
    "interpolate": (8, 8),
    "extrapolate": (12, 12),
}

# Longer problems are drawn again. Only comparison__sort meets the limit: 1 % of medium, 10 % of hard problems.
MAX_QUESTION_LENGTH = 160
MAX_ANSWER_LENGTH = 30

Item = TypeVar("Item")


def draw(module: str, split: str, count: int, seed: int) -> list[Example]:
    """`count` examples: a pure function of its arguments, independent for distinct seeds.

    Raises UserError for an unknown module or split.
    """
    return list(islice(questions(module, split, seed), count))


def questions(module: str, split: str, seed: int) -> Iterator[Example]:
    """Examples without end, of which `draw` gives the first. Raises UserError as `draw` does, before the first."""
    if module not in MODULES:
        raise UserError(f'unknown module "{module}"{nearest(module, MODULES)} (known: {", ".join(MODULES)})')
    if split not in SPLITS:
        raise UserError(f'unknown split "{split}"{nearest(split, SPLITS)} (known: {", ".join(SPLITS)})')
    # Python hashes a text seed with SHA-512, so that neighbouring seeds share nothing.
    return _problems(module, ENTROPIES[split], Random(f"{module}/{split}/{seed}"))


def _problems(module: str, entropies: tuple[float, float], rng: Random) -> Iterator[Example]:
    match module:
        case "algebra__linear_1d":
            problem = linear_1d
        case "comparison__sort":
            problem = sort
        case _:
            problem = place_value
    low, high = entropies
    while True:
        example = problem(rng, low + (high - low) * rng.random())
        if len(example.source) <= MAX_QUESTION_LENGTH and len(example.target) <= MAX_ANSWER_LENGTH:
            yield example


def alphabet(module: str) -> tuple[set[str], set[str]]:
    """Every character that the generator can print in the questions and in the answers of a module."""
    digits = "0123456789"
    match module:
        case "algebra__linear_1d":
            return {*"Solve  = 0 for .", *digits, *"+-*", *VARIABLES}, {*digits, "-"}
        case "comparison__sort":
            words = {*"Sort Put in order.", *"ascending increasing descending decreasing"}
            numbers = {*digits, *"-./", *", "}
            return words | numbers, numbers
        case _:
            return {*"What is the digit of ?", *"".join(PLACES), *digits}, {*digits}


# ---------------------------------------------------------------------------------------------------------------------
# numbers__place_value
# ---------------------------------------------------------------------------------------------------------------------

# To trillions: the extrapolate split ends at 10^12 + 1.
LARGE = ("thousands", "millions", "billions", "trillions")
PLACES = ["units", "tens", "hundreds", *(prefix + name for name in LARGE for prefix in ("", "ten ", "hundred "))]


def place_value(rng: Random, entropy: float) -> Example:
    """`What is the tens digit of 2459?` -> `5`."""
    digits = str(unsigned_integer(rng, entropy, min_abs=1))
    place = below(rng, len(digits))
    return Example(f"What is the {PLACES[place]} digit of {digits}?", digits[-1 - place])


# ---------------------------------------------------------------------------------------------------------------------
# comparison__sort
# ---------------------------------------------------------------------------------------------------------------------


class Number(NamedTuple):
    """A number as it is compared and as it is written."""

    # Exact for comparing: Python rounds the quotient p/q of integers correctly, so equal numbers give equal floats;
    # unequal ones differ by at least 1/(q1 p2) > 1e-15 of their size at entropies up to 12, which a float resolves.
    value: float
    text: str


def sort(rng: Random, entropy: float) -> Example:
    """`Sort 4.24, 1/5, -4, -0.2 in decreasing order.` -> `4.24, 1/5, -0.2, -4`."""
    only_integers = coin(rng)
    count = 3 + below(rng, 1 + int(entropy / 2))
    numbers = distinct_numbers(rng, entropy, count, only_integers)
    ascending = coin(rng)
    listed = ", ".join([number.text for number in numbers])
    numbers.sort(key=lambda number: number.value, reverse=not ascending)
    return Example(sort_question(rng, listed, ascending), ", ".join([number.text for number in numbers]))


def distinct_numbers(rng: Random, entropy: float, count: int, only_integers: bool) -> list[Number]:
    """`count` numbers, no two of equal value (0.5 = 1/2), that share the entropy at random, each at least 1."""
    number = integer_number if only_integers else mixed_number
    while True:
        numbers = [number(rng, max(1.0, entropy * share)) for share in random_shares(rng, count)]
        if len({number.value for number in numbers}) == count:
            return numbers


def sort_question(rng: Random, listed: str, ascending: bool) -> str:
    """One of the templates; only the ascending order may go unsaid."""
    direction = choice(rng, ("ascending", "increasing") if ascending else ("descending", "decreasing"))
    match below(rng, 3 if ascending else 2):
        case 0:
            return f"Sort {listed} in {direction} order."
        case 1:
            return f"Put {listed} in {direction} order."
        case _:
            return f"Sort {listed}."


def mixed_number(rng: Random, entropy: float) -> Number:
    """An integer half of the time, else a decimal or a fraction."""
    match below(rng, 4):
        case 0:
            return decimal_number(rng, entropy)
        case 1:
            return rational_number(rng, entropy)
        case _:
            return integer_number(rng, entropy)


def integer_number(rng: Random, entropy: float) -> Number:
    """`-32`."""
    value = signed_integer(rng, entropy)
    return Number(value, str(value))


def decimal_number(rng: Random, entropy: float) -> Number:
    """`-0.06`: a true decimal, without trailing zeros."""
    while True:
        scaled = signed_integer(rng, entropy)
        places = 1 + below(rng, ceil(entropy))
        if scaled % 10**places:
            break
    digits = str(abs(scaled)).zfill(places + 1)
    sign = "-" if scaled < 0 else ""
    return Number(scaled / 10**places, f"{sign}{digits[:-places]}.{digits[-places:].rstrip('0')}")


def rational_number(rng: Random, entropy: float) -> Number:
    """`-6/847`: a fraction in lowest terms that is no integer."""
    numerator_entropy = entropy * rng.random()
    numerator = signed_integer(rng, numerator_entropy, min_abs=1)
    denominator = unsigned_integer(rng, entropy - numerator_entropy, min_abs=2, coprime_to=abs(numerator))
    return Number(numerator / denominator, f"{numerator}/{denominator}")


# ---------------------------------------------------------------------------------------------------------------------
# algebra__linear_1d
# ---------------------------------------------------------------------------------------------------------------------

VARIABLES = "abcdfghijklmnopqrstuvwxyz"  # no "e", which stands for Euler's number


def linear_1d(rng: Random, entropy: float) -> Example:
    """`Solve 15*s = 29 - 14 for s.` -> `1`: the equation a*v - b = 0, with a and b split into terms on both sides."""
    solution_entropy = max(1.0, entropy / 4)
    solution = signed_integer(rng, solution_entropy)
    entropy = max(1.0, entropy - solution_entropy)
    variable = choice(rng, VARIABLES)
    share = (1 + rng.random()) / 3
    a = nonzero_integer(rng, max(1.0, entropy * share))
    b = a * solution
    a_terms, b_terms = split_coefficients(rng, a, b, entropy, entropy * (1 - share))
    monomials = [(term, f"*{variable}") for term in a_terms] + [(-term, "") for term in b_terms]
    return Example(f"Solve {equation(rng, monomials)} for {variable}.", str(solution))


def split_coefficients(
    rng: Random, a: int, b: int, length_entropy: float, term_entropy: float
) -> tuple[list[int], list[int]]:
    """Terms that sum to a and to b: how many is drawn with `length_entropy`, how large with `term_entropy`."""
    fewest = 2 if b else 1
    most = max(fewest + 1, 1 + int(1 + length_entropy / 2))
    extra = 1 + below(rng, most - fewest)
    a_extra = below(rng, extra + 1)
    a_count, b_count = 1 + a_extra, fewest - 1 + extra - a_extra
    if b == 0 and b_count == 1:  # the only term of b would be a bare 0
        a_count, b_count = a_count + 1, 0
    a_entropy = term_entropy * beta(rng, a_count - 1, max(0, b_count - 1))
    return split_integer(rng, a, a_count, a_entropy), split_integer(rng, b, b_count, term_entropy - a_entropy)


def split_integer(rng: Random, value: int, count: int, entropy: float) -> list[int]:
    """`count` integers, some perhaps 0, that sum to `value`."""
    if count <= 1:
        return [value] * count
    entropy *= count / (count - 1)
    least = max(1.0, log10(5 * abs(-(-value // count)) + 1))
    terms = [signed_integer(rng, max(least, entropy * share)) for share in random_shares(rng, count)]
    missing = value - sum(terms)
    # floor((missing + i) / count) over i = 0 .. count - 1 sums to missing exactly
    return shuffled(rng, [term + (missing + i) // count for i, term in enumerate(terms)])


def equation(rng: Random, monomials: list[tuple[int, str]]) -> str:
    """`left = right`: each monomial (coefficient, unit) stays left or goes right with the other sign, by a coin."""
    left, right = "", ""
    for coefficient, unit in monomials:
        if coin(rng):
            left += signed_term(coefficient < 0, abs(coefficient), unit)
        else:
            right += signed_term(coefficient >= 0, abs(coefficient), unit)  # a 0 that moves is written -0
    return f"{side(left)} = {side(right)}"


def signed_term(negative: bool, size: int, unit: str) -> str:
    """` - 3*v`, ` + v`, ` + 7`."""
    body = unit[1:] if size == 1 and unit else f"{size}{unit}"
    return f" - {body}" if negative else f" + {body}"


def side(terms: str) -> str:
    """The side of an equation: its first term without a plus, its leading minus attached."""
    if not terms:
        return "0"
    return "-" + terms[3:] if terms[1] == "-" else terms[3:]


# ---------------------------------------------------------------------------------------------------------------------
# Random draws
# ---------------------------------------------------------------------------------------------------------------------


def below(rng: Random, count: int) -> int:
    """Uniform in 0 .. count - 1; for counts up to 10^13 the 53 random bits leave a bias under 0.2 %."""
    return int(rng.random() * count)


def coin(rng: Random) -> bool:
    """True half of the time."""
    return rng.random() < 0.5


def choice(rng: Random, items: "tuple[str, ...] | str") -> str:
    """One of `items`."""
    return items[below(rng, len(items))]


def shuffled(rng: Random, items: list[Item]) -> list[Item]:
    """`items` in a random order."""
    return sorted(items, key=lambda _: rng.random())


def random_shares(rng: Random, count: int) -> list[float]:
    """`count` non-negative numbers that sum to 1, all ways equally likely: Dirichlet(1, ..., 1)."""
    weights = [-log(1 - rng.random()) for _ in range(count)]  # exponential draws, normalised
    total = sum(weights)
    return [weight / total for weight in weights]


def beta(rng: Random, alpha: int, beta: int) -> float:
    """A draw from Beta(alpha, beta); 1 where beta is 0, and 0 where alpha is 0."""
    return sum(random_shares(rng, alpha + beta)[:alpha])


def signed_integer(rng: Random, entropy: float, min_abs: int = 0) -> int:
    """Uniform over the integers of either sign, min_abs <= |v| <= ceil((10^entropy + min_abs) / 2)."""
    largest = ceil((10**entropy + min_abs) / 2)
    while True:
        value = below(rng, 2 * largest + 1) - largest
        if abs(value) >= min_abs:
            return value


def nonzero_integer(rng: Random, entropy: float) -> int:
    """A signed integer, drawn again until it is not 0."""
    while True:
        value = signed_integer(rng, entropy)
        if value:
            return value


def unsigned_integer(rng: Random, entropy: float, min_abs: int, coprime_to: int = 1) -> int:
    """Uniform over about 10^entropy integers, from min_abs, that share no factor with `coprime_to`."""
    largest = 10**entropy + min_abs
    if coprime_to > 1:
        largest = largest / coprime_density(coprime_to) + 1
    count = ceil(largest) - min_abs + 1
    while True:
        value = min_abs + below(rng, count)
        if gcd(value, coprime_to) == 1:
            return value


@lru_cache(maxsize=10_000)
def coprime_density(number: int) -> float:
    """The share of integers that have no factor in common with `number` > 1: the product of 1 - 1/p over its primes."""
    density = 1.0
    factor = 2
    while factor * factor <= number:
        if number % factor == 0:
            density *= 1 - 1 / factor
            while number % factor == 0:
                number //= factor
        factor += 1 if factor == 2 else 2
    return density * (1 - 1 / number) if number > 1 else density
