"""Which tasks are there, and with what data and models does each of them work?"""

from typing import Annotated, NamedTuple

from pydantic import Field

from seqlab.tasks.answer import AnswerConfig
from seqlab.tasks.classify_sequence import ClassifySequenceConfig
from seqlab.tasks.classify_text import ClassifyTextConfig
from seqlab.tasks.pretrain_denoise import PretrainDenoiseConfig
from seqlab.tasks.pretrain_masked import PretrainMaskedConfig
from seqlab.tasks.sequence_to_sequence import SequenceToSequenceConfig

TaskConfig = Annotated[
    SequenceToSequenceConfig
    | ClassifySequenceConfig
    | AnswerConfig
    | ClassifyTextConfig
    | PretrainMaskedConfig
    | PretrainDenoiseConfig,
    Field(discriminator="kind"),
]
"""The settings of any task."""


class Suits(NamedTuple):
    """What a task works with, by kind, and the tables of settings that it reads beside those of every task."""

    data: tuple[str, ...]
    models: tuple[str, ...]
    reads: tuple[str, ...] = ()


SUITS = {
    "sequence-to-sequence": Suits(
        ("mathematics", "numbers", "parallel"),
        ("transformer", "recurrent", "pretrained-encoder-decoder"),
        reads=("text", "decode", "sizes"),
    ),
    "classify-sequence": Suits(("images",), ("sequence-classifier",)),
    "answer": Suits(("squad",), ("pretrained",)),
    "classify-text": Suits(("labelled",), ("pretrained",)),
    "pretrain-masked": Suits(("passages",), ("bert",)),
    "pretrain-denoise": Suits(("passages",), ("bart", "t5")),
}
"""By kind of task."""
