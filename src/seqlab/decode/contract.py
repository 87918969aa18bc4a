"""What a model must offer so that every search here can drive it.

Shapes: `B` rows, `S` source, `V` vocabulary. A state is whatever the model needs to go on; the search only hands it
back, or asks for a choice of its rows. Models meet this contract by shape, not by inheritance: they never import it.
"""

from typing import Any, Protocol, TypeVar

from torch import Tensor

State = TypeVar("State")


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

    def select_rows(self, state: State, index: Tensor) -> State:
        """The state of the rows `index`: a choice, a repetition or a new order of the rows.

        The index is (N,), or (N, W) where the W rows of each line have the same source: a model may keep what follows
        from the source once a line, or flatten the index.
        """
        ...
