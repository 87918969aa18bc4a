"""Which models are there, and how is one made from its config?"""

from typing import Annotated

from pydantic import Field

from seqlab.models.recurrent import RecurrentConfig, RecurrentEncoderDecoder
from seqlab.models.transformer import Transformer, TransformerConfig

ModelConfig = Annotated[TransformerConfig | RecurrentConfig, Field(discriminator="kind")]
"""The settings of any model."""

Model = Transformer | RecurrentEncoderDecoder
"""What every task of sequences to sequences trains: it meets the decoder contract and counts its operations."""


def build_model(config: ModelConfig, source_vocab_size: int, target_vocab_size: int) -> Model:
    """A freshly initialised model; raises UserError where its config does not suit the vocabularies."""
    match config:
        case TransformerConfig():
            return Transformer(config, source_vocab_size, target_vocab_size)
        case RecurrentConfig():
            return RecurrentEncoderDecoder(config, source_vocab_size, target_vocab_size)
