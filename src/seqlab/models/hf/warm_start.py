"""Warm start of an encoder-decoder: both halves of a BART take the weights of an encoder such as BERT.

BERT and BART are the same layer for layer: post-norm, learned positions, a layer norm after the embeddings. Only the
attention of the decoder to the source is new. Two differences in form are taken care of here: BART has no types of
tokens, so the one of first texts is added to every position; and its decoder has a layer norm more than BERT has.

Source: Rothe, Narayan and Severyn (2020), "Leveraging pre-trained checkpoints for sequence generation tasks", where
this is BERT2BERT with shared embeddings; what to keep of a decoder with fewer layers is from Shleifer and Rush (2020),
"Pre-trained summarization distillation".

Shapes: `D` width, `V` vocabulary, `P` positions.
"""

from typing import Any

import torch
from torch import Tensor, nn

from seqlab.errors import UserError
from seqlab.runs.hf_folder import quiet

STARTS = ("bert",)
"""Types of encoders whose weights fit."""

OFFSET = 2
"""Places at the front of BART's table of positions that no token has."""


def encoder_decoder_config(encoder: Any, tokenizer: Any, decoder_layers: int | None) -> Any:
    """The config of a BART that has room for the weights of an encoder.

    A target begins with the mark that a text has in front, and ends with the one behind it: `[CLS]` and `[SEP]`.

    Args:
        encoder: the config of the encoder, as `transformers` has it.
        tokenizer: that of the encoder.
        decoder_layers: as many as the encoder has, or fewer; None: as many.

    Raises UserError where the encoder has not as many layers, or the tokenizer lacks one of the marks.
    """
    if decoder_layers is not None and decoder_layers > encoder.num_hidden_layers:
        raise UserError(
            f"model.decoder_layers={decoder_layers}: a decoder starts from the layers of the checkpoint, "
            f"which has {encoder.num_hidden_layers}"
        )
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    if begin is None or end is None:
        raise UserError("model.checkpoint: its tokenizer lacks [CLS] or [SEP], which a target begins and ends with")
    sizes = {
        name: size
        for side in ("encoder", "decoder")
        for name, size in (
            (f"{side}_attention_heads", encoder.num_attention_heads),
            (f"{side}_ffn_dim", encoder.intermediate_size),
        )
    }
    with quiet() as transformers:
        return transformers.BartConfig(
            **sizes,
            vocab_size=encoder.vocab_size,
            d_model=encoder.hidden_size,
            encoder_layers=encoder.num_hidden_layers,
            decoder_layers=decoder_layers or encoder.num_hidden_layers,
            max_position_embeddings=encoder.max_position_embeddings,
            activation_function=encoder.hidden_act,
            dropout=encoder.hidden_dropout_prob,
            attention_dropout=encoder.attention_probs_dropout_prob,
            init_std=encoder.initializer_range,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=begin,
            eos_token_id=end,
            decoder_start_token_id=begin,
            forced_eos_token_id=None,
        )


@torch.no_grad()
def start_from(network: Any, encoder: Any) -> None:
    """Gives a BART the weights of an encoder; what it has more than that stays as it is, random.

    The decoder norms after its attention to itself and once more after its attention to the source, BERT only once. The
    gain and the bias of BERT go into the second norm, and the first one has none: normed vectors stay as they are when
    they are normed again. So as long as nothing comes from the source the decoder is a BERT that cannot look ahead.

    Args:
        network: `BartForConditionalGeneration` made from `encoder_decoder_config`.
        encoder: `BertModel`.
    """
    halves, table = (network.get_encoder(), network.get_decoder()), encoder.embeddings
    network.get_input_embeddings().weight.copy_(table.word_embeddings.weight)  # of both halves and of the output (V, D)
    positions = table.position_embeddings.weight + table.token_type_embeddings.weight[0]  # (P, D)
    for half in halves:
        half.embed_positions.weight[OFFSET:] = positions
        half.layernorm_embedding.load_state_dict(table.LayerNorm.state_dict())
    layers = encoder.encoder.layer
    reading, writing = (half.layers for half in halves)
    for ours, theirs in zip(reading, layers, strict=True):
        _copy(ours, theirs, after_attention="self_attn_layer_norm")
    for ours, number in zip(writing, spaced(len(layers), len(writing)), strict=True):
        _copy(ours, layers[number], after_attention="encoder_attn_layer_norm")


def spaced(layers: int, wanted: int) -> list[int]:
    """Numbers of so many of the layers, from 0: evenly spaced, the first and the last among them if there are two."""
    if wanted == 1:
        return [0]
    return [round(number * (layers - 1) / (wanted - 1)) for number in range(wanted)]


def _copy(ours: Any, theirs: Any, after_attention: str) -> None:
    """One layer; `after_attention` is the norm that gets gain and bias of the one after attention."""
    attention = theirs.attention
    parts: dict[str, nn.Module] = {
        "self_attn.q_proj": attention.self.query,
        "self_attn.k_proj": attention.self.key,
        "self_attn.v_proj": attention.self.value,
        "self_attn.out_proj": attention.output.dense,
        after_attention: attention.output.LayerNorm,
        "fc1": theirs.intermediate.dense,
        "fc2": theirs.output.dense,
        "final_layer_norm": theirs.output.LayerNorm,
    }
    for name, part in parts.items():
        weights: dict[str, Tensor] = part.state_dict()
        ours.get_submodule(name).load_state_dict(weights)
