"""What a corpus yields: a source text and the text it should become."""

from typing import NamedTuple


class Example(NamedTuple):
    """One question and its answer, one sentence and its translation."""

    source: str
    target: str
