"""Operations counted by hand are those that torch counts, and a model without a count of its own gets torch's."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqlab.errors import UserError
from seqlab.models.classifier import SequenceClassifier, SequenceClassifierConfig
from seqlab.models.flops import forward_flops_of
from seqlab.models.recurrent import RecurrentConfig, RecurrentEncoderDecoder
from seqlab.models.transformer import Transformer, TransformerConfig

LENGTHS = torch.tensor([6, 17, 30]), torch.tensor([5, 40, 1])
"""Others than those at which is counted."""


def ids(tokens: int) -> Tensor:
    return torch.zeros(1, tokens, dtype=torch.long, device="meta")


def translate(model: Any, source: int, target: int) -> Tensor:
    """What training calls, with one row without padding."""
    return model(ids(source), ids(source).bool(), ids(target), ids(target)[0])


def classify(model: SequenceClassifier, steps: int, _: int) -> Tensor:
    return model(torch.zeros(1, steps, 2, device="meta"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "options", [{}, {"activation": "swiglu", "sharing": "albert", "tying": "decoder", "positions": "rotary"}]
)
def test_transformer(options: dict[str, Any]) -> None:
    sizes: dict[str, Any] = {"width": 32, "feedforward": 48, "num_heads": 4, "encoder_layers": 2, "decoder_layers": 1}
    model = Transformer(TransformerConfig(**(sizes | options)), 40, 50)
    assert forward_flops_of(model, translate)(*LENGTHS) == pytest.approx(model.forward_flops(*LENGTHS), rel=1e-9)


@pytest.mark.parametrize("options", [{"attention": "local-p"}, {"cell": "gru", "input_feeding": True}])
def test_recurrent(options: dict[str, Any]) -> None:
    """But for the columns of biases, of which torch counts up to two beside the 2 D of inputs and states."""
    width = 64
    model = RecurrentEncoderDecoder(RecurrentConfig(width=width, num_layers=1, **options), 40, 50)
    counted, by_hand = forward_flops_of(model, translate)(*LENGTHS), model.forward_flops(*LENGTHS)
    assert by_hand < counted < by_hand * (1 + 1 / width)


@pytest.mark.parametrize("architecture", ["rnn", "gru", "lstm", "bilstm", "mingru", "lru", "transformer"])
def test_sequence_classifier(architecture: Any) -> None:
    """Products only: by hand, the scans of mingru and lru are counted too."""
    width, steps, states = 8, 12, 6
    options: dict[str, Any] = {"state_size": states} if architecture == "lru" else {}
    config = SequenceClassifierConfig(architecture=architecture, width=width, num_layers=1, **options)
    model = SequenceClassifier(config, input_size=2, length=steps, num_classes=3)
    lengths = torch.tensor([steps, steps]), torch.tensor([1, 1])
    scan = {"mingru": 2 * width, "lru": 4 * states}.get(architecture, 0)
    counted = forward_flops_of(model, classify, shapes=[(steps, 1)])(*lengths)
    assert counted == pytest.approx(model.forward_flops(*lengths) - 2 * 2.0 * steps * scan, rel=1e-9)


def test_pretrained_encoder() -> None:
    """But for the head, which is not counted by hand."""
    transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")
    from seqlab.models.hf.encoder import PretrainedConfig, SpanModel

    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    network = transformers.BertForQuestionAnswering(transformers.BertConfig(**sizes, intermediate_size=48))
    model = SpanModel(PretrainedConfig(), network)
    source, target = LENGTHS
    counted = forward_flops_of(model, lambda model, tokens, _: model(ids(tokens), ids(tokens).bool(), ids(tokens)))
    head = 2 * 2 * 32 * int(source.sum())
    assert counted(source, target) == pytest.approx(model.forward_flops(source, target) + head, rel=1e-9)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_pretrained_encoder_decoder(kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")
    from seqlab.models.hf.encoder_decoder import PretrainedEncoderDecoder, PretrainedEncoderDecoderConfig

    sizes = {"vocab_size": 50, "d_model": 32, "decoder_start_token_id": 0}
    if kind == "t5":
        settings = transformers.T5Config(**sizes, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
        network = transformers.T5ForConditionalGeneration(settings)
    else:
        heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
        widths = {"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "encoder_layers": 2, "decoder_layers": 1}
        network = transformers.BartForConditionalGeneration(transformers.BartConfig(**sizes, **heads, **widths))
    prompt = (2,) if kind == "bart" else ()
    model = PretrainedEncoderDecoder(PretrainedEncoderDecoderConfig(checkpoint="none"), network, prompt)
    assert forward_flops_of(model, translate)(*LENGTHS) == pytest.approx(model.forward_flops(*LENGTHS), rel=1e-9)


class TestAModelWithoutACount:
    def test_is_counted_and_stays_as_it_is(self) -> None:
        model = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 3, bias=False))
        model[1].weight.requires_grad_(False)
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        flops = forward_flops_of(model, lambda model, source, target: model(ids(source)))
        assert flops(torch.tensor([4, 100]), torch.tensor([1, 1])) == pytest.approx(2 * 104 * 15)
        assert model.training
        for name, parameter in model.named_parameters():
            assert parameter.device.type == "cpu"
            assert torch.equal(parameter, before[name])

    def test_that_needs_values_is_refused_in_one_line(self) -> None:
        class Asks(nn.Module):
            def forward(self, tokens: Tensor) -> Tensor:
                return tokens * int(tokens.sum())

        with pytest.raises(
            UserError, match=r"operations of Asks cannot be counted.*give it a method forward_flops"
        ) as e:
            forward_flops_of(Asks(), lambda model, source, target: model(ids(source)))
        assert "\n" not in str(e.value)
