"""Our recurrent layers against torch's with the same weights: packed sequences, and cells step by step."""

from typing import Any, cast

import pytest
import torch
from rounding import additions, assert_close
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqlab.layers.recurrent import CellKind, Recurrence, RecurrentDecoder, RecurrentEncoder

WIDTH, LAYERS = 6, 2
LENGTHS = torch.tensor([5, 1, 3])
CELLS: tuple[CellKind, ...] = ("lstm", "gru")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def copied(ours: RecurrentEncoder | RecurrentDecoder, cell: CellKind, bidirectional: bool = False) -> nn.RNNBase:
    """torch's stack with our weights, our biases made random first."""
    width = WIDTH // 2 if bidirectional else WIDTH
    kernel = nn.LSTM if cell == "lstm" else nn.GRU
    theirs = kernel(WIDTH, width, LAYERS, batch_first=True, bidirectional=bidirectional).double()
    if isinstance(ours, RecurrentDecoder):
        directions: dict[str, Any] = {"": ours.layers}
    else:
        directions = {"": ours.forwards} | ({"_reverse": ours.backwards} if ours.backwards is not None else {})
    with torch.no_grad():
        for suffix, layers in directions.items():
            for depth, layer in enumerate(layers):
                nn.init.normal_(layer.input_matrix)
                getattr(theirs, f"weight_ih_l{depth}{suffix}").copy_(layer.input_matrix[:, :-1])
                getattr(theirs, f"bias_ih_l{depth}{suffix}").copy_(layer.input_matrix[:, -1])
                getattr(theirs, f"weight_hh_l{depth}{suffix}").copy_(layer.recurrent_matrix)
                getattr(theirs, f"bias_hh_l{depth}{suffix}").zero_()
    return theirs


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("more_padding", [0, 2])
def test_an_encoder_reads_padded_rows_as_torch_reads_packed_ones(
    cell: CellKind, bidirectional: bool, more_padding: int
) -> None:
    ours = RecurrentEncoder(cell, WIDTH, LAYERS, bidirectional, dropout=0.0).double()
    theirs = copied(ours, cell, bidirectional)
    x = torch.randn(len(LENGTHS), 5 + more_padding, WIDTH).double()  # padding holds something, too
    mask = torch.arange(x.shape[1]) < LENGTHS[:, None]
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    outputs, last = theirs(packed)
    expected, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
    found, states = ours(x, mask)
    torch.testing.assert_close(found, expected)  # 0 at padding on both sides
    parts = last if cell == "lstm" else (last,)
    for part, theirs_of_part in enumerate(parts):
        directions = theirs_of_part.unflatten(0, (LAYERS, -1))
        for depth in range(LAYERS):
            torch.testing.assert_close(states[depth][part], torch.cat(directions[depth].unbind(0), dim=-1))


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_do_not_grow_in_padding(cell: CellKind) -> None:
    """Strong matrices, and much padding: without shut gates gradients overflow there, and 0 times infinity is NaN."""
    encoder = RecurrentEncoder(cell, WIDTH, 1, bidirectional=True, dropout=0.0)
    with torch.no_grad():
        for layer in (*encoder.forwards, *cast(nn.ModuleList, encoder.backwards)):
            cast(Recurrence, layer).recurrent_matrix.mul_(20)
    x = torch.randn(1, 600, WIDTH)
    mask = torch.arange(600)[None] < 3

    def gradients(places: int) -> list[Tensor]:
        outputs, _ = encoder(x[:, :places], mask[:, :places])
        return list(torch.autograd.grad(outputs.square().sum(), list(encoder.parameters())))

    for padded, plain in zip(gradients(600), gradients(3), strict=True):
        assert_close(padded, plain, terms=3 * 3 * additions(encoder))  # three steps, forward and backward


@pytest.mark.parametrize("cell", CELLS)
def test_a_decoder_goes_on_from_states_at_once_and_step_by_step(cell: CellKind) -> None:
    ours = RecurrentDecoder(cell, WIDTH, LAYERS, dropout=0.0).double()
    theirs = copied(ours, cell)
    x = torch.randn(3, 4, WIDTH).double()
    first = [torch.randn(LAYERS, 3, WIDTH).double() for _ in range(2 if cell == "lstm" else 1)]
    expected, _ = theirs(x, tuple(first) if cell == "lstm" else first[0])
    states = tuple(zip(*(part.unbind(0) for part in first), strict=True))
    torch.testing.assert_close(ours(x, states), expected)
    outputs: list[Tensor] = []
    for projected in ours.project(x).unbind(1):
        states = ours.step(projected, states)
        outputs.append(states[-1][0])
    torch.testing.assert_close(torch.stack(outputs, dim=1), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_first_weights(cell: CellKind) -> None:
    """Orthogonal recurrent matrices, a forget gate that is open, Xavier-uniform inputs, other biases 0."""
    width = 64
    layer = Recurrence(cell, width, width)
    gates = 4 if cell == "lstm" else 3
    for gate in layer.recurrent_matrix.chunk(gates):
        assert_close(gate @ gate.T, torch.eye(width), terms=width * width)
    for number, gate in enumerate(layer.input_matrix.chunk(gates)):
        bias = 1.0 if cell == "lstm" and number == 1 else 0.0
        assert gate[:, -1].tolist() == [bias] * width
        assert gate[:, :-1].std().item() == pytest.approx((2 / (2 * width)) ** 0.5, rel=0.05)
