"""The recurrent encoder-decoder: cache, padding, windows, precision, initialisation, operations, learning."""

import math
import random
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from seqlab.config.settings import build
from seqlab.data.batching.pairs import EncodedPairs
from seqlab.data.corpora.corpus import Example
from seqlab.decode.contract import RowSelection
from seqlab.decode.search import search
from seqlab.decode.settings import DecodeConfig
from seqlab.errors import UserError
from seqlab.experiment.config import load
from seqlab.layers.functional import cross_entropy_sum
from seqlab.models.recurrent import RecurrentConfig, RecurrentEncoderDecoder

SOURCE_VOCAB, TARGET_VOCAB = 13, 11
BOS_ID, EOS_ID = 1, 2

LUONG = [
    {"attention": attention, "score": score, "input_feeding": feeding}
    for attention, score, feeding in product(
        ("global", "local-m", "local-p"), ("dot", "general", "concat", "location"), (False, True)
    )
]
KINDS = [{"attention": "none"}, {"attention": "bahdanau"}, *LUONG]
NETS = [{"cell": "lstm"}, {"cell": "gru", "bidirectional": True}]


def name_of(settings: dict[str, object]) -> str:
    return "-".join(str(value) for value in settings.values())


every_kind = pytest.mark.parametrize("settings", KINDS, ids=name_of)
every_net = pytest.mark.parametrize("net", NETS, ids=name_of)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def small(**changes: object) -> RecurrentConfig:
    local = str(changes.get("attention", "")).startswith("local")
    settings = {"width": 8, "num_layers": 2, "dropout": 0.0, "max_length": 4} | ({"window_radius": 2} if local else {})
    return RecurrentConfig.model_validate(settings | changes)


def model_of(**changes: object) -> RecurrentEncoderDecoder:
    return RecurrentEncoderDecoder(small(**changes), SOURCE_VOCAB, TARGET_VOCAB).double().eval()


