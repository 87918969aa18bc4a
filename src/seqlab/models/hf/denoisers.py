"""A BART or a T5 that is trained from text alone: its sizes.

The networks are those of `transformers`, made from a config and never downloaded; `PretrainedEncoderDecoder` drives
them. Source: Lewis et al. (2020), "BART", section 2.1; Raffel et al. (2020), "Exploring the limits of transfer
learning", section 2.1.
"""

from typing import Any, Literal

from pydantic import Field

from seqlab.models.hf.untrained import UntrainedConfig
from seqlab.runs.hf_folder import quiet


class BartConfig(UntrainedConfig):
    """Sizes of a BART with random weights, or the checkpoint that it goes on from."""

    kind: Literal["bart"] = "bart"
    """a BART: learned positions, GELU, byte-level BPE"""
    encoder_layers: int = Field(default=3, ge=1)
    """layers that read"""
    decoder_layers: int = Field(default=3, ge=1)
    """layers that write"""


class T5Config(UntrainedConfig):
    """Sizes of a T5 with random weights, or the checkpoint that it goes on from."""

    kind: Literal["t5"] = "t5"
    """a T5: relative positions, ReLU, unigram pieces with sentinels"""
    encoder_layers: int = Field(default=3, ge=1)
    """layers that read"""
    decoder_layers: int = Field(default=3, ge=1)
    """layers that write"""


def network_config(config: BartConfig | T5Config, tokenizer: Any) -> Any:
    """The config of the network as `transformers` has it."""
    with quiet() as transformers:
        match config:
            case BartConfig():
                return transformers.BartConfig(
                    vocab_size=len(tokenizer),
                    d_model=config.width,
                    encoder_layers=config.encoder_layers,
                    decoder_layers=config.decoder_layers,
                    encoder_attention_heads=config.num_heads,
                    decoder_attention_heads=config.num_heads,
                    encoder_ffn_dim=config.feedforward,
                    decoder_ffn_dim=config.feedforward,
                    max_position_embeddings=config.max_length,
                    dropout=config.dropout,
                    attention_dropout=config.dropout,
                    bos_token_id=tokenizer.bos_token_id,
                    pad_token_id=tokenizer.pad_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                    decoder_start_token_id=tokenizer.eos_token_id,
                    forced_eos_token_id=tokenizer.eos_token_id,
                    architectures=["BartForConditionalGeneration"],
                )
            case T5Config():
                return transformers.T5Config(
                    vocab_size=len(tokenizer),
                    d_model=config.width,
                    d_kv=config.width // config.num_heads,
                    d_ff=config.feedforward,
                    num_layers=config.encoder_layers,
                    num_decoder_layers=config.decoder_layers,
                    num_heads=config.num_heads,
                    n_positions=config.max_length,
                    dropout_rate=config.dropout,
                    pad_token_id=tokenizer.pad_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                    decoder_start_token_id=tokenizer.pad_token_id,
                    architectures=["T5ForConditionalGeneration"],
                )
