"""What does dropout cost on this CPU? Prints a Markdown table.

    python benchmarks/dropout.py [--repeats 15]

Forward, and forward with backward, of 4,096 x 1,024 values. One thread and its CPU time, so that other work on the
machine disturbs little; the median of the repeats, and the spread (largest minus smallest) of the second column.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.layers.functional import dropout, kept_levels, random_bytes
from timing import milliseconds

RATE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    variants: dict[str, Callable[[Tensor], Tensor]] = {
        "torch.nn.functional.dropout": lambda values: F.dropout(values, RATE),
        "random bytes, bool mask, torch.where": choose_by_where,
        "random bytes, bool mask, product": multiply_by_bool,
        "seqlab: random bytes, uint8 mask, product": lambda values: dropout(values, RATE),
    }
    print("| dtype | variant | forward (ms) | forward + backward (ms) | spread (ms) |")
    print("|---|---|---:|---:|---:|")
    for dtype in (torch.float32, torch.bfloat16):
        values = torch.randn(4096, 1024).to(dtype).requires_grad_()
        upstream = torch.randn(4096, 1024).to(dtype)
        for name, variant in variants.items():
            print(table_row(name, variant, values, upstream, repeats), flush=True)


def choose_by_where(values: Tensor) -> Tensor:
    kept = kept_levels(RATE)
    mask = (random_bytes(values.numel()) < kept).view(values.shape)
    return torch.where(mask, values * (256 / kept), 0.0)


def multiply_by_bool(values: Tensor) -> Tensor:
    kept = kept_levels(RATE)
    mask = (random_bytes(values.numel()) < kept).view(values.shape)
    return values * mask * (256 / kept)


def table_row(name: str, variant: Callable[[Tensor], Tensor], values: Tensor, upstream: Tensor, repeats: int) -> str:
    def forward() -> None:
        variant(values.detach())

    def both() -> None:
        values.grad = None
        variant(values).backward(upstream)

    once, twice = milliseconds(forward, repeats), milliseconds(both, repeats)
    cells = f"{statistics.median(once):.1f} | {statistics.median(twice):.1f} | {max(twice) - min(twice):.1f}"
    return f"| {str(values.dtype).removeprefix('torch.')} | {name} | {cells} |"


if __name__ == "__main__":
    main()
