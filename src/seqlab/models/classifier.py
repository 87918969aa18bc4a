"""Classifiers of number sequences: recurrent, parallel recurrent, and Transformer.

Shapes: `B` rows, `L` steps, `C` numbers of a step, `D` width. All rows have the same length: there is no padding.
"""

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.errors import UserError
from seqlab.layers.attention import PositionSignal
from seqlab.layers.blocks import BlockShape, EncoderBlock
from seqlab.layers.functional import Dropout, build_norm
from seqlab.layers.linear_recurrence import LinearRecurrentUnit, MinGRU
from seqlab.layers.recurrent import CellKind, Recurrence, full_precision
from seqlab.models.transformer import stream_dtype

Architecture = Literal["rnn", "lstm", "gru", "bilstm", "mingru", "lru", "transformer"]

Mixer = MinGRU | LinearRecurrentUnit

READERS: dict[str, tuple[Architecture, ...]] = {
    "strides": ("mingru", "lru"),
    "widening": ("mingru", "lru"),
    "positions": ("mingru", "lru"),
    "state_size": ("lru",),
    "bidirectional": ("lru",),
    "min_radius": ("lru",),
    "max_radius": ("lru",),
    "max_phase": ("lru",),
    "num_heads": ("transformer",),
    "feedforward": ("transformer",),
}
"""The settings that only some architectures read."""


class SequenceClassifierConfig(Config):
    """A net that reads a sequence of numbers and names its class."""

    kind: Literal["sequence-classifier"] = "sequence-classifier"
    """which model this is"""
    architecture: Architecture = "lru"
    """rnn (tanh), lstm, gru, bilstm; in parallel over time: mingru, lru (linear recurrent unit); or a transformer"""
    width: int = Field(default=128, ge=2)
    """size of the vector of a step; bilstm: half of it runs backwards"""
    num_layers: int = Field(default=2, ge=1)
    """depth"""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """dropout between layers, and of what each block adds, never from step to step"""
    input_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """dropout of the input values"""
    strides: tuple[int, ...] = ()
    """mingru and lru: stride of each of the first layers, which passes on every n-th state"""
    widening: int = Field(default=1, ge=1)
    """mingru and lru: width of each strided layer after the first, relative to the layer before it"""
    positions: bool = False
    """mingru and lru: learned position embeddings, added to the output of the first layer"""
    state_size: int = Field(default=64, ge=2)
    """lru: complex states of a layer; grows with the width"""
    bidirectional: bool = True
    """lru: half of the states run backwards"""
    min_radius: float = Field(default=0.9, ge=0.0, lt=1.0)
    """lru: smallest initial magnitude of an eigenvalue, the decay of a state per step"""
    max_radius: float = Field(default=0.999, gt=0.0, lt=1.0)
    """lru: largest initial magnitude of an eigenvalue; 0.999 remembers about 1,000 steps"""
    max_phase: float = Field(default=math.pi, gt=0.0, le=math.pi)
    """lru: largest initial angle of an eigenvalue, in radians"""
    num_heads: int = Field(default=4, ge=1)
    """transformer: attention heads; must divide the width"""
    feedforward: int = Field(default=512, ge=1)
    """transformer: hidden units of the feed-forward nets"""

    @model_validator(mode="after")
    def _settings_fit(self) -> "SequenceClassifierConfig":
        for name, readers in READERS.items():
            if self.architecture not in readers and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f'{name}={getattr(self, name)} has no effect with architecture="{self.architecture}": '
                    f"choose {' or '.join(readers)}, or leave it out"
                )
        if self.architecture == "transformer" and self.width % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide width {self.width}")
        if self.architecture in ("transformer", "bilstm") and self.width % 2:
            raise ValueError(f"width {self.width} is odd: {self.architecture} needs pairs")
        if self.bidirectional and self.state_size % 2:
            raise ValueError(f"state_size {self.state_size} is odd: bidirectional gives half of it to each direction")
        if self.min_radius >= self.max_radius:
            raise ValueError(f"min_radius {self.min_radius} is not below max_radius {self.max_radius}")
        if len(self.strides) > self.num_layers or min(self.strides, default=1) < 1:
            raise ValueError(f"strides {list(self.strides)} must be at most {self.num_layers} numbers of 1 or more")
        return self

    @property
    def stride_of_layers(self) -> tuple[int, ...]:
        """One for each layer."""
        return (*self.strides, *(1 for _ in range(self.num_layers - len(self.strides))))

    @property
    def width_of_layers(self) -> tuple[int, ...]:
        """mingru and lru: the output width of each layer."""
        widths = [self.width]
        for stride in self.stride_of_layers[1:]:
            widths.append(widths[-1] * (self.widening if stride > 1 else 1))
        return tuple(widths)