def ragged_batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sources of 7, 1 and 4 words, the first longer than the window and than the places of a location score."""
    source, target = torch.randint(SOURCE_VOCAB, (3, 7)), torch.randint(TARGET_VOCAB, (3, 5))
    source_mask = torch.arange(7) < torch.tensor([[7], [1], [4]])
    target_mask = torch.arange(5) < torch.tensor([[3], [5], [1]])
    return source, source_mask, target, target_mask


def places(mask: Tensor) -> Tensor:
    return mask.flatten().nonzero().squeeze(1)


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    source, source_mask, target, target_mask = ragged_batch()
    return source, source_mask, target, places(target_mask)


@every_net
@every_kind
def test_cached_steps_equal_teacher_forcing(settings: dict, net: dict) -> None:
    model = model_of(**settings, **net)
    source, source_mask, target, target_mask = ragged_batch()
    state, steps = model.start(model.encode(source, source_mask)), []
    for tokens in target.unbind(1):
        logits, state = model.step(tokens, state)
        steps.append(logits)
    whole = model(source, source_mask, target, places(target_mask))
    torch.testing.assert_close(torch.stack(steps, dim=1)[target_mask], whole)


@every_net
@every_kind
def test_rows_see_neither_padding_nor_batch_mates(settings: dict, net: dict) -> None:
    model = model_of(**settings, **net)
    source, source_mask, target, target_mask = ragged_batch()
    together = model(source, source_mask, target, places(target_mask))
    wider = [F.pad(part, (0, 3)) for part in (source, source_mask, target, target_mask)]
    torch.testing.assert_close(model(*wider[:3], places(wider[3])), together)
    for row, expected in enumerate(together.split(target_mask.sum(1).tolist())):
        s, t = int(source_mask[row].sum()), int(target_mask[row].sum())
        one = slice(row, row + 1)
        torch.testing.assert_close(
            model(source[one, :s], source_mask[one, :s], target[one, :t], torch.arange(t)), expected
        )


@every_kind
def test_later_target_tokens_are_not_seen(settings: dict) -> None:
    model = model_of(**settings)
    source, source_mask, target, _ = ragged_batch()
    changed = target.clone()
    changed[:, 3] = (changed[:, 3] + 1) % TARGET_VOCAB
    before, after = (model(source, source_mask, ids, torch.arange(15)).view(3, 5, -1) for ids in (target, changed))
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert not torch.allclose(after[:, 3:], before[:, 3:])


@every_kind
def test_gradients_reach_every_parameter(settings: dict) -> None:
    model = model_of(**settings, dropout=0.1).train()
    model(*inputs()).square().sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@every_kind
def test_beam_of_one_is_greedy_and_rows_share_their_source(settings: dict) -> None:
    model = model_of(**settings)
    source, source_mask, *_ = ragged_batch()
    greedy, one, wide = (
        search(model, source, source_mask, DecodeConfig.model_validate(config), bos_id=BOS_ID, eos_id=EOS_ID)
        for config in (
            {"method": "greedy", "max_length": 9},
            {"method": "beam", "beam_width": 1, "max_length": 9},
            {"method": "beam", "beam_width": 3, "n_best": 3, "max_length": 9},
        )
    )
    assert [row[0].ids for row in one] == [row[0].ids for row in greedy]
    for row, found in enumerate(wide):  # the log-probability of each hypothesis is that of teacher forcing
        for hypothesis in found:
            written = [*hypothesis.ids, *([EOS_ID] if hypothesis.finished else [])]
            target = torch.tensor([[BOS_ID, *written[:-1]]])
            logits = model(source[row : row + 1], source_mask[row : row + 1], target, torch.arange(len(written)))
            log_probs = logits.log_softmax(-1)[torch.arange(len(written)), written]
            assert hypothesis.score == pytest.approx(log_probs.sum().item(), abs=1e-4)


@every_kind
def test_select_rows_is_a_choice_of_rows(settings: dict) -> None:
    model = model_of(**settings)
    source, source_mask, target, _ = ragged_batch()
    _, state = model.step(target[:, 0], model.start(model.encode(source, source_mask)))
    whole, _ = model.step(target[:, 1], state)
    index = torch.tensor([2, 0, 2, 1])
    chosen, _ = model.step(target[index, 1], model.select_rows(state, RowSelection(rows=index, sources=index)))
    torch.testing.assert_close(chosen, whole[index])
    two_of_each = RowSelection(rows=torch.tensor([2, 2, 0, 0]), sources=torch.tensor([2, 0]))
    doubled = model.select_rows(state, two_of_each)
    assert doubled.source is None or len(doubled.source.mask) == 2
    second = RowSelection(rows=torch.tensor([3, 2, 2]), sources=torch.tensor([1]))  # its source is that of row 0 above
    again = model.select_rows(doubled, second)
    logits, _ = model.step(target[[0, 0, 0], 1], again)
    torch.testing.assert_close(logits, whole[[0, 0, 0]])


@pytest.mark.parametrize("settings", KINDS[1:], ids=name_of)
def test_attention_weights_are_those_of_the_steps(settings: dict) -> None:
    """The weights make the contexts: a source state that has none may be anything."""
    model = model_of(**settings)
    source, source_mask, target, target_mask = ragged_batch()
    weights = model.attention_weights(source, source_mask, target, target_mask)
    assert weights.shape == (3, 1, 5, 7)
    assert model.attention_layers == 1
    assert not weights[~target_mask[:, None]].any()
    assert not weights.transpose(2, 3)[~source_mask[:, None]].any()
    centres = model.window_centres(source, source_mask, target)
    if settings["attention"] in ("global", "bahdanau"):
        torch.testing.assert_close(weights.sum(-1)[:, 0], target_mask.double())
        assert centres is None
    else:
        assert centres is not None
        far = (torch.arange(1, 8) - centres[..., None]).abs() > 2
        assert not weights[:, 0][far].any()
        assert far.any()


@pytest.mark.parametrize(
    ("attention", "kind", "depth"), [("none", "cross", 0), ("global", "encoder", 0), ("global", "cross", 1)]
)
def test_attention_that_is_not_there(attention: str, kind: str, depth: int) -> None:
    with pytest.raises(UserError, match=f"no {kind} attention at depth {depth}"):
        model_of(attention=attention).attention_weights(*ragged_batch(), kind=kind, depth=depth)  # type: ignore[arg-type]


@every_kind
def test_gradients_are_right_in_float64(settings: dict) -> None:
    model, batch = model_of(**settings), inputs()
    weights = model.state_dict()
    name = "encoder.forwards.0.kernel.weight_ih_l0"

    def loss(chosen: Tensor) -> Tensor:
        return torch.func.functional_call(model, weights | {name: chosen}, batch).square().sum()

    assert torch.autograd.gradcheck(loss, [weights[name].clone().requires_grad_()], fast_mode=True)


@pytest.mark.parametrize("mode", [torch.bfloat16, torch.float16])
@every_net
@every_kind
def test_nets_run_in_fp32_under_autocast(settings: dict, net: dict, mode: torch.dtype) -> None:
    """Only the output matrix is rounded, so logits agree to its precision; training and searching both run."""
    model, batch = model_of(**settings, **net).float(), inputs()
    exact = model(*batch)
    with torch.autocast("cpu", dtype=mode):
        rounded = model(*batch)
        memory = model.encode(*batch[:2])
        stepped, _ = model.step(batch[2][:, 0], model.start(memory))
    rounded.float().sum().backward()
    assert rounded.dtype == stepped.dtype == mode
    assert {part.dtype for layer in memory.states for part in layer} == {torch.float32}
    torch.testing.assert_close(rounded.float(), exact, rtol=0.02, atol=0.02)


@every_kind
def test_training_reads_nothing_from_the_device(settings: dict) -> None:
    """A tensor on "meta" has no values to be asked for."""
    model = RecurrentEncoderDecoder(small(**settings, dropout=0.1), SOURCE_VOCAB, TARGET_VOCAB).to("meta").train()
    batch = [part.to("meta") for part in inputs()]
    cross_entropy_sum(model(*batch), batch[3]).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("net", [{}, {"cell": "gru"}, {"bidirectional": True}], ids=name_of)
@every_kind
def test_counted_operations_are_torchs(settings: dict, net: dict) -> None:
    """But for the column of biases, which torch's kernels multiply by 1."""
    config = {"width": 32, "max_length": 9}
    model = RecurrentEncoderDecoder(small(**config, **settings, **net), SOURCE_VOCAB, TARGET_VOCAB).double()
    source, target = torch.randint(SOURCE_VOCAB, (3, 6)), torch.randint(TARGET_VOCAB, (3, 5))
    with FlopCounterMode(display=False) as counter:  # in float64, as torch does not see inside oneDNN's LSTM
        model(source, torch.ones_like(source).bool(), target, torch.arange(15))
    counted = model.forward_flops(torch.tensor([6, 6, 6]), torch.tensor([5, 5, 5]))
    assert counted == pytest.approx(counter.get_total_flops(), rel=1 / 32)


