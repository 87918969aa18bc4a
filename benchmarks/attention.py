"""Which attention kernel is fastest on this CPU, by dtype and length? Prints a Markdown table.

    python benchmarks/attention.py [--repeats 9]

Forward and backward of self-attention from one fused projection: 4,096 tokens, 8 heads of 32, rows of one length with
up to three padded tokens. One thread and its CPU time, so that other work on the machine disturbs little; the median of
the repeats, and the widest spread (largest minus smallest) of all columns.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from number_formats import timed_modes
from seqlab.engine.precision import DTYPES
from seqlab.layers import attention
from seqlab.layers.attention import AttentionMask, KeyValue, merge_heads, padding_mask, split_heads
from timing import milliseconds

TOKENS, HEADS, WIDTH = 4096, 8, 256
LENGTHS = (8, 12, 16, 24, 32, 40, 64, 128, 256, 512, 1024)

Kernel = Callable[[Tensor, KeyValue, AttentionMask | None, float], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    columns = [
        "fused",
        "products, keys as they are",
        "products, keys padded",
        "products, padded, dropout 0.3",
        "fused, dropout 0.3",
    ]
    print("| dtype | rows x length | " + " | ".join(f"{name} (ms)" for name in columns) + " | spread (ms) |")
    print("|---|---|" + "---:|" * (len(columns) + 1))
    for mode in timed_modes():
        for length in LENGTHS:
            print(table_row(DTYPES[mode], length, repeats), flush=True)


def table_row(dtype: torch.dtype, length: int, repeats: int) -> str:
    rows = TOKENS // length
    real = torch.arange(length) < torch.randint(max(1, length - 3), length + 1, (rows, 1))
    padded = padding_mask(real, dtype)
    assert padded is not None
    plain = AttentionMask(padded.bias[..., :length].contiguous())
    variants: list[tuple[Kernel, AttentionMask, float]] = [
        (attention.attend_fused, plain, 0.0),
        (attention.attend_by_products, plain, 0.0),
        (attention.attend_by_products, padded, 0.0),
        (attention.attend_by_products, padded, 0.3),
        (attention.attend_fused, plain, 0.3),
    ]
    times = [milliseconds(step_of(dtype, rows, length, *variant), repeats) for variant in variants]
    cells = " | ".join(f"{statistics.median(each):.1f}" for each in times)
    spread = max(max(each) - min(each) for each in times)
    return f"| {str(dtype).removeprefix('torch.')} | {rows} x {length} | {cells} | {spread:.1f} |"


def step_of(
    dtype: torch.dtype, rows: int, length: int, kernel: Kernel, mask: AttentionMask, rate: float
) -> Callable[[], None]:
    projected = torch.randn(rows, length, 3 * WIDTH).to(dtype).requires_grad_()
    upstream = torch.randn(rows, length, WIDTH).to(dtype)

    def step() -> None:
        projected.grad = None
        query, key, value = (split_heads(part, HEADS) for part in projected.chunk(3, dim=-1))
        merge_heads(kernel(query, KeyValue(key, value), mask, rate)).backward(upstream)

    return step


if __name__ == "__main__":
    main()
