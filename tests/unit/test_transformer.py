"""The Transformer: caches, sharing, padding, attention weights, initialisation, operations, tying."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from seqlab.config.settings import build
from seqlab.decode.contract import RowSelection
from seqlab.errors import UserError
from seqlab.layers import attention
from seqlab.layers.functional import cross_entropy_sum
from seqlab.models.transformer import Transformer, TransformerConfig

SCHEMES = [
    ("none", None),
    ("albert", None),
    ("universal", None),
    ("sequence", 2),
    ("cycle", 2),
    ("cycle-rev", 2),
]
SOURCE_VOCAB, TARGET_VOCAB = 13, 11


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def small(**changes) -> TransformerConfig:
    settings = {
        "width": 16,
        "feedforward": 24,
        "num_heads": 2,
        "encoder_layers": 4,
        "decoder_layers": 4,
        "dropout": 0.0,
        "max_length": 20,
    }
    return TransformerConfig(**(settings | changes))


def model_of(**changes) -> Transformer:
    return Transformer(small(**changes), SOURCE_VOCAB, TARGET_VOCAB).double().eval()


def ragged_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.randint(SOURCE_VOCAB, (3, 6))
    target = torch.randint(TARGET_VOCAB, (3, 5))
    source_mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    target_mask = torch.arange(5) < torch.tensor([[3], [5], [1]])
    return source, source_mask, target, target_mask


def places(mask: torch.Tensor) -> torch.Tensor:
    """Where a mask is True, as a batch has it made when it is collated."""
    return mask.flatten().nonzero().squeeze(1)


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    *sides, target_mask = ragged_batch()
    return (*sides, places(target_mask))


def step_logits(model: Transformer, source, source_mask, target) -> torch.Tensor:
    """Logits (B, T, V) from the cache, one token at a time."""
    state = model.start(model.encode(source, source_mask))
    logits = []
    for tokens in target.unbind(1):
        out, state = model.step(tokens, state)
        logits.append(out)
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize(("sharing", "distinct"), SCHEMES)
@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
@pytest.mark.parametrize(("norm", "placement"), [("layer", "pre"), ("rms", "pre"), ("layer", "post")])
def test_cached_steps_equal_teacher_forcing(sharing, distinct, positions, norm, placement):
    model = model_of(
        sharing=sharing,
        distinct_layers=distinct,
        positions=positions,
        norm=norm,
        norm_placement=placement,
        qk_norm=True,
    )
    source, source_mask, target, target_mask = ragged_batch()
    full = model(source, source_mask, target, places(target_mask))
    torch.testing.assert_close(step_logits(model, source, source_mask, target)[target_mask], full)


def test_select_rows_is_a_choice_of_rows():
    model = model_of()
    source, source_mask, target, _ = ragged_batch()
    state = model.start(model.encode(source, source_mask))
    _, state = model.step(target[:, 0], state)
    index = torch.tensor([2, 0, 2, 1])
    whole, _ = model.step(target[:, 1], state)
    chosen, _ = model.step(target[index, 1], model.select_rows(state, RowSelection(rows=index, sources=index)))
    torch.testing.assert_close(chosen, whole[index])


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_more_padding_changes_nothing(positions):
    model = model_of(positions=positions)
    source, source_mask, target, target_mask = ragged_batch()
    padded = [torch.nn.functional.pad(x, (0, 3), value=0) for x in (source, source_mask, target, target_mask)]
    padded[-1] = places(padded[-1])
    torch.testing.assert_close(model(*padded), model(source, source_mask, target, places(target_mask)))


def test_rows_do_not_see_their_batch_mates():
    model = model_of()
    source, source_mask, target, target_mask = ragged_batch()
    together = model(source, source_mask, target, places(target_mask)).split(target_mask.sum(1).tolist())
    for row, expected in enumerate(together):
        s, t = int(source_mask[row].sum()), int(target_mask[row].sum())
        alone = model(
            source[row : row + 1, :s], source_mask[row : row + 1, :s], target[row : row + 1, :t],
            torch.arange(t),
        )  # fmt: skip
        torch.testing.assert_close(alone, expected)


def test_later_target_tokens_are_not_seen():
    model = model_of()
    source, source_mask, target, _ = ragged_batch()
    everything = torch.ones_like(target, dtype=torch.bool)
    before = model(source, source_mask, target, places(everything)).view(3, 5, -1)
    changed = target.clone()
    changed[:, 3] = (changed[:, 3] + 1) % TARGET_VOCAB
    after = model(source, source_mask, changed, places(everything)).view(3, 5, -1)
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert not torch.allclose(after[:, 3:], before[:, 3:])


@pytest.mark.parametrize(("sharing", "distinct"), SCHEMES)
def test_parameters_are_those_of_the_distinct_layers(sharing, distinct):
    model = model_of(sharing=sharing, distinct_layers=distinct)
    layers = distinct or {"none": 4, "albert": 1, "universal": 1}[sharing]
    matrix, bias, norm, net = 16 * 16, 16, 2 * 16, 2 * 16 * 24 + 24 + 16
    encoder_layer = 4 * (matrix + bias) + net + 2 * norm
    decoder_layer = 8 * (matrix + bias) + net + 3 * norm
    embeddings = 16 * (SOURCE_VOCAB + 2 * TARGET_VOCAB)
    expected = layers * (encoder_layer + decoder_layer) + embeddings + 2 * norm
    assert sum(p.numel() for p in model.parameters()) == expected


def test_gradients_are_right_in_float64():
    model = model_of(sharing="cycle", distinct_layers=2, positions="rotary", activation="swiglu", norm="rms")
    source, source_mask, target, target_mask = ragged_batch()
    weights = model.state_dict()
    names = ["encoder.0.attention.query_key_value.weight", "decoder.1.cross_attention.key_value.weight"]

    def logits(*chosen):
        return torch.func.functional_call(
            model, weights | dict(zip(names, chosen, strict=True)), (source, source_mask, target, places(target_mask))
        ).square().sum()  # fmt: skip

    inputs = [weights[name].clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(logits, inputs, fast_mode=True)


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
@pytest.mark.parametrize("sharing", ["none", "albert"])
def test_attention_weights_are_those_that_the_model_used(kind, sharing, monkeypatch):
    model = model_of(sharing=sharing, positions="rotary")
    batch = ragged_batch()
    used: list[torch.Tensor] = []
    original = attention._weights

    def spy(*arguments):
        used.append(original(*arguments))
        return used[-1]

    monkeypatch.setattr(attention, "_weights", spy)
    monkeypatch.setattr(attention, "prefers_products", lambda *_: True)
    model(*batch[:3], places(batch[3]))
    depth = 2
    index = {"encoder": depth, "decoder": 4 + 2 * depth, "cross": 4 + 2 * depth + 1}[kind]
    real = batch[1 if kind == "encoder" else 3][:, None, :, None]
    torch.testing.assert_close(model.attention_weights(*batch, kind=kind, depth=depth), used[index] * real)


def test_attention_weights_of_an_absent_depth():
    with pytest.raises(UserError, match="depths are 0 to 3"):
        model_of().attention_weights(*ragged_batch(), kind="cross", depth=4)


@pytest.mark.parametrize(("sharing", "distinct"), SCHEMES)
@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_counted_operations_are_torchs(sharing, distinct, activation, monkeypatch):
    # torch counts matrix products, but not its own fused attention on a CPU
    monkeypatch.setattr(attention, "prefers_products", lambda *_: True)
    model = model_of(sharing=sharing, distinct_layers=distinct, activation=activation)
    source, target = torch.randint(SOURCE_VOCAB, (3, 6)), torch.randint(TARGET_VOCAB, (3, 5))
    with FlopCounterMode(display=False) as counter:
        model(source, torch.ones_like(source).bool(), target, torch.arange(target.numel()))
    expected = model.forward_flops(torch.tensor([6, 6, 6]), torch.tensor([5, 5, 5]))
    assert counter.get_total_flops() == expected


@pytest.mark.parametrize(("placement", "branches"), [("pre", (8, 12)), ("post", (1, 1))])
def test_initialisation(placement, branches):
    width, hidden = 128, 512
    model = Transformer(small(width=width, feedforward=hidden, norm_placement=placement, positions="learned"), 500, 400)
    state = model.state_dict()

    def std(name):
        return pytest.approx(state[name].std().item(), rel=0.03)

    xavier = {"square": math.sqrt(2 / (2 * width)), "net": math.sqrt(2 / (width + hidden))}
    for table in ("source_embedding.weight", "target_embedding.weight", "output.weight"):
        assert width**-0.5 == std(table)
    for stack, count in zip(("encoder", "decoder"), branches, strict=True):
        assert xavier["square"] == std(f"{stack}.1.attention.query_key_value.weight")
        assert xavier["net"] == std(f"{stack}.1.feedforward.expand.weight")
        assert xavier["square"] / math.sqrt(count) == std(f"{stack}.1.attention.out.weight")
        assert xavier["net"] / math.sqrt(count) == std(f"{stack}.1.feedforward.out.weight")
    assert xavier["square"] == std("decoder.0.cross_attention.key_value.weight")
    for name, value in state.items():
        if name.endswith("bias"):
            assert not value.any()
    source, target = torch.randint(500, (8, 12)), torch.randint(400, (8, 12))
    everything = torch.ones_like(source).bool()
    assert 0.5 < model(source, everything, target, places(everything)).std() < 2.0


@pytest.mark.parametrize(("tying", "matrices"), [("none", 3), ("decoder", 2), ("all", 1)])
def test_tied_matrices_are_stored_once(tying, matrices, tmp_path):
    model = Transformer(small(tying=tying), TARGET_VOCAB, TARGET_VOCAB)
    assert sum(p.shape == (TARGET_VOCAB, 16) for p in model.parameters()) == matrices
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = Transformer(small(tying=tying), TARGET_VOCAB, TARGET_VOCAB)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    ids = torch.randint(TARGET_VOCAB, (2, 4))
    torch.testing.assert_close(*(m(ids, ids >= 0, ids, torch.arange(8)) for m in (model, other)), rtol=0, atol=0)


def test_tying_all_needs_one_vocabulary():
    with pytest.raises(UserError, match="source has 13 entries and the target 11"):
        Transformer(small(tying="all"), 13, 11)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"width": 10, "num_heads": 4}, "num_heads 4 does not divide width 10"),
        ({"width": 12, "num_heads": 4, "positions": "rotary"}, "rotary positions need an even head width, not 3"),
        ({"width": 9, "num_heads": 3}, "width 9 is odd"),
        ({"sharing": "cycle"}, "needs distinct_layers"),
        ({"sharing": "cycle", "distinct_layers": 2, "encoder_layers": 3}, "distinct_layers 2 does not divide the 3"),
        ({"sharing": "albert", "distinct_layers": 1}, "distinct_layers means nothing"),
        ({"distinct_layers": 3}, "distinct_layers means nothing"),
    ],
)
def test_settings_that_do_not_fit(settings, complaint):
    with pytest.raises(UserError, match=complaint):
        build(TransformerConfig, settings, "test")


def test_a_sequence_beyond_the_limit():
    ids = torch.zeros(1, 21, dtype=torch.long)
    with pytest.raises(UserError, match=r"21 tokens is longer than model.max_length = 20"):
        model_of().encode(ids, ids == 0)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
@pytest.mark.parametrize("sharing", ["none", "universal"])
def test_training_reads_nothing_from_the_device(positions, sharing):
    """A tensor on "meta" has a shape and no values, and takes the ways of a GPU: to ask it for a value is an error."""
    dropouts = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1}
    config = small(positions=positions, sharing=sharing, qk_norm=True, **dropouts)
    model = Transformer(config, SOURCE_VOCAB, TARGET_VOCAB).to("meta").train()
    source, source_mask, target, target_index = (tensor.to("meta") for tensor in inputs())
    logits = model(source, source_mask, target, target_index)
    cross_entropy_sum(logits, target_index, label_smoothing=0.1).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(NotImplementedError):  # so the test can fail
        source_mask.nonzero()
    with pytest.raises(RuntimeError):
        logits.sum().item()


def test_dropout_acts_in_training_only():
    model = model_of(dropout=0.3, attention_dropout=0.2, activation_dropout=0.1)
    batch = inputs()
    torch.testing.assert_close(model(*batch), model(*batch), rtol=0, atol=0)
    model.train()
    state = torch.get_rng_state()
    first = model(*batch)
    assert not torch.allclose(first, model(*batch))
    torch.set_rng_state(state)
    torch.testing.assert_close(model(*batch), first, rtol=0, atol=0)


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_bf16_autocast_agrees_roughly(norm, placement):
    model = model_of(norm=norm, norm_placement=placement).float()
    batch = inputs()
    exact = model(*batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(*batch)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.1)