@pytest.mark.parametrize(("tying", "matrices"), [("none", 3), ("decoder", 2), ("all", 1)])
def test_tied_matrices_are_stored_once(tying: str, matrices: int, tmp_path) -> None:
    models = [RecurrentEncoderDecoder(small(tying=tying), TARGET_VOCAB, TARGET_VOCAB) for _ in range(2)]
    assert sum(parameter.shape == (TARGET_VOCAB, 8) for parameter in models[0].parameters()) == matrices
    save_file(models[0].state_dict(), tmp_path / "model.safetensors")
    models[1].load_state_dict(load_file(tmp_path / "model.safetensors"))
    ids = torch.randint(TARGET_VOCAB, (2, 4))
    torch.testing.assert_close(*(model(ids, ids >= 0, ids, torch.arange(8)) for model in models), rtol=0, atol=0)


def test_tying_all_needs_one_vocabulary() -> None:
    with pytest.raises(UserError, match="source has 13 entries and the target 11"):
        RecurrentEncoderDecoder(small(tying="all"), 13, 11)


@every_kind
def test_the_first_loss_is_that_of_guessing(settings: dict) -> None:
    model = RecurrentEncoderDecoder(small(**settings, width=64), 400, 500)
    ids = torch.randint(400, (8, 12))
    loss = cross_entropy_sum(model(ids, ids >= 0, ids, torch.arange(96)), ids.flatten()) / 96
    assert loss.item() == pytest.approx(math.log(500), rel=0.1)


