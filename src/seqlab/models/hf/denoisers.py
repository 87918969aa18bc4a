"""A BART or a T5 that is trained from text alone: its sizes.

The networks are those of `transformers`, made from a config and never downloaded; `PretrainedEncoderDecoder` drives
them. Source: Lewis et al. (2020), "BART", section 2.1; Raffel et al. (2020), "Exploring the limits of transfer
learning", section 2.1.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from seqlab.models.hf.untrained import UntrainedConfig
from seqlab.runs.hf_folder import quiet


class BartConfig(UntrainedConfig):
    """Sizes of a BART with random weights, or the checkpoint that it starts from."""

    role: ClassVar = "denoiser"
    vocabulary: ClassVar = "byte-level-bpe"
    head: ClassVar = "AutoModelForSeq2SeqLM"

    kind: Literal["bart"] = "bart"
    """a BART: learned positions, GELU, byte-level BPE"""
    encoder_layers: int = Field(default=3, ge=1)
    """depth of the encoder"""
    decoder_layers: int = Field(default=3, ge=1)
    """depth of the decoder"""

    def network_config(self, tokenizer: Any) -> Any:
        """The config of the network as `transformers` has it."""
        with quiet() as transformers:
            return transformers.BartConfig(
                vocab_size=len(tokenizer),
                d_model=self.width,
                encoder_layers=self.encoder_layers,
                decoder_layers=self.decoder_layers,
                encoder_attention_heads=self.num_heads,
                decoder_attention_heads=self.num_heads,
                encoder_ffn_dim=self.feedforward,
                decoder_ffn_dim=self.feedforward,
                max_position_embeddings=self.max_length,
                dropout=self.dropout,
                attention_dropout=self.dropout,
                bos_token_id=tokenizer.bos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                decoder_start_token_id=tokenizer.eos_token_id,
                forced_eos_token_id=tokenizer.eos_token_id,
                architectures=["BartForConditionalGeneration"],
            )


class T5Config(UntrainedConfig):
    """Sizes of a T5 with random weights, or the checkpoint that it starts from."""

    role: ClassVar = "denoiser"
    vocabulary: ClassVar = "unigram"
    head: ClassVar = "AutoModelForSeq2SeqLM"

    kind: Literal["t5"] = "t5"
    """a T5: relative positions, ReLU, unigram pieces with sentinels"""
    encoder_layers: int = Field(default=3, ge=1)
    """depth of the encoder"""
    decoder_layers: int = Field(default=3, ge=1)
    """depth of the decoder"""

    def network_config(self, tokenizer: Any) -> Any:
        """The config of the network as `transformers` has it."""
        with quiet() as transformers:
            return transformers.T5Config(
                vocab_size=len(tokenizer),
                d_model=self.width,
                d_kv=self.width // self.num_heads,
                d_ff=self.feedforward,
                num_layers=self.encoder_layers,
                num_decoder_layers=self.decoder_layers,
                num_heads=self.num_heads,
                n_positions=self.max_length,
                dropout_rate=self.dropout,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                decoder_start_token_id=tokenizer.pad_token_id,
                architectures=["T5ForConditionalGeneration"],
            )
