"""Two real gloo processes: what they tell each other, and that accumulation over both equals one process."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributed import GradBucket  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.multiprocessing.spawn import spawn

from seqlab.data.batching.stream import Group, Position
from seqlab.display import Silent
from seqlab.engine import checkpoint, machine
from seqlab.engine.checkpoint import Snapshot
from seqlab.engine.distributed import ALONE, World, connect, resolve_device
from seqlab.engine.loop import Budget, Engine, LossSum, updates
from seqlab.engine.optimizers import SGD, build_optimizer
from seqlab.engine.precision import Clip, Precision
from seqlab.engine.recorder import NonFiniteError, Recorder
from seqlab.engine.schedules import Constant
from seqlab.errors import UserError

torch.set_num_threads(1)
CPU = torch.device("cpu")


def run_two(work: Callable[[World, Path], Any], folder: Path) -> list[Any]:
    """What `work` returns in each of two connected processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(_one_of_two, args=(work, folder, port), nprocs=2)
    return [torch.load(folder / f"result-{rank}.pt", weights_only=True) for rank in range(2)]


def _one_of_two(rank: int, work: Callable[[World, Path], Any], folder: Path, port: int) -> None:
    torch.set_num_threads(1)
    captured = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in captured.items()}, MASTER_ADDR="127.0.0.1")
    world = connect("cpu")
    torch.save(work(world, folder), folder / f"result-{rank}.pt")
    world.close()


def talk(world: World, folder: Path) -> dict[str, Any]:
    mine = torch.tensor([1.0, 10.0]) * (world.rank + 1)
    return {
        "place": (world.rank, world.size, world.local_size, world.is_main),
        "sum": world.sum(mine),
        "untouched": mine,
        "sum_of_counts": world.sum(torch.tensor(world.rank + 5)),
        "one_asks": world.any_rank(world.rank == 1),
        "none_asks": world.any_rank(False),
        "number": world.broadcast_number(0.1 + world.rank),
        "objects": world.gather_objects({"rank": world.rank}),
    }


def test_both_processes_come_to_the_same_results(tmp_path: Path) -> None:
    first, second = run_two(talk, tmp_path)
    assert first["place"] == (0, 2, 2, True)
    assert second["place"] == (1, 2, 2, False)
    assert first["untouched"].tolist() == [1.0, 10.0]
    for captured in (first, second):
        assert captured["sum"].tolist() == [3.0, 30.0]
        assert captured["sum_of_counts"] == 11
        assert (captured["one_asks"], captured["none_asks"]) == (True, False)
        assert captured["number"] == 0.1
        assert captured["objects"] == [{"rank": 0}, {"rank": 1}]


BATCHES = [(3, 0), (1, 1), (7, 2), (2, 3)]
"""(tokens, seed) of the micro-batches of one update: uneven, so that a mean of means would be wrong."""


def make_model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    shared = nn.Linear(4, 4)
    return nn.Sequential(shared, nn.Tanh(), shared)


def micro_batch(tokens: int, seed: int) -> Tensor:
    return torch.randn(tokens, 4, generator=torch.Generator().manual_seed(seed))


def train(world: World, model: nn.Module, updates: int = 3) -> tuple[nn.Module, list[int]]:
    """Updates as the loop makes them; also counts how often gradients were exchanged."""
    wrapped, optimizer = world.wrap(model), build_optimizer(model, SGD(lr=0.1))
    precision, exchanges = Precision("fp32", CPU), [0]
    if world.size > 1:
        cast(Any, wrapped).register_comm_hook(exchanges, _counting_all_reduce)
    mine = BATCHES[world.rank :: world.size]
    tokens = sum(tokens for tokens, _ in BATCHES)
    for _ in range(updates):
        for turn, batch in enumerate(mine, start=1):
            with world.sync_only_if(wrapped, turn == len(mine)):
                loss = wrapped(micro_batch(*batch)).square().sum() * (world.size / tokens)
                precision.backward(loss)
        norm = precision.unscale_and_clip(model.parameters(), optimizer, Clip(limit=0.5))
        precision.step(optimizer, norm)
        optimizer.zero_grad()
    return model, exchanges


