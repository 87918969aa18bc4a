"""Where does the time of a training step go?

    python benchmarks/profile_step.py [--steps 4] [--threads N]

The step of benchmarks/step.py under torch's profiler, whose clock is the wall's: other jobs on the machine spread over
all rows alike, so read the shares and not the milliseconds.
"""

import argparse
from collections import Counter

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from number_formats import timed_modes
from seqlab.engine.machine import prepare_cpu
from step import Trainer, sentence_batches

GROUPS = {
    "loss": ("CrossEntropy",),
    "dropout": ("ByteDropout",),
    "norms": ("layer_norm",),
    "optimizer and clipping": ("Optimizer.step", "aten::_foreach"),
    "softmax and fused attention": ("softmax", "scaled_dot_product"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "copies and casts": ("aten::copy_", "aten::cat"),
}
"""Parts of a step, by what stands in the name of an operation or of one that it is part of; the first match counts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    prepare_cpu()
    if options.threads:
        torch.set_num_threads(options.threads)
    batches = sentence_batches()[0][: options.steps]
    shares = {mode: profiled(Trainer(mode), batches) for mode in timed_modes()}
    print(f"| part | {' | '.join(shares)} |\n|---|{'---:|' * len(shares)}")
    *_, last = shares.values()
    for group in sorted(set().union(*shares.values()), key=lambda group: -last[group]):
        print(f"| {group} | {' | '.join(f'{share[group]:.1%}' for share in shares.values())} |")


def profiled(trainer: Trainer, batches: list) -> Counter[str]:
    """The share of each group in the time of all batches, after one round that only warms up."""
    for batch in batches:
        trainer.step(batch)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for batch in batches:
            trainer.step(batch)
    times: Counter[str] = Counter()
    for event in profiler.events() or []:
        times[group_of(event)] += event.self_cpu_time_total
    return Counter({group: time / times.total() for group, time in times.items()})


def group_of(event: FunctionEvent) -> str:
    names, parent = [event.name], event.cpu_parent
    while parent is not None:
        names.append(parent.name)
        parent = parent.cpu_parent
    path = " ".join(names)
    return next((group for group, parts in GROUPS.items() if any(part in path for part in parts)), "the rest")


if __name__ == "__main__":
    main()
