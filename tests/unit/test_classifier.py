"""Sequence classifiers: every architecture answers and learns, and settings that do nothing are refused."""

from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from rounding import additions, assert_close
from torch import Tensor

from seqlab.config.settings import build
from seqlab.errors import UserError
from seqlab.models.classifier import (
    Architecture,
    Elman,
    LastState,
    ParallelStack,
    SequenceClassifier,
    SequenceClassifierConfig,
)

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
PARALLEL: tuple[Architecture, ...] = ("mingru", "lru")
ROWS, LENGTH, INPUTS, CLASSES = 3, 12, 2, 5


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def model(architecture: Architecture, **settings: Any) -> SequenceClassifier:
    config = SequenceClassifierConfig(architecture=architecture, width=8, **settings)
    return SequenceClassifier(config, INPUTS, LENGTH, CLASSES)


def with_strides(architecture: Architecture) -> dict[str, Any]:
    return (
        {"num_layers": 3, "strides": [2, 1, 3], "widening": 2, "positions": True}
        if architecture in PARALLEL
        else {"num_layers": 3}
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_reach_every_weight(architecture: Architecture, autocast: bool) -> None:
    classifier = model(architecture, **with_strides(architecture))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = classifier(torch.rand(ROWS, LENGTH, INPUTS))
    assert logits.shape == (ROWS, CLASSES)
    F.cross_entropy(logits.float(), torch.tensor([0, 3, 4])).backward()
    without = [name for name, p in classifier.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert without == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_raw_pixels_give_finite_answers_and_gradients(architecture: Architecture) -> None:
    classifier = model(architecture)
    logits = classifier(torch.randint(0, 256, (ROWS, LENGTH, INPUTS)).float())
    logits.square().sum().backward()
    assert bool(logits.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in classifier.parameters() if p.grad is not None)


@pytest.mark.parametrize("architecture", PARALLEL)
def test_the_scale_of_inputs_hardly_matters_to_a_norm(architecture: Architecture) -> None:
    """Where the first layer has no biases in the way, raw pixels give the logits of scaled ones."""
    classifier = model(architecture).eval()
    inputs = torch.rand(ROWS, LENGTH, INPUTS)
    difference = (classifier(255 * inputs) - classifier(25 * inputs)).abs().max().item()
    assert difference < (0.5 if architecture == "mingru" else 1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_do_not_meet_and_dropout_ends_with_training(architecture: Architecture) -> None:
    classifier = model(architecture, dropout=0.5, **with_strides(architecture)).eval()
    inputs = torch.randn(ROWS, LENGTH, INPUTS)
    together = classifier(inputs)
    torch.testing.assert_close(together, classifier(inputs))
    for row in range(ROWS):
        alone = classifier(inputs[row : row + 1])
        assert_close(together[row : row + 1], alone, terms=LENGTH * additions(classifier))


def test_input_dropout_hides_numbers_in_training_only() -> None:
    classifier = model("lstm", dropout=0.0, input_dropout=0.25)
    seen: list[Tensor] = []
    classifier.body.register_forward_pre_hook(lambda body, arguments: seen.append(arguments[0]))
    inputs = torch.ones(200, LENGTH, INPUTS)
    classifier.train()(inputs)
    classifier.eval()(inputs)
    assert seen[0].unique().tolist() == pytest.approx([0, 4 / 3])
    assert (seen[0] == 0).double().mean().item() == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(seen[1], inputs)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_order_of_steps_matters(architecture: Architecture) -> None:
    classifier = model(architecture).eval()
    inputs = torch.randn(ROWS, LENGTH, INPUTS)
    assert not torch.allclose(classifier(inputs), classifier(inputs.flip(1)), atol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_few_updates_learn_which_half_is_brighter(architecture: Architecture) -> None:
    """Left or right: the place counts, and some of it lies far back."""
    narrow: dict[str, Any] = {"feedforward": 16} if architecture == "transformer" else {}
    config = SequenceClassifierConfig(architecture=architecture, width=16, num_layers=2, dropout=0.0, **narrow)
    classifier = SequenceClassifier(config, 1, LENGTH, 2)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-2)
    inputs = torch.randn(128, LENGTH, 1)
    labels = (inputs[:, : LENGTH // 2].sum((1, 2)) > inputs[:, LENGTH // 2 :].sum((1, 2))).long()
    for _ in range(160):
        optimizer.zero_grad()
        F.cross_entropy(classifier(inputs), labels).backward()
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimizer.step()
    assert (classifier(inputs).argmax(-1) == labels).float().mean().item() > 0.9


def test_an_elman_net_is_its_equation() -> None:
    layer = Elman(INPUTS, 4).double()
    input_matrix, recurrent_matrix = layer.kernel.parameters()
    torch.nn.init.normal_(input_matrix)
    x = torch.randn(ROWS, LENGTH, INPUTS).double()
    outputs, (last,) = layer(x, torch.ones(ROWS, LENGTH).double())
    state = torch.zeros(ROWS, 4).double()
    for place in range(LENGTH):
        state = torch.tanh(x[:, place] @ input_matrix[:, :-1].T + input_matrix[:, -1] + state @ recurrent_matrix.T)
        torch.testing.assert_close(outputs[:, place], state)
    torch.testing.assert_close(last, state)


def test_an_elman_net_starts_with_an_orthogonal_matrix() -> None:
    input_matrix, recurrent_matrix = Elman(INPUTS, 16).kernel.parameters()
    assert_close(recurrent_matrix @ recurrent_matrix.T, torch.eye(16), terms=16 * 16)
    assert input_matrix[:, -1].tolist() == [0.0] * 16


def test_the_last_states_of_a_bilstm_have_each_read_everything() -> None:
    """Forwards the last step's outputs, backwards the first's; each direction equals a net that reads that way."""
    body = model("bilstm", num_layers=1, dropout=0.0).body
    assert isinstance(body, LastState)
    x, real = torch.randn(ROWS, LENGTH, INPUTS), torch.ones(ROWS, LENGTH)
    forwards, backwards = body.forwards[0](x, real)[0], body.backwards[0](x.flip(1), real)[0]
    expected = torch.cat([forwards[:, -1], backwards[:, -1]], dim=-1)
    assert_close(body(x), expected, terms=LENGTH * additions(body))


def test_only_a_bidirectional_unit_sees_what_comes_later() -> None:
    for bidirectional in (False, True):
        body = model("lru", bidirectional=bidirectional).body
        assert isinstance(body, ParallelStack)
        x = torch.randn(LENGTH, ROWS, INPUTS)
        changed = torch.cat([x[:-1], x[-1:] + 1])
        same = torch.equal(body.stem(x)[:-1], body.stem(changed)[:-1])
        assert same != bidirectional


@pytest.mark.parametrize("architecture", PARALLEL)
def test_strides_shorten_and_widen(architecture: Architecture) -> None:
    config = SequenceClassifierConfig(architecture=architecture, width=8, num_layers=4, strides=(2, 1, 3), widening=2)
    assert config.stride_of_layers == (2, 1, 3, 1)
    assert config.width_of_layers == (8, 8, 16, 16)
    body = SequenceClassifier(config, INPUTS, LENGTH, CLASSES).body
    assert isinstance(body, ParallelStack)
    shapes: list[torch.Size] = []
    x = body.stem(torch.randn(LENGTH, ROWS, INPUTS))
    for block in body.blocks:
        shapes.append(x.shape)
        x = block(x)
    assert [*shapes, x.shape] == [(6, ROWS, 8), (6, ROWS, 8), (2, ROWS, 16), (2, ROWS, 16)]


def test_strides_that_do_not_divide_the_length_are_refused() -> None:
    with pytest.raises(UserError, match=r"strides \[5\] do not fit sequences of 12 steps"):
        model("lru", strides=(5,))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"architecture": "lstm", "strides": [4]}, 'has no effect with architecture="lstm": choose mingru or lru'),
        ({"architecture": "mingru", "state_size": 8}, "state_size=8 has no effect"),
        ({"architecture": "lru", "num_heads": 2}, "num_heads=2 has no effect"),
        ({"architecture": "transformer", "num_heads": 3}, "num_heads 3 does not divide width 128"),
        ({"architecture": "bilstm", "width": 7}, "width 7 is odd"),
        ({"state_size": 5}, "state_size 5 is odd"),
        ({"min_radius": 0.9995}, "min_radius 0.9995 is not below max_radius 0.999"),
        ({"strides": [2, 2, 2]}, "must be at most 2 numbers"),
        ({"strides": [0]}, "must be at most 2 numbers of 1 or more"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        build(SequenceClassifierConfig, settings, "recipe.toml")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def operations(architecture: Architecture, **settings: Any) -> float:
    """Of a row of 12 steps of 2 numbers, without the output layer."""
    classifier = model(architecture, **settings)
    lengths = torch.tensor([LENGTH])
    return classifier.forward_flops(lengths, torch.tensor([1])) - 2.0 * classifier.head.weight.numel()


def test_operations_are_those_of_the_equations() -> None:
    width, with_one = 8, INPUTS + 1  # biases are weights of an input of 1
    assert operations("rnn", num_layers=1) == 2 * LENGTH * (with_one * width + width**2)
    assert operations("gru", num_layers=1) == 3 * operations("rnn", num_layers=1)
    assert operations("lstm", num_layers=1) == 4 * operations("rnn", num_layers=1)
    half = 4 * (with_one * width / 2 + width**2 / 4)
    assert operations("bilstm", num_layers=1) == 2 * LENGTH * 2 * half
    assert operations("mingru", num_layers=1) == 2 * LENGTH * (2 * width * INPUTS + 2 * width)
    read_in, read_out = 2 * 6 * INPUTS, 2 * 6 * width
    assert operations("lru", num_layers=1, state_size=6) == 2 * LENGTH * (read_in + 4 * 6 + read_out)
    strided = operations("lru", num_layers=1, state_size=6, strides=(4,))
    assert strided == pytest.approx(2 * LENGTH * (read_in + (4 * 6 + read_out) / 4))
    block = 4 * width**2 + 2 * width * 16 + 2 * LENGTH * width
    expected = 2 * LENGTH * (INPUTS * width + block)
    assert operations("transformer", num_layers=1, num_heads=2, feedforward=16) == expected


def test_operations_add_up_over_rows() -> None:
    classifier = model("transformer", num_heads=2)
    one, two = torch.tensor([LENGTH]), torch.tensor([LENGTH, 5])
    rest = classifier.forward_flops(torch.tensor([5]), one)
    assert classifier.forward_flops(two, two) == pytest.approx(classifier.forward_flops(one, one) + rest)


def test_a_row_is_a_sequence_of_numbers() -> None:
    """Pixel by pixel or row by row, the same image goes in without another view."""
    image: Tensor = torch.rand(2, 28, 28)
    for steps in (image, image.flatten(1)[..., None]):
        config = SequenceClassifierConfig(width=8, state_size=4)
        assert SequenceClassifier(config, steps.shape[2], steps.shape[1], 10)(steps).shape == (2, 10)
