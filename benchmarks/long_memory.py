"""What do orthogonal matrices, an open forget gate and clipping do for long memories? Draws a figure.

    python benchmarks/long_memory.py [--steps 30] [--updates 400] [--figure docs/images/long-memory.svg] [--out FILE]

One of 8 symbols comes first, then noise; after the last of `steps` steps the net must name the symbol. Width 64, 64
rows, fresh sequences in every update, the same ones for every net. Adam has a learning rate of 0.003, SGD one of 0.1
and momentum 0.9. A curve is the running mean of 20 updates.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.engine.machine import describe, prepare_cpu
from seqlab.layers.recurrent import Recurrence
from seqlab.models.classifier import Elman
from seqlab.report.figures import MUTED, SERIES, canvas, score_axis, step_axis

SYMBOLS, WIDTH, ROWS, WINDOW = 8, 64, 64, 20


class Variant(NamedTuple):
    """A net and how it learns."""

    lstm: bool
    ours: bool
    """starts as seqlab's nets do: orthogonal matrices, forget biases 1"""
    adam: bool = True
    clip: float = 1.0


VARIANTS = {
    "LSTM, forget bias 1": Variant(lstm=True, ours=True),
    "LSTM, forget bias 0": Variant(lstm=True, ours=False),
    "tanh net, orthogonal": Variant(lstm=False, ours=True),
    "tanh net, uniform": Variant(lstm=False, ours=False),
    "tanh net, SGD, clipped to 1": Variant(lstm=False, ours=True, adam=False),
    "tanh net, SGD, not clipped": Variant(lstm=False, ours=True, adam=False, clip=float("inf")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prepare_cpu()
    curves = {name: learn(variant, options.steps, options.updates) for name, variant in VARIANTS.items()}
    for name, curve in curves.items():
        print(f"{name:36} {curve[-1]:.1%} after {options.updates} updates, {max(curve):.1%} at best")
    if options.figure:
        options.figure.write_text(drawing(curves), encoding="utf-8")
    if options.out:
        result = {"machine": describe(torch.device("cpu")), "steps": options.steps, "accuracy": curves}
        options.out.write_text(json.dumps(result) + "\n")


def learn(variant: Variant, steps: int, updates: int) -> list[float]:
    """The share of right answers at each update, a running mean."""
    torch.manual_seed(0)
    net = first_lstm(variant.ours) if variant.lstm else first_tanh_net(variant.ours)
    output = nn.Linear(WIDTH, SYMBOLS)
    parameters = [*net.parameters(), *output.parameters()]
    adam, sgd = torch.optim.Adam, torch.optim.SGD
    optimizer = adam(parameters, lr=3e-3) if variant.adam else sgd(parameters, lr=0.1, momentum=0.9)
    random = torch.Generator().manual_seed(1)
    right: list[float] = []
    for _ in range(updates):
        inputs, symbols = sequences(steps, random)
        _, (last, *_) = net(inputs, None)
        logits = output(last)
        optimizer.zero_grad()
        F.cross_entropy(logits, symbols).backward()
        nn.utils.clip_grad_norm_(parameters, variant.clip)
        optimizer.step()
        right.append((logits.argmax(-1) == symbols).float().mean().item())
    return [sum(right[max(0, end - WINDOW) : end]) / min(end, WINDOW) for end in range(1, updates + 1)]


def first_lstm(ours: bool) -> Recurrence:
    """seqlab's first weights, with forget biases of 1, or of 0."""
    net = Recurrence("lstm", SYMBOLS, WIDTH)
    if not ours:
        with torch.no_grad():
            net.input_matrix[:, -1] = 0
    return net


def first_tanh_net(ours: bool) -> Elman:
    """An orthogonal recurrent matrix, or torch's, uniform within 1 / sqrt(width)."""
    net = Elman(SYMBOLS, WIDTH)
    if not ours:
        _, recurrent_matrix = net.kernel.parameters()
        nn.init.uniform_(recurrent_matrix, -(WIDTH**-0.5), WIDTH**-0.5)
    return net


def sequences(steps: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (B, L, 8): a symbol as one of 8, then noise; and the symbols (B,)."""
    symbols = torch.randint(SYMBOLS, (ROWS,), generator=random)
    inputs = 0.3 * torch.randn(ROWS, steps, SYMBOLS, generator=random)
    inputs[:, 0] = F.one_hot(symbols, SYMBOLS).float()
    return inputs, symbols


def drawing(curves: dict[str, list[float]]) -> str:
    """One SVG with a curve for each net."""
    with canvas("long-memory", width=6.6, height=2.8) as page:
        score_axis(page.axes, [], share=True)
        step_axis(page.axes, [float(len(next(iter(curves.values()))))])
        page.axes.set_ylabel("right answers")
        lines = [page.axes.plot(range(1, len(curve) + 1), curve)[0] for curve in curves.values()]
        for line, colour in zip(lines, SERIES, strict=False):
            line.set_color(colour)
        page.axes.axhline(1 / SYMBOLS, color=MUTED, linewidth=0.8, linestyle=":")
        page.axes.legend(lines, list(curves), loc="upper left", bbox_to_anchor=(1.02, 1))
        return page.svg("Share of right answers over updates, for six recurrent nets")


if __name__ == "__main__":
    main()
