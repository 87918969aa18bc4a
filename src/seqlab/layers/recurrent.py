"""LSTM and GRU layers: over whole sequences by torch's kernels, and one step at a time with the same weights.

Shapes: `B` rows, `T` places, `I` input width, `D` width, `G` gates of a cell: 4 of an LSTM, 3 of a GRU.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.layers.functional import Dropout

CellKind = Literal["lstm", "gru"]

State = tuple[Tensor, ...]
"""What a layer remembers, each (B, D): its output, and for an LSTM then its cell state."""

GATES: dict[CellKind, int] = {"lstm": 4, "gru": 3}

AT_PADDING: dict[CellKind, tuple[float, ...]] = {"lstm": (-60.0, -60.0, 0.0, -60.0), "gru": (0.0, 60.0, 0.0)}
"""What is added to the gates at a padded place: all of an LSTM's are closed, a GRU keeps its state."""


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """No autocast inside: torch's LSTM has no 16-bit kernels for training on a CPU, and sums over many steps need fp32.

    A GPU still multiplies in TF32.
    """
    if not torch.amp.is_autocast_available(device.type):  # "meta" knows no autocast
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


class Recurrence(nn.Module):
    """One layer in one direction.

    The bias stands in the input matrix, as the weights of a last column that reads 1 at real places. A padded place
    reads nothing but zeros, so it leaves a state of zeros as it is: padding before a sequence changes nothing, though
    torch's kernels know no mask. A GRU has no second bias inside its reset gate.

    Gradients still go back through padding. With gates half open they can grow at every place, and what overflows is no
    number even where it is multiplied by 0. So gates are shut there, by one more column that is not trained.
    """

    at_padding: Tensor

    def __init__(self, cell: CellKind, input_width: int, width: int):
        super().__init__()
        kernel = nn.LSTM if cell == "lstm" else nn.GRU
        self.cell: CellKind = cell
        self.kernel = kernel(input_width + 1, width, bias=False, batch_first=True)
        self.register_buffer("at_padding", torch.tensor(AT_PADDING[cell]).repeat_interleave(width)[:, None], False)
        self.reset_parameters()

    def forward(self, x: Tensor, real: Tensor | None, state: State | None = None) -> tuple[Tensor, State]:
        """Inputs (B, T, I) -> outputs (B, T, D) and the state after the last place.

        `real` (B, T) is 1 at real places and 0 at padding, where `x` must be 0; None: there is no padding before real
        places. Without a state it starts from zeros.
        """
        matrix = self.input_matrix
        if real is None:
            x = F.pad(x, (0, 1), value=1.0)
        else:
            x = torch.cat([x, real[..., None], 1 - real[..., None]], dim=-1)
            matrix = torch.cat([matrix, self.at_padding], dim=1)
        zeros = (x.new_zeros(x.shape[0], self.kernel.hidden_size),) * (2 if self.cell == "lstm" else 1)
        layered = [part[None].contiguous() for part in state or zeros]
        weights = [matrix, self.recurrent_matrix]
        # Biases, layers, dropout, training, both directions, rows first.
        options = (False, 1, 0.0, self.training, False, True)
        match self.cell:
            case "lstm":
                outputs, *last = torch.lstm(x, layered, weights, *options)
            case "gru":
                outputs, *last = torch.gru(x, layered[0], weights, *options)
        return outputs, tuple(part.squeeze(0) for part in last)

    def project(self, x: Tensor) -> Tensor:
        """What the gates get from inputs (..., I): (..., G * D), for `step`."""
        return F.linear(x, self.input_matrix[:, :-1], self.input_matrix[:, -1])

    def step(self, projected: Tensor, state: State) -> State:
        """One more place: `projected` (B, G * D) and the state before it -> the state after it."""
        recurrent = F.linear(state[0], self.recurrent_matrix)
        return (lstm_step if self.cell == "lstm" else gru_step)(projected, recurrent, *state)

    @property
    def input_matrix(self) -> Tensor:
        """(G * D, I + 1), biases in the last column."""
        return cast(Tensor, self.kernel.weight_ih_l0)

    @property
    def recurrent_matrix(self) -> Tensor:
        """(G * D, D)."""
        return cast(Tensor, self.kernel.weight_hh_l0)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Input matrices Xavier-uniform, recurrent ones orthogonal, gate by gate; biases 0, that of a forget gate 1.

        Orthogonal matrices keep the length of what they carry from step to step (Saxe et al. 2014), and a forget gate
        that starts open lets gradients through (Gers et al. 2000, Jozefowicz et al. 2015).
        """
        for gate in self.input_matrix.chunk(GATES[self.cell]):
            nn.init.xavier_uniform_(gate[:, :-1])
        for gate in self.recurrent_matrix.chunk(GATES[self.cell]):
            nn.init.orthogonal_(gate)
        self.input_matrix[:, -1] = 0
        if self.cell == "lstm":
            self.input_matrix.chunk(4)[1][:, -1] = 1


def lstm_step(projected: Tensor, recurrent: Tensor, hidden: Tensor, cell: Tensor) -> State:
    """i, f, o = sigmoid(W x + U h), g = tanh(W x + U h); c' = f c + i g; h' = o tanh(c'). torch's order: i, f, g, o."""
    take_in, forget, new, let_out = (projected + recurrent).chunk(4, dim=-1)
    cell = forget.sigmoid() * cell + take_in.sigmoid() * new.tanh()
    return let_out.sigmoid() * cell.tanh(), cell


def gru_step(projected: Tensor, recurrent: Tensor, hidden: Tensor) -> State:
    """r, z = sigmoid(W x + U h); n = tanh(W x + r U h); h' = (1 - z) n + z h; torch's order: r, z, n."""
    reset, update, new = projected.chunk(3, dim=-1)
    reset_h, update_h, new_h = recurrent.chunk(3, dim=-1)
    new = torch.tanh(new + torch.sigmoid(reset + reset_h) * new_h)
    return (torch.lerp(new, hidden, torch.sigmoid(update + update_h)),)


class RecurrentEncoder(nn.Module):
    """A stack of layers that reads padded sequences forwards, or with half of its width also backwards."""

    def __init__(self, cell: CellKind, width: int, num_layers: int, bidirectional: bool, dropout: float):
        super().__init__()
        own_width = width // 2 if bidirectional else width
        self.forwards = _layers(cell, width, own_width, num_layers)
        self.backwards = _layers(cell, width, own_width, num_layers) if bidirectional else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, tuple[State, ...]]:
        """Inputs (B, S, D) and the mask of real ones, padding on the right -> outputs (B, S, D), 0 at padding.

        With them comes each layer's state after its last real place, in reading order, its directions side by side.
        Every direction reads the padding first, which changes nothing, so that all rows end together.
        """
        length, lengths = mask.shape[1], mask.sum(1, keepdim=True)
        places = torch.arange(length, device=mask.device)
        padding_first = _flat((places + lengths) % length)
        padding_last = _flat((places - lengths) % length)
        real = mask.to(x.dtype)
        real_after_padding = real.flip(1)
        x, states = x * real[..., None], []
        for depth, layer in enumerate(self.forwards):
            x = self.dropout(x)
            outputs, state = layer(_moved(x, padding_first), real_after_padding)
            outputs = _moved(outputs, padding_last)
            if self.backwards is not None:
                others, other = self.backwards[depth](x.flip(1), real_after_padding)
                outputs = torch.cat([outputs, others.flip(1)], dim=-1)
                state = tuple(torch.cat(parts, dim=-1) for parts in zip(state, other, strict=True))
            x = outputs
            states.append(state)
        return x, tuple(states)


class RecurrentDecoder(nn.Module):
    """A stack of layers that starts from given states."""

    def __init__(self, cell: CellKind, width: int, num_layers: int, dropout: float):
        super().__init__()
        self.layers = _layers(cell, width, width, num_layers)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, states: Sequence[State]) -> Tensor:
        """Inputs (B, T, D) -> outputs (B, T, D) of the last layer. Padding on the right harms no place before it."""
        for layer, state in zip(self.layers, states, strict=True):
            x, _ = layer(self.dropout(x), None, state)
        return x

    def project(self, x: Tensor) -> Tensor:
        """What the first layer gets from inputs (..., D): (..., G * D). All places of a sequence may go at once."""
        return cast(Recurrence, self.layers[0]).project(self.dropout(x))

    def step(self, projected: Tensor, states: Sequence[State]) -> tuple[State, ...]:
        """One more place, of which the first layer gets `projected` (B, G * D) -> the states of all layers after it."""
        after: list[State] = []
        for layer, state in zip(cast(Iterable[Recurrence], self.layers), states, strict=True):
            after.append(layer.step(layer.project(self.dropout(after[-1][0])) if after else projected, state))
        return tuple(after)


def _layers(cell: CellKind, input_width: int, width: int, num_layers: int) -> nn.ModuleList:
    return nn.ModuleList(Recurrence(cell, input_width, width) for _ in range(num_layers))


def _flat(places: Tensor) -> Tensor:
    """Places (B, S) within each row -> places (B * S) in all rows laid end to end."""
    rows = torch.arange(places.shape[0], device=places.device)[:, None]
    return (places + rows * places.shape[1]).flatten()


def _moved(x: Tensor, places: Tensor) -> Tensor:
    """(B, S, D) with what stands at flat `places` of it in their order."""
    return x.flatten(0, 1).index_select(0, places).view_as(x)
