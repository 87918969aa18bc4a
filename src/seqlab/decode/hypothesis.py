"""What a search returns for a row, and how its tensors of ids become that."""

from typing import NamedTuple

NO_TOKEN = -1
"""Fills the places of an id tensor behind the end of a hypothesis."""


class Hypothesis(NamedTuple):
    """One output of the model."""

    ids: list[int]
    """Tokens without beginning and end of sequence."""

    score: float
    """Log-probability (natural) that the model gives to `ids` and, where finished, to the end of sequence: a plain sum
    over tokens, not normalised by length, and untouched by constraints, temperature, top-k and top-p."""

    finished: bool
    """False: no end of sequence; cut, or left because it already differs from its answer."""

    cut: bool = False
    """It is as long as it may be, and not finished."""


def from_padded(ids: list[int], score: float, eos_id: int, limit: int) -> Hypothesis:
    """The hypothesis in one row of an id tensor, `[5, 7, eos, NO_TOKEN, NO_TOKEN]` or `[5, 7, NO_TOKEN, ...]`.

    It may have `limit` tokens.
    """
    emitted = [token for token in ids if token != NO_TOKEN]
    finished = emitted[-1:] == [eos_id]
    return Hypothesis(emitted[:-1] if finished else emitted, score, finished, len(emitted) == limit and not finished)
