"""What a model must offer so that every search here can drive it, and what a search returns.

Shapes: `B` rows, `S` source, `V` vocabulary. A state is whatever the model needs to continue; the search only hands it
back, or asks for a choice of its rows. Models meet this contract by shape, not by inheritance.
"""

from typing import Any, NamedTuple, Protocol, TypeVar

from torch import Tensor

State = TypeVar("State")


class RowSelection(NamedTuple):
    """Which rows of a state continue, and which sources they read: a choice, a repetition or a new order of both.

    At first a state has one row of each source. After a selection it has `len(rows) / len(sources)` rows of each, side
    by side. A model may keep what follows from a source once, for all its rows; one that keeps it once per row, as part
    of the state of the row, needs only `rows`.
    """

    rows: Tensor
    """(N,) numbers of rows of the state"""
    sources: Tensor
    """(M,) numbers of its sources, those of rows 0..N/M-1 first; M divides N"""


class Decoder(Protocol[State]):
    """Encodes once, then yields the logits of the next token, one token a row at a time."""

    def encode(self, source: Tensor, source_mask: Tensor) -> Any:
        """Source ids (B, S) and the mask of real ones (B, S, True = takes part) -> memory."""
        ...

    def start(self, memory: Any) -> State:
        """The state of B rows before their first token."""
        ...

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The last token of every row (B,) -> logits of the next one (B, V), and the state after it."""
        ...

    def select_rows(self, state: State, selection: RowSelection) -> State:
        """The state of the selected rows."""
        ...


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
    """False: no end of sequence; cut, or left because it already differs from its reference."""

    cut: bool = False
    """It is as long as it may be, and not finished."""