def _counting_all_reduce(exchanges: list[int], bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
    exchanges[0] += 1
    everyone = torch.distributed.group.WORLD
    assert everyone is not None
    return allreduce_hook(everyone, bucket)


def train_in_two(world: World, folder: Path) -> dict[str, Any]:
    model, exchanges = train(world, make_model(seed=world.rank))  # DDP gives everyone the weights of rank 0
    return {"weights": dict(model.state_dict()), "exchanges": exchanges[0]}


def test_two_processes_train_the_weights_of_one_and_exchange_once_an_update(tmp_path: Path) -> None:
    alone, _ = train(ALONE, make_model(seed=0))
    for captured in run_two(train_in_two, tmp_path):
        torch.testing.assert_close(captured["weights"], dict(alone.state_dict()))
        # DDP puts all weights of so small a model into one bucket: one exchange for each of the three updates
        assert captured["exchanges"] == 3


def refuse_in_two(world: World, folder: Path) -> dict[str, Any]:
    """The second process meets an infinite loss in the third update."""
    model = make_model(seed=0)
    wrapped = world.wrap(model)
    calls = [0]

    def loss(called: nn.Module, batch: Any) -> LossSum:
        calls[0] += 1
        total = called(batch).square().sum()
        return LossSum(total + torch.inf if (world.rank, calls[0]) == (1, 6) else total, len(batch))

    mine = [micro_batch(*batch) for batch in BATCHES[world.rank :: world.size]]
    group = Group(cast(Any, mine), sum(tokens for tokens, _ in BATCHES), 0, 1, np.ones((1, 2)), Position())
    stream = cast(Any, SimpleNamespace(next_group=lambda: group))
    optimizer = build_optimizer(model, SGD(lr=0.1))
    precision = Precision("fp32", CPU)
    engine = Engine(wrapped, loss, stream, optimizer, Constant(), precision, Clip(), None, world)
    recorder = Recorder(None, [], Silent(), world, lambda shapes: 1.0, 1.0, 100, False, lambda: 0.0)
    captured, weights = "", []
    try:
        for update in updates(engine, Budget(10, None, world)):
            weights.append(model[0].weight.detach().clone())
            recorder.add(update, 0.1)
    except NonFiniteError as error:
        captured = str(error)
    return {"captured": captured, "weights": weights}


def test_a_loss_that_is_bad_in_one_process_stops_both_before_the_step(tmp_path: Path) -> None:
    first, second = run_two(refuse_in_two, tmp_path)
    for captured in (first, second):
        assert captured["captured"] == "the loss is not finite at update 3, learning rate 0.1"
        assert len(captured["weights"]) == 3
        assert torch.equal(captured["weights"][2], captured["weights"][1])
        assert not torch.equal(captured["weights"][1], captured["weights"][0])
        assert captured["weights"][2].isfinite().all()
    assert torch.equal(first["weights"][2], second["weights"][2])


def save_from_two(world: World, folder: Path) -> dict[str, Any]:
    machine.seed_everything(5, world.rank)
    values: dict[str, Any] = {"model": {"w": torch.full((2,), float(world.rank))}, "state": {"rank": world.rank}}
    checkpoint.save(folder / "good", Snapshot(1, **values, average=None, random=machine.random_state()), world)
    expected = torch.rand(3)
    loaded = checkpoint.load(folder / "good" / "step-00000001", rank=world.rank)
    assert loaded.random is not None
    machine.restore_random_state(loaded.random)

    # One process fails; both must hear of it instead of waiting for each other.
    complaint = ""
    if world.rank == 1:
        checkpoint._save_plain = _disk_is_full
    try:
        checkpoint.save(folder / "bad", Snapshot(2, **values, average=None, random={}), world)
    except UserError as error:
        complaint = str(error)
    return {"expected": expected, "drawn": torch.rand(3), "complaint": complaint}


def _disk_is_full(path: Path, value: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_checkpoint_of_two_holds_the_randomness_of_each_and_loads_in_one(tmp_path: Path) -> None:
    first, second = run_two(save_from_two, tmp_path)
    assert torch.equal(first["expected"], first["drawn"])
    assert torch.equal(second["expected"], second["drawn"])
    assert not torch.equal(first["drawn"], second["drawn"])
    assert "another process could not save" in first["complaint"]
    assert "the disk is full" in second["complaint"]
    assert list((tmp_path / "bad").iterdir()) == []

    loaded = checkpoint.load(tmp_path / "good" / "step-00000001")
    assert loaded.model["w"].tolist() == [0.0, 0.0]
    assert loaded.state == {"rank": 0}


def test_a_world_of_one_passes_everything_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world, model, numbers = connect("cpu"), make_model(0), torch.ones(2)
    assert (world.rank, world.size, world.is_main, world.device) == (0, 1, True, CPU)
    assert world.wrap(model) is model
    assert world.sum(numbers) is numbers
    assert world.any_rank(True)
    assert not world.any_rank(False)
    assert world.broadcast_number(3.5) == 3.5
    assert world.gather_objects("x") == ["x"]
    with world.sync_only_if(model, last=False):
        assert not world.any_rank(False)
    world.close()
    assert not torch.distributed.is_initialized()


def test_processes_without_numbers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UserError, match="start the processes with torchrun"):
        connect("cpu")


def test_a_device_that_is_absent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    with pytest.raises(UserError, match=r"device is cuda, but .*: use --device cpu"):
        resolve_device("cuda")
    with pytest.raises(UserError, match="device is mps, but"):
        resolve_device("mps")
