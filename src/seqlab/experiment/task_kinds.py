"""Which tasks are there, and with what data and models does each of them work?"""

from typing import Annotated, NamedTuple

from pydantic import Field

from seqlab.tasks.pretraining.denoising import PretrainDenoiseConfig
from seqlab.tasks.pretraining.masked import PretrainMaskedConfig
from seqlab.tasks.question_answering.task import AnswerConfig
from seqlab.tasks.sequence_classification.task import ClassifySequenceConfig
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequenceConfig
from seqlab.tasks.text_classification.task import ClassifyTextConfig

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
