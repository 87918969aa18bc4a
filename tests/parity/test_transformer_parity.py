"""Our blocks and stacks against torch.nn's, with the same weights."""

import pytest
import torch
from torch import nn

from seqlab.layers.attention import causal_mask, padding_mask
from seqlab.layers.blocks import Activation, BlockShape, DecoderBlock, EncoderBlock, NormPlacement

WIDTH, HIDDEN, HEADS = 12, 20, 3
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def block_shape(placement: NormPlacement, activation: Activation) -> BlockShape:
    return BlockShape(WIDTH, HIDDEN, HEADS, placement, "layer", activation, False, 0.0, 0.0, 0.0)


def copy_linear(ours: nn.Linear, weight: torch.Tensor, bias: torch.Tensor) -> None:
    with torch.no_grad():
        ours.weight.copy_(weight)
        ours.bias.copy_(bias)


def copy_block(ours, theirs) -> None:
    """The weights of torch's layer into ours; its biases and gains made random first, as they start at 0 and 1."""
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    attention = theirs.self_attn
    copy_linear(ours.attention.query_key_value, attention.in_proj_weight, attention.in_proj_bias)
    copy_linear(ours.attention.out, attention.out_proj.weight, attention.out_proj.bias)
    norms = [ours.attention_residual.norm, ours.feedforward_residual.norm]
    if isinstance(ours, DecoderBlock):
        cross = theirs.multihead_attn
        copy_linear(ours.cross_attention.query, cross.in_proj_weight[:WIDTH], cross.in_proj_bias[:WIDTH])
        copy_linear(ours.cross_attention.key_value, cross.in_proj_weight[WIDTH:], cross.in_proj_bias[WIDTH:])
        copy_linear(ours.cross_attention.out, cross.out_proj.weight, cross.out_proj.bias)
        norms.insert(1, ours.cross_attention_residual.norm)
    copy_linear(ours.feedforward.expand, theirs.linear1.weight, theirs.linear1.bias)
    copy_linear(ours.feedforward.out, theirs.linear2.weight, theirs.linear2.bias)
    for number, norm in enumerate(norms, start=1):
        norm.load_state_dict(getattr(theirs, f"norm{number}").state_dict())


def torch_settings(placement: str, activation: str) -> dict:
    return {
        "d_model": WIDTH,
        "nhead": HEADS,
        "dim_feedforward": HIDDEN,
        "dropout": 0.0,
        "activation": activation,
        "batch_first": True,
        "norm_first": placement == "pre",
        "dtype": torch.float64,
    }


@pytest.mark.parametrize("placement", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_block(placement, activation):
    theirs = nn.TransformerEncoderLayer(**torch_settings(placement, activation))
    ours = EncoderBlock(block_shape(placement, activation)).double()
    copy_block(ours, theirs)
    x = torch.randn(3, 6, WIDTH, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    expected = theirs(x, src_key_padding_mask=~mask)
    result = ours(x, padding_mask(mask, torch.float64), None)
    torch.testing.assert_close(result[mask], expected[mask])
    assert_same_gradients(ours, theirs, result[mask], expected[mask])


@pytest.mark.parametrize("placement", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_decoder_block(placement, activation):
    theirs = nn.TransformerDecoderLayer(**torch_settings(placement, activation))
    ours = DecoderBlock(block_shape(placement, activation)).double()
    copy_block(ours, theirs)
    x = torch.randn(3, 5, WIDTH, dtype=torch.float64)
    memory = torch.randn(3, 6, WIDTH, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = theirs(x, memory, tgt_mask=later, memory_key_padding_mask=~mask)
    heads = ours.cross_attention.project_memory(memory)
    causal = causal_mask(5, torch.float64, CPU)
    result = ours(x, heads, causal, padding_mask(mask, torch.float64), None)
    torch.testing.assert_close(result, expected)
    assert_same_gradients(ours, theirs, result, expected)


def assert_same_gradients(ours, theirs, result: torch.Tensor, expected: torch.Tensor) -> None:
    upstream = torch.randn_like(expected)
    result.backward(upstream)
    expected.backward(upstream)
    pairs = [
        (ours.attention.query_key_value.weight, theirs.self_attn.in_proj_weight),
        (ours.attention.out.bias, theirs.self_attn.out_proj.bias),
        (ours.feedforward.expand.weight, theirs.linear1.weight),
        (ours.attention_residual.norm.weight, theirs.norm1.weight),
    ]
    for mine, other in pairs:
        torch.testing.assert_close(mine.grad, other.grad)
