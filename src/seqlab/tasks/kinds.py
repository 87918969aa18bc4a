"""Which tasks are there, and with what data and models does each of them work?"""

from typing import NamedTuple

from seqlab.tasks.sequence_to_sequence import SequenceToSequenceConfig

TaskConfig = SequenceToSequenceConfig
"""The settings of any task."""


class Suits(NamedTuple):
    """What a task works with, by kind, and the tables of settings that it reads beside those of every task."""

    data: tuple[str, ...]
    models: tuple[str, ...]
    reads: tuple[str, ...] = ()


SUITS = {
    "sequence-to-sequence": Suits(
        ("mathematics", "numbers", "parallel"), ("transformer", "recurrent"), reads=("text", "decode", "sizes")
    ),
}
"""By kind of task."""