class SequenceClassifier(nn.Module):
    """Maps sequences of numbers to logits of classes.

    `rnn`, `lstm`, `gru` and `bilstm` classify from their last state, which must have kept the whole sequence: that
    is what these tasks ask of them (Le et al. 2015). They see the numbers as they are, so that raw ones (0 to 255) show
    what normalising is worth. The others classify from the mean over time of the last layer. There every step is one
    matrix product away from the output, and no state has to keep what was seen until the end. `mingru` and `lru` norm
    what their first layer makes of the numbers, so raw ones do them no harm; `transformer` adds its embedded numbers to
    positions of size 1, so raw ones drown these.

    Args:
        config: the architecture and its sizes.
        input_size: C.
        length: L, at which a Transformer's positions end, and which tells a recurrence how long memories should be.
        num_classes: how many logits there are.
    """

    config_class = SequenceClassifierConfig
    role = "sequence-classifier"

    def __init__(self, config: SequenceClassifierConfig, input_size: int, length: int, num_classes: int):
        super().__init__()
        if length % math.prod(config.strides):
            raise UserError(
                f"model.strides {list(config.strides)} do not fit sequences of {length} steps: "
                f"choose numbers whose product divides {length}"
            )
        self.config = config
        self.input_size, self.num_classes = input_size, num_classes
        self.input_dropout = Dropout(config.input_dropout)
        self.body = _build_body(config, input_size, length)
        self.head = nn.Linear(config.width_of_layers[-1], num_classes)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, L, C) numbers, raw or normalised -> logits (B, classes)."""
        return self.head(self.body(self.input_dropout(inputs)))

    def forward_flops(self, source_lengths: Tensor, target_lengths: Tensor) -> float:
        """Floating-point operations of one forward pass: 2 a multiply-add, matrix products and recurrences.

        Source lengths (B,) are those of each row, in steps; target lengths (B,), of labels, play no part. A training
        step has three times as many. A complex multiply-add counts as four.
        """
        steps = torch.as_tensor(source_lengths).double()
        per_row = self.body.multiply_adds(steps) + self.head.weight.numel()
        return 2.0 * float(per_row.sum())


class LastState(nn.Module):
    """A stack of step-by-step recurrences; (B, L, C) -> the last states (B, D), in fp32."""

    def __init__(self, config: SequenceClassifierConfig, input_size: int):
        super().__init__()
        width, depth = config.width, config.num_layers
        inputs = [input_size] + [width] * (depth - 1)
        match config.architecture:
            case "rnn":
                layers, others = [Elman(size, width) for size in inputs], []
            case "bilstm":
                layers, others = ([Recurrence("lstm", size, width // 2) for size in inputs] for _ in range(2))
            case cell:
                layers, others = [Recurrence(cast(CellKind, cell), size, width) for size in inputs], []
        self.forwards, self.backwards = nn.ModuleList(layers), nn.ModuleList(others)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Each direction ends with the last step that it reads."""
        with full_precision(x.device):
            x, last = x.float(), x.new_empty(0)
            for depth, layer in enumerate(self.forwards):
                x = self.dropout(x) if depth else x
                outputs, (last, *_) = layer(x, None)
                if self.backwards:
                    others, (other, *_) = self.backwards[depth](x.flip(1), None)
                    outputs = torch.cat([outputs, others.flip(1)], dim=-1)
                    last = torch.cat([last, other], dim=-1)
                x = outputs
            return self.dropout(last)

    def multiply_adds(self, steps: Tensor) -> Tensor:
        """Of rows with so many steps (B,)."""
        matrices = sum(p.numel() for p in self.parameters() if p.dim() == 2)
        return steps * matrices


