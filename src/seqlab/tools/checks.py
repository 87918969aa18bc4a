"""Self-checks: whether this machine, with this recipe, keeps the promises of the engine.

Each check trains or decodes for a moment and compares two ways to the same result. They run in fp32 on a shrunk copy of
the recipe, so that they take seconds; the code paths are those of the recipe.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batching.pairs import PairBatch
from seqlab.data.batching.stream import Stream
from seqlab.decode.contract import Decoder
from seqlab.decode.search import search
from seqlab.decode.settings import DecodeConfig
from seqlab.display import Silent
from seqlab.engine.checkpoint import load_weights
from seqlab.engine.distributed import DeviceName, World, resolve_device
from seqlab.experiment.assembly import Assembly
from seqlab.experiment.config import Experiment, check
from seqlab.training.state import seeded_assembly
from seqlab.training.trainer import train

ROUNDING = 1e-4
"""Relative difference that another order of fp32 additions may cause."""


class CheckResult(NamedTuple):
    """One claim, whether it held, and what was measured."""

    claim: str
    passed: bool
    measured: str


def run_checks(experiment: Experiment, device: DeviceName = "auto") -> Iterator[CheckResult]:
    """Runs all checks, one after the other."""
    world = World(0, 1, resolve_device(device))
    small = shrunk(experiment)
    assembly = seeded_assembly(small, world)
    yield accumulation_is_exact(small, assembly, world)
    if assembly.task.role == "encoder-decoder":
        yield padding_changes_nothing(small, assembly, world)
        yield cache_changes_nothing(small, assembly, world)
        yield beam_of_one_is_greedy(small, assembly, world)
    yield resume_is_exact(small, device)


def shrunk(experiment: Experiment, **train: Any) -> Experiment:
    """The recipe with little data and few updates, everything random in it left on."""
    tree = experiment.model_dump()
    drawn = {"epoch_size": 400, "validation_size": 20, "test_size": 20}  # drawing examples takes time too
    if "epoch_size" in tree["data"] and "streaming" not in tree["data"]:  # files hold what they hold
        tree["data"] |= {name: size for name, size in drawn.items() if name in tree["data"]}
    size = (
        {"max_tokens": 512, "batch_size": None}
        if experiment.batch.batch_size is None
        else {"max_tokens": None, "batch_size": 8}
    )
    tree["batch"] |= {**size, "shuffle_pool": 200, "accumulate": 2}
    tree["train"] |= {
        "max_steps": 12,
        "max_minutes": None,
        "epochs": None,
        "until": None,
        "patience": None,
        "precision": "fp32",
        "average": experiment.train.average or 0.9,
        "evaluate_every": 5,
        "evaluate_examples": 10,
        "test_examples": 10,
        "keep_last": 10,
        "trackers": (),
        **train,
    }
    return check(tree, "self-check")


def accumulation_is_exact(experiment: Experiment, assembly: Assembly, world: World) -> CheckResult:
    """One batch of N rows and N batches of one row have the same gradient, though targets differ in length."""
    batch = _batch(experiment, assembly, world)
    whole = _gradient(assembly, [batch])
    encoded = assembly.task.training(0)
    rows = [encoded.batch(np.array([row]), *encoded.shapes[row]).to(world.device) for row in batch.rows]
    split = _gradient(assembly, rows)
    difference = ((whole - split).norm() / whole.norm()).item()
    return CheckResult(
        "1 x N accumulation equals N x 1", difference < ROUNDING, f"gradients differ by {difference:.1e}"
    )


def padding_changes_nothing(experiment: Experiment, assembly: Assembly, world: World) -> CheckResult:
    """Eight more columns of padding on both sides leave the logits as they are."""
    batch, model = _batch(experiment, assembly, world), _decoder(assembly)
    wider: Any = assembly.task.training(0).batch(batch.rows, batch.source.shape[1] + 8, batch.target.shape[1] + 8)
    with torch.inference_mode():
        plain, padded = model(*batch.inputs), model(*wider.to(world.device).inputs)
    difference = ((plain - padded).abs().max() / plain.abs().max()).item()
    return CheckResult("padding changes nothing", difference < ROUNDING, f"logits differ by {difference:.1e}")


def cache_changes_nothing(experiment: Experiment, assembly: Assembly, world: World) -> CheckResult:
    """Logits token by token through the cache equal those of the whole target at once."""
    batch, model = _batch(experiment, assembly, world), _decoder(assembly)
    with torch.inference_mode():
        whole = model(*batch.inputs)
        stepwise = _stepwise(model, batch)
    difference = ((stepwise - whole).abs().max() / whole.abs().max()).item()
    return CheckResult("cache equals no cache", difference < ROUNDING, f"logits differ by {difference:.1e}")


def beam_of_one_is_greedy(experiment: Experiment, assembly: Assembly, world: World) -> CheckResult:
    """A beam of width one, where length earns nothing, writes what greedy search writes."""
    batch, model = _batch(experiment, assembly, world), _decoder(assembly)
    length = min(experiment.decode.max_length, 16)
    task: Any = assembly.task
    ids = task.vocabularies.special
    greedy, beam = (
        search(model, batch.source, batch.source_mask, config, bos_id=ids.bos, eos_id=ids.eos)
        for config in (
            DecodeConfig(method="greedy", max_length=length),
            DecodeConfig(method="beam", beam_width=1, length_penalty=0.0, max_length=length),
        )
    )
    same = sum(left[0].ids == right[0].ids for left, right in zip(greedy, beam, strict=True))
    return CheckResult("beam 1 equals greedy", same == len(greedy), f"{same} of {len(greedy)} outputs are the same")


def resume_is_exact(experiment: Experiment, device: DeviceName) -> CheckResult:
    """A run that lost its end and was resumed has the weights of one that was never stopped, bit for bit."""
    with tempfile.TemporaryDirectory() as folder:
        straight, broken = Path(folder) / "straight", Path(folder) / "broken"
        train(experiment, straight, device=device, resume=False, overwrite=False, display=Silent())
        train(experiment, broken, device=device, resume=False, overwrite=False, display=Silent())
        _forget_the_end(broken)
        train(experiment, broken, device=device, resume=True, overwrite=False, display=Silent())
        names = [
            f"checkpoints/step-{experiment.train.max_steps:08d}/{kind}.safetensors" for kind in ("model", "average")
        ]
        differing = [
            name
            for file in names
            for name, tensor in load_weights(straight / file).items()
            if not torch.equal(tensor, load_weights(broken / file)[name])
        ]
    return CheckResult("resume is exact", not differing, f"{len(differing)} tensors differ in any bit")


def _forget_the_end(run: Path) -> None:
    """Leaves a finished run as a crash in the middle would have: without results and without its newest checkpoint."""
    import shutil

    (run / "results.json").unlink()
    shutil.rmtree(max((run / "checkpoints").glob("step-*")))


def _batch(experiment: Experiment, assembly: Assembly, world: World) -> Any:
    stream = Stream(assembly.task.training, experiment.batch, experiment.train.seed)
    batch = stream.next_group().batches[0].to(world.device)
    stream.close()
    return batch


def _decoder(assembly: Assembly) -> Any:
    return assembly.model.eval()


def _stepwise(model: Decoder[Any], batch: PairBatch) -> Tensor:
    """Logits (N, V) of the real target tokens, one step at a time through the cache."""
    state, steps = model.start(model.encode(batch.source, batch.source_mask)), []
    for tokens in batch.target.unbind(1):
        logits, state = model.step(tokens, state)
        steps.append(logits)
    return torch.stack(steps, 1).flatten(0, 1)[batch.target_index]


def _gradient(assembly: Assembly, batches: Sequence[Any]) -> Tensor:
    """The gradient of the mean loss over all tokens of the batches, without dropout."""
    task, model = assembly
    model.eval().zero_grad(set_to_none=True)
    tokens = sum(batch.tokens for batch in batches)
    for batch in batches:
        (task.loss(model, batch).sum / tokens).backward()
    found = torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
    model.zero_grad(set_to_none=True)
    return found