def test_dropout_acts_in_training_only() -> None:
    model, batch = model_of(dropout=0.3, input_feeding=True), inputs()
    torch.testing.assert_close(model(*batch), model(*batch), rtol=0, atol=0)
    model.train()
    assert not torch.allclose(model(*batch), model(*batch))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"attention": "none", "score": "dot"}, 'score=dot has no effect with attention="none": choose global, local'),
        ({"attention": "global", "window_radius": 5}, 'window_radius=5 has no effect with attention="global"'),
        ({"attention": "bahdanau", "input_feeding": True}, 'input_feeding=True has no effect with attention="bahda'),
        ({"width": 9, "bidirectional": True}, "width 9 is odd"),
        ({"num_heads": 4}, "unknown setting num_heads"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        build(RecurrentConfig, settings, "test")


def test_a_monotonic_window_needs_both_sides_in_one_order() -> None:
    model = {"model.kind": "recurrent", "model.attention": "local-m"}
    with pytest.raises(UserError, match="only one side is reversed"):
        load("math-sort", {**model, "text.reverse_source": True, "text.reverse_target": False})
    load("math-sort", {**model, "text.reverse_source": False, "text.reverse_target": False})


@pytest.mark.parametrize(
    "settings",
    [
        {"attention": "local-m"},
        {"attention": "bahdanau", "cell": "gru", "bidirectional": True},
        {"input_feeding": True, "score": "dot"},
    ],
    ids=name_of,
)
def test_learns_to_copy(settings: dict) -> None:
    """Strings of letters that it has never seen, in a few seconds."""
    model = RecurrentEncoderDecoder(small(width=32, num_layers=1, max_length=9, **settings), 12, 12)
    drawn = random.Random(0)
    texts = ["".join(drawn.choices("abcdefgh", k=drawn.randint(3, 6))) for _ in range(20_000)]
    held_out = set(texts[:100])
    training = [text for text in texts if text not in held_out]

    def ids(texts: list[str]) -> list[list[int]]:
        return [[4 + ord(letter) - ord("a") for letter in text] for text in texts]

    def pairs(texts: list[str]) -> EncodedPairs:
        examples = [Example(text, text) for text in texts]
        return EncodedPairs.encode(examples, ids, ids, pad_id=0, bos_id=BOS_ID, eos_id=EOS_ID)  # type: ignore[arg-type]

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    encoded = pairs(training)
    for update in range(350):
        batch = encoded.batch(np.arange(update * 48, update * 48 + 48), 6, 7)
        (cross_entropy_sum(model(*batch.inputs), batch.labels) / batch.tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    test = pairs(sorted(held_out)).batch(np.arange(len(held_out)), 6, 7)
    found = search(model, test.source, test.source_mask, DecodeConfig(max_length=8), bos_id=BOS_ID, eos_id=EOS_ID)
    right = [row[0].ids == expected for row, expected in zip(found, ids(sorted(held_out)), strict=True)]
    assert sum(right) >= 0.95 * len(right)
