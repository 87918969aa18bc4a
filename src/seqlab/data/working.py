"""The working of a linear equation: the step a person writes down before the answer (a scratchpad, Nye et al. 2021).

    Solve -3*v + 2 = 4*v - 12 for v.   ->   -7=-41;2

says -7 v = -14, hence 2. The numbers of the collected equation stand with their last digit first, the order in which
carries run. A network has one pass for every character it writes: with the working, collecting terms and dividing are
spread over many of them instead of all falling on the first.
"""

import re

from seqlab.errors import UserError

SEPARATOR = ";"
CHARACTERS = frozenset("=;-0123456789")

_EQUATION = re.compile(r"Solve (.+) = (.+) for ([a-z])\.")
_TERM = re.compile(r"([+-]?)\s*(?:(\d+)\*?)?([a-z]?)\s*")


def with_working(question: str, answer: str) -> str:
    """The collected equation and the answer; raises UserError when the question is no linear equation."""
    match = _EQUATION.fullmatch(question)
    if match is None:
        raise UserError(f'data.working needs linear equations, and "{question}" is none: set data.working=false')
    (left_factor, left_rest), (right_factor, right_rest) = _collected(match[1]), _collected(match[2])
    return f"{_last_first(left_factor - right_factor)}={_last_first(right_rest - left_rest)}{SEPARATOR}{answer}"


def without_working(text: str) -> str:
    """What stands after the working: the answer."""
    return text.rpartition(SEPARATOR)[2]


def _collected(side: str) -> tuple[int, int]:
    """Factor of the variable, and the rest: `"-3*v + v + 2"` -> (-2, 2)."""
    factor = rest = 0
    for sign, digits, variable in _TERM.findall(side):
        if not digits and not variable:
            continue
        value = int(digits or 1) * (-1 if sign == "-" else 1)
        if variable:
            factor += value
        else:
            rest += value
    return factor, rest


def _last_first(number: int) -> str:
    """-14 -> "-41"."""
    return ("-" if number < 0 else "") + str(abs(number))[::-1]
