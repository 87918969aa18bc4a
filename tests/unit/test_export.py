"""Models as programs of `torch.export`: encode and a step, for any number of rows and any length."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from seqlab.decode.contract import RowSelection
from seqlab.layers.alignment import AttendedSource
from seqlab.layers.attention import AttentionMask, KeyValue
from seqlab.models import recurrent, transformer
from seqlab.models.recurrent import RecurrentConfig, RecurrentEncoderDecoder
from seqlab.models.transformer import Transformer, TransformerConfig

SOURCE_VOCAB, TARGET_VOCAB = 13, 11

OPTIONS = [
    {"sharing": "none", "norm": "layer", "positions": "sinusoidal", "activation": "relu", "tying": "none"},
    {"sharing": "albert", "norm": "rms", "positions": "learned", "activation": "gelu", "tying": "decoder"},
    {"sharing": "universal", "norm": "layer", "positions": "rotary", "activation": "swiglu", "tying": "all"},
    {"sharing": "sequence", "distinct_layers": 1, "norm_placement": "post", "activation": "relu2", "qk_norm": True},
    {"sharing": "cycle", "distinct_layers": 1, "norm": "rms", "norm_placement": "post", "decoder_layers": 2},
    {"sharing": "cycle-rev", "distinct_layers": 1, "norm": "rms", "qk_norm": True, "positions": "rotary"},
]
"""Every value of every option at least once; one layer each, but two where they are one, as tracing takes seconds."""

ANY = Dim.AUTO


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.no_grad():
        yield


class Encode(nn.Module):
    """Source ids and mask -> what a search of a Transformer starts with: memory for each layer, and its bias."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, mask: Tensor) -> Any:
        state = self.model.start(self.model.encode(source, mask))
        assert state.memory_mask is not None
        return state.memory, state.memory_mask.bias


