"""What is made of the examples of an epoch is made anew only where the next epoch has others."""

from collections.abc import Callable
from typing import Generic, TypeVar

Examples = TypeVar("Examples")
Made = TypeVar("Made")


class Once(Generic[Examples, Made]):
    """Remembers what was made last; examples are the same when they are the same object, as a corpus promises."""

    def __init__(self, make: Callable[[Examples], Made]) -> None:
        self._make = make
        self._last: tuple[Examples, Made] | None = None

    def __call__(self, examples: Examples) -> Made:
        """What is made of the examples."""
        if self._last is None or self._last[0] is not examples:
            self._last = examples, self._make(examples)
        return self._last[1]