class Elman(nn.Module):
    """h_t = tanh(W x_t + b + U h_{t-1}) (Elman 1990) by torch's kernel; made and called like a layer of LSTM cells."""

    def __init__(self, input_width: int, width: int):
        super().__init__()
        self.kernel = nn.RNN(input_width + 1, width, bias=False, batch_first=True)
        with torch.no_grad():
            input_matrix, recurrent_matrix = (cast(Tensor, weight) for weight in self.kernel.parameters())
            nn.init.xavier_uniform_(input_matrix[:, :-1])
            input_matrix[:, -1] = 0  # b, which reads 1
            nn.init.orthogonal_(recurrent_matrix)

    def forward(self, x: Tensor, real: None = None) -> tuple[Tensor, tuple[Tensor]]:
        """(B, L, I) without padding -> states (B, L, D), and the last one."""
        outputs, last = self.kernel(F.pad(x, (0, 1), value=1.0))
        return outputs, (last.squeeze(0),)


class ParallelStack(nn.Module):
    """A recurrence over the numbers themselves, then residual blocks; (B, L, C) -> mean over time (B, D).

    The first layer is linear in its state and has no residual branch: a norm of a single number would leave nothing of
    it, so the norm comes after the recurrence.
    """

    def __init__(self, config: SequenceClassifierConfig, input_size: int, length: int):
        super().__init__()
        widths, strides = config.width_of_layers, config.stride_of_layers
        inputs = [input_size, *widths[:-1]]
        mixers: list[Mixer] = []
        places = length // strides[0]
        for size, width, stride in zip(inputs, widths, strides, strict=True):
            mixers.append(_build_mixer(config, size, width, stride, length))
            length //= stride
        self.stem = mixers[0]
        self.stem_norm = build_norm("layer", widths[0])
        self.positions = PositionSignal("learned", places, widths[0], num_heads=1) if config.positions else None
        self.blocks = nn.ModuleList(
            ParallelBlock(mixer, size, width, stride, config.dropout)
            for mixer, size, width, stride in zip(mixers[1:], inputs[1:], widths[1:], strides[1:], strict=True)
        )
        self.norm = build_norm("layer", widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Time goes first and comes back as nothing: the mean is over all steps that the last layer hands on."""
        x = self.stem_norm(self.stem(x.transpose(0, 1)))
        x = x.to(stream_dtype(x))
        if self.positions is not None:
            x = self.positions(x.transpose(0, 1), 0).transpose(0, 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x).mean(0)

    def multiply_adds(self, steps: Tensor) -> Tensor:
        """Of rows with so many steps (B,)."""
        total = steps * self.stem.multiply_adds
        steps = steps / self.stem.stride
        for block in cast(Sequence[ParallelBlock], self.blocks):
            total = total + steps * block.multiply_adds
            steps = steps / block.stride
        return total


class ParallelBlock(nn.Module):
    """x + GLU(W GELU(recurrence(norm(x)))): steps meet in the recurrence, the numbers of a step in the gated product.

    The block of S4 (Gu et al. 2022). With a stride, the stream continues as means over that many steps, and
    through a matrix where it gets wider.
    """

    def __init__(self, mixer: Mixer, input_width: int, width: int, stride: int, dropout: float):
        super().__init__()
        self.stride = stride
        self.norm = build_norm("layer", input_width)
        self.mixer = mixer
        self.gated = nn.Linear(width, 2 * width)
        self.shortcut = nn.Linear(input_width, width, bias=False) if input_width != width else None
        self.dropout = Dropout(dropout)
        for part in self.gated.weight.chunk(2):
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(self.gated.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(L, B, I) -> (L / stride, B, D)."""
        hidden = F.gelu(self.mixer(self.norm(x)))
        added = F.glu(self.gated(hidden), dim=-1)
        if self.stride > 1:
            x = x.unflatten(0, (-1, self.stride)).mean(1)
        if self.shortcut is not None:
            x = self.shortcut(x)
        return x + self.dropout(added)

    @property
    def multiply_adds(self) -> float:
        """Of a step that is read, on average."""
        shortcut = 0 if self.shortcut is None else self.shortcut.weight.numel()
        return self.mixer.multiply_adds + (self.gated.weight.numel() + shortcut) / self.stride


class TransformerStack(nn.Module):
    """Embedded numbers plus learned positions, then pre-norm encoder blocks; (B, L, C) -> mean over time (B, D)."""

    def __init__(self, config: SequenceClassifierConfig, input_size: int, length: int):
        super().__init__()
        width, depth = config.width, config.num_layers
        self.embedding = nn.Linear(input_size, width)
        self.positions = PositionSignal("learned", length, width, config.num_heads, dropout=config.dropout)
        shape = BlockShape(
            width=width,
            feedforward=config.feedforward,
            num_heads=config.num_heads,
            norm_placement="pre",
            norm="layer",
            activation="gelu",
            qk_norm=False,
            dropout=config.dropout,
            attention_dropout=0.0,
            activation_dropout=0.0,
        )
        self.blocks = nn.ModuleList(EncoderBlock(shape) for _ in range(depth))
        self.norm = build_norm("layer", width)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """The order of steps is in the positions alone."""
        x = self.embedding(x)
        x = self.positions(x.to(stream_dtype(x)), 0)
        for block in self.blocks:
            x = block(x, None, None)
        return self.norm(x).mean(1)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As in the encoder-decoder: Xavier-uniform, ends of residual branches divided by the root of their number."""
        for name, linear in self.named_modules():
            if isinstance(linear, nn.Linear):
                for part in linear.weight.chunk(3 if name.endswith("query_key_value") else 1):
                    nn.init.xavier_uniform_(part)
                if name.endswith("out"):
                    linear.weight.div_(math.sqrt(2 * len(self.blocks)))
                nn.init.zeros_(linear.bias)
        nn.init.normal_(self.embedding.weight, std=self.embedding.in_features**-0.5)

    def multiply_adds(self, steps: Tensor) -> Tensor:
        """Of rows with so many steps (B,): matrices, scores and weighted sums."""
        matrices = sum(module.weight.numel() for module in self.modules() if isinstance(module, nn.Linear))
        return steps * matrices + 2 * steps**2 * self.embedding.out_features * len(self.blocks)


def _build_body(
    config: SequenceClassifierConfig, input_size: int, length: int
) -> LastState | ParallelStack | TransformerStack:
    match config.architecture:
        case "mingru" | "lru":
            return ParallelStack(config, input_size, length)
        case "transformer":
            return TransformerStack(config, input_size, length)
        case _:
            return LastState(config, input_size)


def _build_mixer(config: SequenceClassifierConfig, input_width: int, width: int, stride: int, length: int) -> Mixer:
    if config.architecture == "mingru":
        return MinGRU(input_width, width, longest_memory=length, stride=stride)
    return LinearRecurrentUnit(
        input_width,
        width,
        config.state_size * width // config.width,
        stride=stride,
        bidirectional=config.bidirectional,
        min_radius=config.min_radius,
        max_radius=config.max_radius,
        max_phase=config.max_phase,
    )
