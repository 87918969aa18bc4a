"""What does a training step of each sequence classifier cost, and which form of a linear recurrence is the fastest?

    python benchmarks/recurrence.py [--rounds 5] [--rows 64] [--width 128] [--layers 2] [--out FILE]

A step is forward, loss, backward, clipping and fused AdamW on sequences of 784 numbers. All nets have the same width
and depth; they take turns in one process, on one thread, and CPU time is taken. "times" is the step of the LSTM over
that of the net in the same round. Then h_t = a_t h_{t-1} + b_t forwards, in three forms.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from number_formats import timed_modes
from seqlab.engine.machine import describe, prepare_cpu
from seqlab.engine.optimizers import AdamW, build_optimizer
from seqlab.engine.precision import Clip, Mode, Precision
from seqlab.layers.linear_recurrence import linear_scan
from seqlab.models.classifier import SequenceClassifier, SequenceClassifierConfig
from timing import milliseconds, rounds_within

LENGTH, CLASSES, DEVICE = 784, 10, torch.device("cpu")

NETS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "rnn": {},
    "gru": {},
    "bilstm": {},
    "mingru": {},
    "mingru, read every 4 steps": {"architecture": "mingru", "strides": [4]},
    "lru": {},
    "lru, read every 4 steps": {"architecture": "lru", "strides": [4]},
    "transformer": {},
}
"""Settings beside the architecture, width and depth."""

SHAPES = ((1, 128), (8, 64), (32, 64), (32, 128), (64, 128), (128, 256))
"""Rows and widths of the scans."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prepare_cpu()
    torch.set_num_threads(1)
    result = {
        "machine": describe(DEVICE),
        "rows": options.rows,
        "width": options.width,
        "layers": options.layers,
        "step_ms": steps(options.rows, options.width, options.layers, options.rounds),
        "scan_ms": scans(options.rounds),
    }
    print(json.dumps({key: value for key, value in result.items() if key != "machine"}, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def steps(rows: int, width: int, num_layers: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each net in both number formats, and how many times as fast as the LSTM in the same format."""
    found: dict[str, Any] = {}
    for mode in timed_modes():
        trainers = {}
        for name, settings in NETS.items():
            tree = {"architecture": name, **settings, "width": width, "num_layers": num_layers}
            trainers[name] = Trainer(SequenceClassifierConfig.model_validate(tree), rows, mode)
        times: dict[str, list[float]] = {name: [] for name in trainers}
        for trainer in trainers.values():
            trainer.step()  # prepares kernels
        for _ in rounds_within(rounds, limit_s=300):
            for name, trainer in trainers.items():
                times[name].append(trainer.step())
        for name, own in times.items():
            ratios = [lstm / taken for lstm, taken in zip(times["lstm"], own, strict=True)]
            found.setdefault(name, {})[mode] = {"ms": spread(own), "times": spread(ratios)}
    return found


class Trainer:
    """One net in one number format."""

    def __init__(self, config: SequenceClassifierConfig, rows: int, mode: Mode) -> None:
        torch.manual_seed(0)
        self.model = SequenceClassifier(config, 1, LENGTH, CLASSES)
        self.optimizer = build_optimizer(self.model, AdamW())
        self.precision = Precision(mode, DEVICE)
        self.inputs, self.labels = torch.randn(rows, LENGTH, 1), torch.randint(CLASSES, (rows,))

    def step(self) -> float:
        """Milliseconds of one update."""
        start = time.process_time()
        with self.precision.autocast():
            loss = F.cross_entropy(self.model(self.inputs), self.labels)
        self.precision.backward(loss)
        norm = self.precision.unscale_and_clip(self.model.parameters(), self.optimizer, Clip())
        self.precision.step(self.optimizer, norm)
        self.optimizer.zero_grad()
        return 1000 * (time.process_time() - start)


def scans(rounds: int) -> list[dict[str, Any]]:
    """Milliseconds of the forward pass in each form, time-major."""
    found: list[dict[str, Any]] = []
    for rows, width in SHAPES:
        factors, inputs = (
            torch.rand(LENGTH, rows, width).transpose(0, 1),
            torch.randn(LENGTH, rows, width).transpose(0, 1),
        )
        forms: dict[str, Callable[[], Tensor]] = {
            "one kernel a step": lambda a=factors, b=inputs: linear_scan(a, b, chunk=LENGTH),
            "chunks of 28": lambda a=factors, b=inputs: linear_scan(a, b, chunk=28),
            "doubling": lambda a=factors, b=inputs: doubling(a, b),
        }
        taken = {
            name: spread(milliseconds(lambda form=form: (form(), None)[1], rounds)) for name, form in forms.items()
        }
        found.append({"rows": rows, "width": width, **taken})
    return found


def doubling(factors: Tensor, inputs: Tensor) -> Tensor:
    """Hillis and Steele 1986: after round k every state has the last 2^k inputs; L log L operations."""
    by_time, states = factors.transpose(0, 1), inputs.transpose(0, 1)
    distance = 1
    while distance < len(states):
        moved = torch.addcmul(states[distance:], by_time[distance:], states[:-distance])
        states = torch.cat([states[:distance], moved])
        by_time = torch.cat([by_time[:distance], by_time[distance:] * by_time[:-distance]])
        distance *= 2
    return states.transpose(0, 1)


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median": round(statistics.median(values), 2), "min": round(min(values), 2), "max": round(max(values), 2)}


if __name__ == "__main__":
    main()
