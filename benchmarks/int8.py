"""Would 8-bit numbers make the products of a decoding step cheaper on this CPU? Prints a Markdown table.

    python benchmarks/int8.py [--rows 320] [--repeats 15] [--out FILE]

A step of beam search with R hypotheses multiplies R rows by each matrix of the decoder and by the vocabulary. For every
matrix: the product in bf16; the bare product of 8-bit integers; the same with what a real layer needs around it (a
scale for each row of the input, and the result scaled back to bf16); torch's own dynamic quantization, which has one
scale for all rows, so that a translation would depend on its neighbours. One thread and its CPU time, median of the
repeats.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from number_formats import timed_modes
from seqlab.engine.machine import describe, prepare_cpu
from seqlab.engine.precision import Mode
from timing import milliseconds

MATRICES = {
    "attention": (256, 256),
    "feed-forward, in": (256, 1024),
    "feed-forward, out": (1024, 256),
    "vocabulary": (256, 8000),
}
"""(inputs, outputs) of the model of benchmarks/peers"""
CALLS = 10
"""products in one timed step, as one is too short for the clock"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prepare_cpu()
    torch.set_num_threads(1)
    torch.backends.quantized.engine = "onednn"
    modes = timed_modes()
    measured = {
        name: {
            variant: statistics.median(milliseconds(repeated(product), options.repeats)) / CALLS
            for variant, product in products(options.rows, *shape, modes).items()
        }
        for name, shape in MATRICES.items()
    }
    print("| matrix | " + " | ".join(f"{variant} (ms)" for variant in measured["vocabulary"]) + " |")
    print("|---|" + "---:|" * len(measured["vocabulary"]))
    for name, row in measured.items():
        print(f"| {name} | " + " | ".join(f"{time:.2f}" for time in row.values()) + " |")
    if options.out:
        record = {"machine": describe(torch.device("cpu")), "rows": options.rows, "ms": measured}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def products(rows: int, inputs: int, outputs: int, modes: Sequence[Mode]) -> dict[str, Callable[[], Tensor]]:
    torch.manual_seed(0)
    values, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs) * inputs**-0.5
    half_values, half_weight = values.bfloat16(), weight.bfloat16()
    weight_scale = weight.abs().amax(1) / 127
    byte_weight = (weight / weight_scale[:, None]).round().to(torch.int8).T
    byte_values = (values * 20).round().clamp(-127, 127).to(torch.int8)
    zeros = torch.zeros(outputs, dtype=torch.long)
    packed = torch.ops.quantized.linear_prepack(
        torch.quantize_per_channel(weight, weight_scale, zeros, 0, torch.qint8), None
    )

    def scaled() -> Tensor:
        scale = half_values.abs().amax(1, keepdim=True).float() / 127
        row_bytes = (half_values / scale).round_().to(torch.int8)
        return (torch._int_mm(row_bytes, byte_weight) * scale).mul_(weight_scale).bfloat16()

    in_bf16 = {"bf16": lambda: F.linear(half_values, half_weight)} if "bf16" in modes else {}
    return {
        **in_bf16,
        "int8, bare": lambda: torch._int_mm(byte_values, byte_weight),
        "int8, scaled": scaled,
        "int8, torch's dynamic": lambda: torch.ops.quantized.linear_dynamic(values, packed),
    }


def repeated(product: Callable[[], Tensor]) -> Callable[[], None]:
    def step() -> None:
        for _ in range(CALLS):
            product()

    return step


if __name__ == "__main__":
    main()
