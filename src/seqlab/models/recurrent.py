"""The recurrent encoder-decoder: LSTM or GRU, with the attention of Luong et al. 2015, of Bahdanau et al. 2015 or none.

Shapes: `B` rows, `S` source, `T` target, `D` width, `G` gates of a cell, `V` target vocabulary, `N` real target tokens
of a batch, or rows in a search. Padding stands on the right of both sides; masks are True at real tokens.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.decode.contract import RowSelection
from seqlab.errors import UserError
from seqlab.layers.alignment import Alignment, AttendedSource, Attention, Score, Window, context
from seqlab.layers.functional import Dropout
from seqlab.layers.recurrent import GATES, CellKind, RecurrentDecoder, RecurrentEncoder, State, full_precision

LUONG: tuple[Window, ...] = get_args(Window)

READERS = {"score": LUONG, "window_radius": ("local-m", "local-p"), "input_feeding": LUONG}
"""The settings that only some kinds of attention read."""


class RecurrentConfig(Config):
    """An encoder-decoder of LSTM or GRU layers."""

    kind: Literal["recurrent"] = "recurrent"
    """which model this is"""
    cell: CellKind = "lstm"
    """what a layer is made of: lstm or gru"""
    width: int = Field(default=256, ge=2)
    """size of the vector of a token and of the states"""
    num_layers: int = Field(default=2, ge=1)
    """layers of the encoder, and of the decoder; each decoder layer starts from the last state of its encoder layer"""
    bidirectional: bool = False
    """bidirectional encoder; each direction has half of the width"""
    attention: Literal["none", "global", "local-m", "local-p", "bahdanau"] = "global"
    """global; a window around the same position (local-m) or a predicted one (local-p); bahdanau: before the step"""
    score: Score = "general"
    """global and local: how a source state is scored, by dot, general, concat or location"""
    window_radius: int = Field(default=10, ge=1)
    """local: source positions on either side of the centre (D in the paper)"""
    input_feeding: bool = False
    """global and local: each step of the decoder also reads the attentional state of the step before"""
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """dropout of embeddings, between layers and before the output, never from step to step"""
    tying: Literal["none", "decoder", "all"] = "none"
    """one matrix for target embedding and output (decoder), or for source embedding too (all)"""
    max_length: int = Field(default=1024, ge=1)
    """longest source, in tokens, that is read whole; with score location, places that can have a weight"""

    @model_validator(mode="after")
    def _settings_fit(self) -> "RecurrentConfig":
        for name, readers in READERS.items():
            if self.attention not in readers and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f'{name}={getattr(self, name)} has no effect with attention="{self.attention}": '
                    f"choose {', '.join(readers)}, or leave it out"
                )
        if self.bidirectional and self.width % 2:
            raise ValueError(f"width {self.width} is odd: bidirectional gives half of it to each direction")
        return self

    @property
    def looks_back(self) -> bool:
        """Whether a step of the decoder needs the attention of the step before, or its own, among its inputs."""
        return self.input_feeding or self.attention == "bahdanau"

    def complaints(self, experiment: Any) -> Iterator[str]:
        """See `Config`."""
        if self.tying == "all" and not experiment.text.shared:
            yield 'model.tying="all" needs one vocabulary for both sides: set text.shared=true'
        text = experiment.text
        if self.attention == "local-m" and text.reverse_source != text.reverse_target:
            yield (
                'model.attention="local-m" follows the order of the source, but only one side is reversed: '
                "set text.reverse_source and text.reverse_target alike"
            )


class RecurrentMemory(NamedTuple):
    """An encoded source: the last state of each encoder layer, and what attention sees of it."""

    states: tuple[State, ...]
    source: AttendedSource | None


@dataclass(frozen=True)
class RecurrentState:
    """What the decoder remembers of N rows.

    The first axis of `source` is the sources, each shared by N / B rows in a line; that of all others is rows.
    """

    layers: tuple[State, ...]
    fed: Tensor | None
    """the attentional state (N, D) of the step before, if it is fed back"""
    source: AttendedSource | None
    step: int


class Glimpse(NamedTuple):
    """What decoder states see of the source: contexts (B, T, D), and the alignment that made them."""

    context: Tensor
    alignment: Alignment


class Decoded(NamedTuple):
    """States (B, T, D) that logits are made of, and the alignment of each."""

    states: Tensor
    alignment: Alignment | None


class RecurrentEncoderDecoder(nn.Module):
    """Maps source ids and the target ids so far to logits of the next target id.

    With Luong's attention the decoder state h meets the source after the step, and the logits come from the attentional
    state tanh(W_c [c; h]) of context c and h. With input feeding, the next step reads that state beside its token. With
    Bahdanau's, the state before the step meets the source, and the step reads the context; the logits then come from
    tanh(W_c [c; h]) too, where the paper has a maxout layer. Without attention they come from h.

    Where no step looks back, torch's kernel runs over all target places and attention follows for all of them at once;
    else training goes step by step, with all that depends on tokens alone computed before.

    Initialisation: embeddings and output as in the Transformer; input matrices Xavier-uniform, recurrent ones
    orthogonal, biases 0, forget gates 1. The nets run in fp32 also under autocast, the output in its format.
    """

    config_class = RecurrentConfig
    role = "encoder-decoder"

    def __init__(self, config: RecurrentConfig, source_vocab_size: int, target_vocab_size: int):
        super().__init__()
        if config.tying == "all" and source_vocab_size != target_vocab_size:
            raise UserError(
                f'model.tying = "all" needs one vocabulary for both sides, but the source has {source_vocab_size} '
                f'entries and the target {target_vocab_size}: share the vocabulary, or use tying "decoder"'
            )
        self.config = config
        width, depth = config.width, config.num_layers
        self.source_embedding = nn.Embedding(source_vocab_size, width)
        self.target_embedding = None if config.tying == "all" else nn.Embedding(target_vocab_size, width)
        self.output = nn.Linear(width, target_vocab_size, bias=False) if config.tying == "none" else None
        self.encoder = RecurrentEncoder(config.cell, width, depth, config.bidirectional, config.dropout)
        self.decoder = RecurrentDecoder(config.cell, width, depth, config.dropout)
        self.attention = _attention(config)
        self.combine = nn.Linear(2 * width, width, bias=False) if self.attention else None
        self.feed = nn.Linear(width, GATES[config.cell] * width, bias=False) if config.looks_back else None
        self.dropout = Dropout(config.dropout)
        self.reset_parameters()

    def forward(self, source: Tensor, source_mask: Tensor, target: Tensor, target_index: Tensor) -> Tensor:
        """Logits (N, V) of the token after each real target token, row by row.

        source (B, S) and target (B, T) are ids, the target starting with the begin token. The mask is True at real
        source tokens; the index (N,) has the real target tokens among all B * T. Nothing here waits for a GPU.
        """
        states = self.decode(self.encode(source, source_mask), target).states
        return self.logits(states.flatten(0, 1).index_select(0, target_index))

    def encode(self, source: Tensor, source_mask: Tensor) -> RecurrentMemory:
        """Source ids (B, S) and the mask of real ones (B, S) -> memory."""
        with full_precision(source.device):
            states, last = self.encoder(self.embed(source, self.source_table), source_mask)
            return RecurrentMemory(last, self.attention.prepare(states, source_mask) if self.attention else None)

    def decode(self, memory: RecurrentMemory, target: Tensor) -> Decoded:
        """Teacher forcing: target ids (B, T) -> states (B, T, D), each of which sees only the ids up to its own."""
        with full_precision(target.device):
            x = self.embed(target, self.target_table)
            if self.config.looks_back:
                return self._step_by_step(memory, self.decoder.project(x))
            hidden = self.decoder(x, memory.states)
            if memory.source is None:
                return Decoded(hidden, None)
            places = torch.arange(1, target.shape[1] + 1, device=target.device)
            return self._attentional(hidden, self._look(hidden, memory.source, places))

    def logits(self, states: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        matrix = self.target_table if self.output is None else self.output.weight
        return F.linear(self.dropout(states), matrix)

    def start(self, memory: RecurrentMemory) -> RecurrentState:
        """The state of B rows before their first token."""
        fed = torch.zeros_like(memory.states[-1][0]) if self.config.input_feeding else None
        return RecurrentState(memory.states, fed, memory.source, step=0)

    def step(self, tokens: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """The last token of every row (N,) -> logits of the next one (N, V), and the state after it."""
        with full_precision(tokens.device):
            projected = self.decoder.project(self.embed(tokens, self.target_table))
            decoded, state = self._advance(projected, state)
        return self.logits(decoded.states), state

    def select_rows(self, state: RecurrentState, selection: RowSelection) -> RecurrentState:
        """The state of the selected rows; those of one source share it."""
        rows, sources = selection
        source = state.source
        return RecurrentState(
            layers=tuple(tuple(part.index_select(0, rows) for part in layer) for layer in state.layers),
            fed=None if state.fed is None else state.fed.index_select(0, rows),
            source=None if source is None else AttendedSource(*(part.index_select(0, sources) for part in source)),
            step=state.step,
        )

    @property
    def attention_layers(self) -> int:
        """At how many depths the source is attended to."""
        return 0 if self.attention is None else 1

    def attention_weights(
        self,
        source: Tensor,
        source_mask: Tensor,
        target: Tensor,
        target_mask: Tensor,
        kind: Literal["encoder", "decoder", "cross"] = "cross",
        depth: int = 0,
    ) -> Tensor:
        """What each target place gives to each source place, (B, 1, T, S). Rows of padded targets are 0.

        Gaussian windows are included. Raises UserError for another kind or depth than the one there is.
        """
        if kind != "cross" or not 0 <= depth < self.attention_layers:
            raise UserError(
                f'a recurrent model with attention="{self.config.attention}" has no {kind} attention at depth {depth}'
            )
        alignment = self.decode(self.encode(source, source_mask), target).alignment
        assert alignment is not None
        return (alignment.weights * target_mask[..., None])[:, None]

    def window_centres(self, source: Tensor, source_mask: Tensor, target: Tensor) -> Tensor | None:
        """The centres (B, T) of local windows, counted from 1; None where attention is not local."""
        alignment = self.decode(self.encode(source, source_mask), target).alignment
        return None if alignment is None else alignment.centres

    def forward_flops(self, source_lengths: Tensor, target_lengths: Tensor) -> float:
        """Floating-point operations of one forward pass over real tokens: 2 a multiply-add, matrix products only.

        Lengths (B,) are those of each row. A training step has three times as many.
        """
        config, width = self.config, self.config.width
        source, target = torch.as_tensor(source_lengths).double(), torch.as_tensor(target_lengths).double()
        matrix = GATES[config.cell] * width**2  # of the inputs, or of the states
        reader = 1.5 * matrix if config.bidirectional else 2 * matrix  # each direction sees all inputs, half the states
        multiply_adds = config.num_layers * (source * reader + target * 2 * matrix)
        if self.attention is not None:
            multiply_adds = multiply_adds + self.attention.multiply_adds(source, target) + 2 * target * width**2
        if self.feed is not None:
            multiply_adds = multiply_adds + target * matrix
        multiply_adds = multiply_adds + target * width * self.target_table.shape[0]
        return 2.0 * float(multiply_adds.sum())

    @property
    def source_table(self) -> Tensor:
        """The matrix of source embeddings."""
        return self.source_embedding.weight

    @property
    def target_table(self) -> Tensor:
        """The matrix of target embeddings."""
        return self.source_embedding.weight if self.target_embedding is None else self.target_embedding.weight

    def embed(self, ids: Tensor, table: Tensor) -> Tensor:
        """Ids (...) -> vectors (..., D)."""
        return F.embedding(ids, table) * math.sqrt(self.config.width)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws new weights outside of the recurrent layers, which draw their own; see the class."""
        for table in {self.source_table, self.target_table}:
            nn.init.normal_(table, std=self.config.width**-0.5)
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear)):
            for part in linear.weight.chunk(GATES[self.config.cell] if linear is self.feed else 1):
                nn.init.xavier_uniform_(part)
        if self.output is not None:
            nn.init.normal_(self.output.weight, std=self.config.width**-0.5)

    def _step_by_step(self, memory: RecurrentMemory, projected: Tensor) -> Decoded:
        """Teacher forcing where steps look back; `projected` (B, T, G * D) is what the gates get from the tokens."""
        state, states, alignments = self.start(memory), [], []
        for at_place in projected.unbind(1):  # not by index: the gradient of each would be as large as all together
            (hidden, alignment), state = self._advance(at_place, state)
            states.append(hidden)
            alignments.append(alignment)
        return Decoded(torch.stack(states, dim=1), _side_by_side(alignments))

    def _advance(self, projected: Tensor, state: RecurrentState) -> tuple[Decoded, RecurrentState]:
        """One step of N rows, whose gates get `projected` (N, G * D) from their tokens."""
        match self.config.attention:
            case "none":
                layers = self.decoder.step(projected, state.layers)
                decoded = Decoded(layers[-1][0], None)
            case "bahdanau":
                glimpse = self._look_once(state.layers[-1][0], state)
                layers = self.decoder.step(self._beside(projected, glimpse.context), state.layers)
                decoded = self._attentional(layers[-1][0], glimpse)
            case _:
                layers = self.decoder.step(self._beside(projected, state.fed), state.layers)
                decoded = self._attentional(layers[-1][0], self._look_once(layers[-1][0], state))
        fed = decoded.states if self.config.input_feeding else None
        return decoded, RecurrentState(layers, fed, state.source, state.step + 1)

    def _look(self, query: Tensor, source: AttendedSource, places: Tensor) -> Glimpse:
        """Decoder states (B, T, D) at target places (T,), counted from 1, or all at one place (1,)."""
        assert self.attention is not None
        alignment = self.attention(query, source, places)
        return Glimpse(context(alignment, source), alignment)

    def _look_once(self, query: Tensor, state: RecurrentState) -> Glimpse:
        """Decoder states (N, D) at the place of this step. The rows of a source stand where its places would."""
        assert state.source is not None
        rows = query.unflatten(0, (state.source.mask.shape[0], -1))
        seen, alignment = self._look(rows, state.source, torch.full((1,), state.step + 1, device=query.device))
        centres = None if alignment.centres is None else alignment.centres.flatten()
        return Glimpse(seen.flatten(0, 1), Alignment(alignment.weights.flatten(0, 1), centres))

    def _attentional(self, hidden: Tensor, glimpse: Glimpse) -> Decoded:
        """tanh(W_c [c; h])."""
        assert self.combine is not None
        return Decoded(torch.tanh(self.combine(torch.cat([glimpse.context, hidden], dim=-1))), glimpse.alignment)

    def _beside(self, projected: Tensor, read: Tensor | None) -> Tensor:
        """What the gates get from tokens, and from what is read beside them (N, D)."""
        if self.feed is None or read is None:
            return projected
        return projected + self.feed(read)


def _attention(config: RecurrentConfig) -> Attention | None:
    match config.attention:
        case "none":
            return None
        case "bahdanau":
            return Attention(config.width, "concat", "global", config.window_radius, config.max_length)
        case window:
            return Attention(config.width, config.score, window, config.window_radius, config.max_length)


def _side_by_side(steps: Sequence[Alignment]) -> Alignment:
    """The alignments of single places, (N, S) each, as one of all places."""
    centres = [step.centres for step in steps if step.centres is not None]
    weights = torch.stack([step.weights for step in steps], dim=1)
    return Alignment(weights, torch.stack(centres, dim=1) if centres else None)
