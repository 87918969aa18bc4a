"""What does counting operations cost: by hand, by torch's counter around each forward pass, or once on "meta"?

python benchmarks/flops.py [--out FILE]

CPU milliseconds of this process on one thread, the least of seven; and which share of the operations counted by hand
torch's counter finds. A forward pass is one of a batch in evaluation mode, without gradients.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from generator import machine
from seqlab.models.flops import SHAPES, forward_flops_of
from seqlab.models.recurrent import RecurrentConfig, RecurrentEncoderDecoder
from seqlab.models.transformer import Transformer, TransformerConfig

REPEATS = 7
VOCAB_SIZE = 8000
BATCHES = [(64, 24), (16, 96)]
"""Rows and tokens of each side."""

MODELS: dict[str, Callable[[], Any]] = {
    "Transformer, 3+3 layers of 256": lambda: Transformer(TransformerConfig(), VOCAB_SIZE, VOCAB_SIZE),
    "LSTM, 2+2 layers of 256, attention": lambda: RecurrentEncoderDecoder(RecurrentConfig(), VOCAB_SIZE, VOCAB_SIZE),
}


def inputs(rows: int, tokens: int, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ids = torch.zeros(rows, tokens, dtype=torch.long, device=device)
    return ids, torch.ones_like(ids, dtype=torch.bool), ids, torch.arange(rows * tokens, device=device)


def milliseconds(work: Callable[[], Any]) -> float:
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return round(1000 * min(taken), 2)


def counted(model: nn.Module, batch: tuple[Tensor, ...]) -> int:
    with FlopCounterMode(display=False) as counter:
        model(*batch)
    return counter.get_total_flops()


def measure(model: Any) -> dict[str, Any]:
    result: dict[str, Any] = {
        "once_on_meta_ms": milliseconds(lambda: forward_flops_of(model, lambda m, s, t: m(*inputs(1, s, "meta"))))
    }
    for rows, tokens in BATCHES:
        batch, lengths = inputs(rows, tokens, "cpu"), torch.full((rows,), tokens)
        by_hand = model.forward_flops(lengths, lengths)
        result[f"{rows} x {tokens}"] = {
            "by_hand_ms": milliseconds(lambda lengths=lengths: model.forward_flops(lengths, lengths)),
            "forward_ms": milliseconds(lambda batch=batch: model(*batch)),
            "forward_and_counter_ms": milliseconds(lambda batch=batch: counted(model, batch)),
            "share_found_on_cpu": round(counted(model, batch) / by_hand, 4),
        }
    return result


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {name: measure(build().eval()) for name, build in MODELS.items()}
    report = {"shapes": len(SHAPES), "repeats": REPEATS, "machine": machine(), "results": results}
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