class Step(nn.Module):
    """Tokens, cache, memory and bias -> logits and the longer cache."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, cache: Any, memory: Any, bias: Tensor) -> Any:
        logits, state = self.model.step(tokens, transformer.DecoderState(cache, memory, AttentionMask(bias)))
        return logits, state.cache


def transformer_of(**options: Any) -> Transformer:
    sizes: dict[str, Any] = {"width": 16, "feedforward": 24, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    config = TransformerConfig(**(sizes | options), max_length=40)
    target_vocab = SOURCE_VOCAB if config.tying == "all" else TARGET_VOCAB
    return Transformer(config, SOURCE_VOCAB, target_vocab).eval()


def batch(rows: int, length: int) -> tuple[Tensor, Tensor]:
    """Source ids and mask: the first row has no padding, the others have ever more."""
    lengths = (length - torch.arange(rows)).clamp(min=1)
    return torch.randint(SOURCE_VOCAB, (rows, length)), torch.arange(length) < lengths[:, None]


def assert_equal(found: Any, expected: Any) -> None:
    """A program has other kernels than eager mode: a hundred roundings of numbers near 1 are allowed."""
    tolerance = 100 * torch.finfo(torch.float32).eps
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def exported_encode(model: Transformer) -> nn.Module:
    return export(Encode(model), batch(3, 6), dynamic_shapes=({0: ANY, 1: ANY},) * 2).module()


def exported_step(model: Transformer, rows_of_source: int) -> nn.Module:
    """Made for so many rows of each source, one of each or several."""
    rows = 3 * rows_of_source
    tokens = torch.zeros(rows, dtype=torch.long)
    cache = tuple(_random_heads(rows) for _ in model.decoder_order)
    memory = tuple(_random_heads(3) for _ in model.decoder)
    shapes = KeyValue({0: ANY, 2: ANY}, {0: ANY, 2: ANY})  # pyright: ignore[reportArgumentType]
    dynamic = ({0: ANY}, (shapes,) * len(cache), (shapes,) * len(memory), {0: ANY, 3: ANY})
    return export(Step(model), (tokens, cache, memory, torch.zeros(3, 1, 1, 4)), dynamic_shapes=dynamic).module()


def _random_heads(rows: int) -> KeyValue:
    """Two tensors: one that is handed over twice would be one input of the program."""
    return KeyValue(torch.randn(rows, 2, 4, 8), torch.randn(rows, 2, 4, 8))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["sharing"])
def test_transformer(options: dict[str, Any]) -> None:
    model = transformer_of(**options)
    encode, step = exported_encode(model), exported_step(model, rows_of_source=1)
    for rows, length in ((1, 1), (1, 17), (4, 30)):
        source, mask = batch(rows, length)
        memory, bias = encode(source, mask)
        state = model.start(model.encode(source, mask))
        assert_equal(memory, state.memory)
        assert bias.shape == (rows, 1, 1, length)
        assert (state.memory_mask is None) == (rows == 1 and length == 17), "eager mode drops a mask that hides nothing"
        cache = state.cache
        for _ in range(3):
            tokens = torch.randint(TARGET_VOCAB, (rows,))
            logits, cache = step(tokens, cache, memory, bias)
            expected, state = model.step(tokens, state)
            assert_equal(logits, expected)
        assert_equal(cache, state.cache)


def test_transformer_step_of_a_beam() -> None:
    model = transformer_of()
    step = exported_step(model, rows_of_source=2)
    for rows, width, length in ((1, 3, 5), (4, 2, 26)):
        source, mask = batch(rows, length)
        state = model.start(model.encode(source, mask))
        sources = torch.arange(rows)
        state = model.select_rows(state, RowSelection(sources.repeat_interleave(width), sources))
        bias = torch.zeros(rows, 1, 1, length).masked_fill_(~mask[:, None, None], torch.finfo(torch.float32).min)
        tokens = torch.randint(TARGET_VOCAB, (rows * width,))
        logits, _ = step(tokens, state.cache, state.memory, bias)
        assert_equal(logits, model.step(tokens, state)[0])


class RecurrentStep(nn.Module):
    """Tokens, states, what is fed back and the encoded source -> logits and states."""

    def __init__(self, model: RecurrentEncoderDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, layers: Any, fed: Tensor | None, source: AttendedSource | None) -> Any:
        logits, state = self.model.step(tokens, recurrent.RecurrentState(layers, fed, source, step=0))
        return logits, state.layers


class RecurrentEncode(nn.Module):
    """Source ids and mask -> states of the layers, and what attention sees."""

    def __init__(self, model: RecurrentEncoderDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, mask: Tensor) -> Any:
        return self.model.encode(source, mask)


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm", "attention": "local-p", "score": "concat", "input_feeding": True},
        {"cell": "gru", "attention": "bahdanau", "bidirectional": True},
    ],
    ids=lambda options: options["attention"],
)
def test_recurrent(options: dict[str, Any]) -> None:
    """A step has any length; the encoder has the length that it is traced with, as torch unrolls the layers."""
    model = RecurrentEncoderDecoder(RecurrentConfig(width=16, num_layers=2, **options), SOURCE_VOCAB, TARGET_VOCAB)
    model.eval()
    encode = export(RecurrentEncode(model), batch(3, 6), dynamic_shapes=({0: ANY, 1: 6},) * 2).module()
    for rows in (1, 5):
        inputs = batch(rows, 6)
        assert_equal(encode(*inputs), model.encode(*inputs))

    state = model.start(model.encode(*batch(3, 6)))
    shapes: Any = (
        {0: ANY},
        tuple(tuple({0: ANY} for _ in layer) for layer in state.layers),
        None if state.fed is None else {0: ANY},
        AttendedSource(*({0: ANY, 1: ANY},) * 3),  # pyright: ignore[reportArgumentType]
    )
    example = (torch.zeros(3, dtype=torch.long), state.layers, state.fed, state.source)
    step = export(RecurrentStep(model), example, dynamic_shapes=shapes).module()
    for rows, length in ((1, 1), (4, 30)):
        state = model.start(model.encode(*batch(rows, length)))
        tokens = torch.randint(TARGET_VOCAB, (rows,))
        expected, after = model.step(tokens, state)
        assert_equal(step(tokens, state.layers, state.fed, state.source), (expected, after.layers))
