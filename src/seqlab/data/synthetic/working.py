"""The working of a linear equation: the steps a person writes down before the answer (a scratchpad, Nye et al. 2021).

    Solve -3*v + 2 = 4*v - 12 for v.   ->   -3,-7=-2,-41;2

collects the factors of v on the left, one running sum a term, and the other numbers on the right: -3, then -3 - 4 = -7;
-2, then -2 - 12 = -14; hence 2. Running sums stand with their last digit first, the order in which carries run. A
network has one pass for every character that it writes: with the working, adding up and dividing are spread over many
of them instead of all falling on the first.
"""

import re
from itertools import accumulate
from typing import NamedTuple

from seqlab.errors import UserError

SEPARATOR = ";"
CHARACTERS = frozenset("=,;-0123456789")

_EQUATION = re.compile(r"Solve (.+) = (.+) for ([a-z])\.")
_TERM = re.compile(r"([+-]?)\s*(?:(\d+)\*?)?([a-z]?)\s*")


def with_working(question: str, answer: str) -> str:
    """The running sums and the answer; raises UserError when the question is no linear equation."""
    match = _EQUATION.fullmatch(question)
    if match is None:
        raise UserError(f'data.working needs linear equations, and "{question}" is not one: set data.working=false')
    left, right = _terms(match[1]), _terms(match[2])
    factors = [*left.factors, *(-factor for factor in right.factors)]
    rest = [*(-number for number in left.rest), *right.rest]
    return f"{_running_sums(factors)}={_running_sums(rest)}{SEPARATOR}{answer}"


def without_working(text: str) -> str:
    """What stands after the working: the answer."""
    return text.rpartition(SEPARATOR)[2]


class _Terms(NamedTuple):
    factors: list[int]
    """of the variable"""
    rest: list[int]
    """numbers without it"""


def _terms(side: str) -> _Terms:
    """`"-3*v + v + 2"` -> factors -3 and 1, rest 2."""
    terms = _Terms([], [])
    for sign, digits, variable in _TERM.findall(side):
        if digits or variable:
            value = int(digits or 1) * (-1 if sign == "-" else 1)
            (terms.factors if variable else terms.rest).append(value)
    return terms


def _running_sums(numbers: list[int]) -> str:
    """[-3, -4] -> "-3,-7"; the sum of no numbers is 0."""
    return ",".join(_last_first(total) for total in accumulate(numbers)) or "0"


def _last_first(number: int) -> str:
    """-14 -> "-41"."""
    return ("-" if number < 0 else "") + str(abs(number))[::-1]
