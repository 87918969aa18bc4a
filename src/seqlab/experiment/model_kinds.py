"""Which models are there, and how is one made from its config?"""

from typing import Annotated

from pydantic import Field

from seqlab.models.classifier import SequenceClassifier, SequenceClassifierConfig
from seqlab.models.hf.bert import BertConfig, MaskedLanguageModel
from seqlab.models.hf.denoisers import BartConfig, T5Config
from seqlab.models.hf.encoder import PretrainedConfig, SentenceModel, SpanModel
from seqlab.models.hf.encoder_decoder import PretrainedEncoderDecoder, PretrainedEncoderDecoderConfig
from seqlab.models.recurrent import RecurrentConfig, RecurrentEncoderDecoder
from seqlab.models.transformer import Transformer, TransformerConfig

EncoderDecoderConfig = TransformerConfig | RecurrentConfig

ModelConfig = Annotated[
    EncoderDecoderConfig
    | PretrainedEncoderDecoderConfig
    | SequenceClassifierConfig
    | PretrainedConfig
    | BertConfig
    | BartConfig
    | T5Config,
    Field(discriminator="kind"),
]
"""The settings of any model."""

EncoderDecoder = Transformer | RecurrentEncoderDecoder | PretrainedEncoderDecoder
"""What every task of sequences to sequences trains: it meets the decoder contract."""

Model = EncoderDecoder | SequenceClassifier | SpanModel | SentenceModel | MaskedLanguageModel
"""All of them count their operations."""


def build_encoder_decoder(
    config: EncoderDecoderConfig, source_vocab_size: int, target_vocab_size: int
) -> EncoderDecoder:
    """A freshly initialised model; raises UserError where its config does not suit the vocabularies."""
    match config:
        case TransformerConfig():
            return Transformer(config, source_vocab_size, target_vocab_size)
        case RecurrentConfig():
            return RecurrentEncoderDecoder(config, source_vocab_size, target_vocab_size)
