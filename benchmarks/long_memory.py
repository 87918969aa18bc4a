"""What do orthogonal matrices, an open forget gate and clipping do for long memories? Draws a figure.

    python benchmarks/long_memory.py [--steps 60] [--updates 400] [--figure docs/images/long-memory.svg] [--out FILE]

One of 8 symbols comes first, then noise; after the last of `steps` steps the net must name the symbol. Width 64, 64
rows, Adam with a learning rate of 0.003, fresh sequences in every update, the same ones for every net. A curve is the
running mean of 20 updates.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.layers.recurrent import Recurrence
from seqlab.models.classifier import Elman
from seqlab.report.drawing import MUTED, SERIES, canvas, share_axis, step_axis
from seqlab.train.machine import describe, prepare_cpu

SYMBOLS, WIDTH, ROWS, RATE, WINDOW = 8, 64, 64, 3e-3, 20

VARIANTS = {
    "LSTM, forget bias 1": (True, True, 1.0),
    "LSTM, forget bias 0": (True, False, 1.0),
    "tanh net, orthogonal": (False, True, 1.0),
    "tanh net, uniform": (False, False, 1.0),
    "tanh net, orthogonal, not clipped": (False, True, float("inf")),
}
"""LSTM or not; whether it starts as seqlab's do; the norm to which gradients are clipped."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prepare_cpu()
    curves = {
        name: learn(steps=options.steps, updates=options.updates, variant=variant) for name, variant in VARIANTS.items()
    }
    for name, curve in curves.items():
        print(f"{name:36} {curve[-1]:.1%} after {options.updates} updates, {max(curve):.1%} at best")
    if options.figure:
        options.figure.write_text(drawing(curves), encoding="utf-8")
    if options.out:
        result = {"machine": describe(torch.device("cpu")), "steps": options.steps, "accuracy": curves}
        options.out.write_text(json.dumps(result) + "\n")


def learn(variant: tuple[bool, bool, float], steps: int, updates: int) -> list[float]:
    """The share of right answers at each update, a running mean."""
    lstm, ours, clip = variant
    torch.manual_seed(0)
    net = first_lstm(ours) if lstm else first_tanh_net(ours)
    output = nn.Linear(WIDTH, SYMBOLS)
    parameters = [*net.parameters(), *output.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    random = torch.Generator().manual_seed(1)
    right: list[float] = []
    for _ in range(updates):
        inputs, symbols = sequences(steps, random)
        _, (last, *_) = net(inputs, inputs.new_ones(inputs.shape[:2]))
        logits = output(last)
        optimizer.zero_grad()
        F.cross_entropy(logits, symbols).backward()
        nn.utils.clip_grad_norm_(parameters, clip)
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
    with canvas("long-memory", width=6.2, height=3.2) as page:
        share_axis(page.axes)
        step_axis(page.axes, [float(len(next(iter(curves.values()))))])
        page.axes.set_ylabel("right answers")
        for number, (name, curve) in enumerate(curves.items()):
            page.axes.plot(range(1, len(curve) + 1), curve, label=name, color=SERIES[number])
        page.axes.axhline(1 / SYMBOLS, color=MUTED, linewidth=0.8, linestyle=":")
        return page.svg("Share of right answers over updates, for five recurrent nets")


if __name__ == "__main__":
    main()
