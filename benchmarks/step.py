"""Which share of the machine's matrix-multiplication rate does a training step sustain on real tokens?

    python benchmarks/step.py [--rounds 15] [--threads N] [--limit 120] [--out FILE]

The model of a translation benchmark: width 256, feed-forward 1024, 8 heads, 3+3 layers, vocabulary 8000 tied three
ways, dropout 0.3, batches of 4,096 tokens from length buckets over sentence-like lengths. A step is forward, loss,
backward, clipping and fused AdamW. fp32 and bf16 take turns in one process, each on the same batches; FLOPs are counted
for real tokens only, three times those of a forward pass. The ceiling is the fastest 2048 x 2048 product of the same
number format. bf16 is left out on a CPU without instructions for it; no round begins after `--limit` seconds.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from number_formats import timed_modes
from seqlab.data.batching.pairs import EncodedPairs, PairBatch, Ragged
from seqlab.data.batching.stream import BatchConfig, plan
from seqlab.engine.machine import describe, matrix_rate, prepare_cpu
from seqlab.engine.optimizers import AdamW, build_optimizer
from seqlab.engine.precision import DTYPES, Clip, Mode, Precision
from seqlab.layers.functional import cross_entropy_sum
from seqlab.models.transformer import Transformer, TransformerConfig
from timing import rounds_within

VOCABULARY, PAIRS, BATCHES = 8000, 20_000, 8
DEVICE = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--limit", type=float, default=120, help="seconds")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prepare_cpu()
    if options.threads:
        torch.set_num_threads(options.threads)
    batches, padding = sentence_batches()
    trainers: dict[Mode, Trainer] = {mode: Trainer(mode) for mode in timed_modes()}
    times: dict[Mode, list[float]] = {mode: [] for mode in trainers}
    rates: dict[Mode, list[float]] = {mode: [] for mode in trainers}
    for round_number in rounds_within(len(batches), options.limit / 2):  # kernels are prepared for every shape
        for trainer in trainers.values():
            trainer.step(batches[round_number])
    for round_number in rounds_within(options.rounds, options.limit / 2):
        batch = batches[round_number % len(batches)]
        for mode, trainer in trainers.items():
            seconds = trainer.step(batch)
            times[mode].append(seconds)
            rates[mode].append(trainer.flops(batch) / seconds)
    ceilings = {mode: max(matrix_rate(DEVICE, DTYPES[mode]) for _ in range(3)) for mode in trainers}
    gains = [slow / fast for slow, fast in zip(times["fp32"], times.get("bf16", []), strict=False)]
    result = {
        "machine": describe(DEVICE),
        "padding_share": round(padding, 4),
        "bf16_gain": spread(gains) if gains else None,
        **{
            mode: {
                "ceiling_gflops": round(ceilings[mode] / 1e9),
                "step_ms": spread([1000 * seconds for seconds in times[mode]]),
                "share_of_ceiling": spread([rate / ceilings[mode] for rate in rates[mode]]),
            }
            for mode in trainers
        },
    }
    print(json.dumps({key: value for key, value in result.items() if key != "machine"}, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


class Trainer:
    """One model in one number format."""

    def __init__(self, mode: Mode) -> None:
        torch.manual_seed(0)
        self.model = Transformer(TransformerConfig(dropout=0.3, tying="all"), VOCABULARY, VOCABULARY)
        self.optimizer = build_optimizer(self.model, AdamW())
        self.precision = Precision(mode, DEVICE)

    def step(self, batch: PairBatch) -> float:
        """Seconds of one update."""
        start = time.perf_counter()
        with self.precision.autocast():
            logits = self.model(*batch.inputs)
            loss = cross_entropy_sum(logits, batch.labels, 0.1) / batch.tokens
        self.precision.backward(loss)
        norm = self.precision.unscale_and_clip(self.model.parameters(), self.optimizer, Clip())
        self.precision.step(self.optimizer, norm)
        self.optimizer.zero_grad()
        return time.perf_counter() - start

    def flops(self, batch: PairBatch) -> float:
        """Of a training step on the real tokens of the batch."""
        return 3 * self.model.forward_flops(batch.source_mask.sum(1), batch.target_mask.sum(1))


def sentence_batches() -> tuple[list[PairBatch], float]:
    """Random ids with the lengths of image captions: 15 tokens on average, both sides alike; and the padding share."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(14), 0.35, PAIRS), 4, 60)
    sides = [np.maximum(2, np.rint(lengths * rng.normal(1, 0.1, PAIRS))).astype(int) for _ in range(2)]
    ragged = [Ragged.of([rng.integers(4, VOCABULARY, size).tolist() for size in side]) for side in sides]
    pairs = EncodedPairs(*ragged, pad_id=0, bos_id=1)
    buckets = plan(pairs.shapes, BatchConfig(max_tokens=4096, pad_to_multiple_of=1), rng)
    slots = sum(len(bucket.rows) * (bucket.source_width + bucket.target_width) for bucket in buckets)
    return [pairs.batch(*bucket) for bucket in buckets[:BATCHES]], 1 - pairs.shapes.sum() / slots


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


if __name__ == "__main__":
    main()
