"""Collectives between the processes of one run.

The only file that knows `torch.distributed`. `torchrun` starts the processes and numbers them in the environment. A
world of one process passes everything through. Collectives on CPU tensors go through gloo even in a GPU run, so that
agreeing to stop never waits for the GPU.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from seqlab.errors import UserError
from seqlab.runs.orphans import die_with_parent

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
T = TypeVar("T")


def resolve_device(name: DeviceName) -> torch.device:
    """The device called `name`; "auto" is the fastest one there is. Raises UserError if it is absent."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        why = "this torch is built without CUDA" if not torch.backends.cuda.is_built() else "torch sees no GPU"
        raise UserError(f"device is cuda, but {why}: use --device cpu, or install a CUDA build of torch")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError("device is mps, but torch sees no Apple GPU: use --device cpu")
    return torch.device(name)


@dataclass(frozen=True)
class World:
    """All processes of a run, as one of them sees it."""

    rank: int
    """number of this process, from 0"""
    size: int
    """number of processes"""
    device: torch.device
    """where this process computes"""
    local_size: int = 1
    """number of processes on this machine"""

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and talks to the user."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """`model` with gradients averaged over all processes during backward; weights are those of rank 0."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(
            model,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
        )

    def sync_only_if(self, model: nn.Module, last: bool) -> AbstractContextManager[None]:
        """The context of forward AND backward of one micro-batch: gradients are exchanged for the last one only.

        DDP decides in forward whether the next backward exchanges gradients: around backward alone this saves nothing.
        """
        if last or self.size == 1:
            return nullcontext()
        from torch.nn.parallel import DistributedDataParallel

        return cast(DistributedDataParallel, model).no_sync()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over all processes; `tensor` itself is left alone."""
        return self._reduce(tensor, "SUM")

    def any_rank(self, flag: bool) -> bool:
        """True everywhere as soon as it is True anywhere: a request to stop, or a failure."""
        if self.size == 1:
            return flag
        return bool(self._reduce(torch.tensor(int(flag)), "MAX").item())

    def broadcast_number(self, number: float) -> float:
        """The `number` of rank 0: clocks differ, decisions must not."""
        if self.size == 1:
            return number
        import torch.distributed as dist

        shared = torch.tensor(number, dtype=torch.float64)
        dist.broadcast(shared, src=0)
        return shared.item()

    def gather_objects(self, value: T) -> list[T]:
        """The `value` of every process, by rank, on every process."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def run_on_main(self, work: Callable[[], T]) -> T:
        """What `work` returns in the main process (rank 0), on every process; the others wait for it.

        A UserError that it raises is raised on every process, so that none waits for ever.
        """
        made: Any = None
        if self.is_main:
            try:
                made = work()
            except UserError as error:
                made = error
        made = self.gather_objects(made)[0]
        if isinstance(made, UserError):
            raise made
        return made

    def close(self) -> None:
        """Ends the connection; a process that leaves without it makes torch complain."""
        if self.size > 1:
            import torch.distributed as dist

            dist.destroy_process_group()

    def _reduce(self, tensor: Tensor, operation: Literal["SUM", "MAX"]) -> Tensor:
        if self.size == 1:
            return tensor
        import torch.distributed as dist

        result = tensor.detach().clone()
        dist.all_reduce(result, op=getattr(dist.ReduceOp, operation))
        return result


ALONE = World(0, 1, torch.device("cpu"))
"""A run of one process."""


def is_lost_connection(error: RuntimeError) -> bool:
    """Whether a collective failed because another process of the run has ended."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or any(name in str(error) for name in ("gloo", "NCCL"))


def connect(name: DeviceName) -> World:
    """Joins the processes that torchrun started, or makes a world of one."""
    device = resolve_device(name)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(0, 1, device)
    if "RANK" not in os.environ or "LOCAL_RANK" not in os.environ:
        raise UserError(f"WORLD_SIZE is {size}, but RANK and LOCAL_RANK are not set: start the processes with torchrun")
    import torch.distributed as dist

    if "TORCHELASTIC_RUN_ID" in os.environ:
        die_with_parent(os.getppid())
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    match device.type:
        case "cuda":
            if local_size > torch.cuda.device_count():
                raise UserError(
                    f"{local_size} processes on a machine with {torch.cuda.device_count()} GPUs: "
                    "start torchrun with one process per GPU"
                )
            device = torch.device("cuda", local_rank)
            torch.cuda.set_device(device)
            dist.init_process_group("cpu:gloo,cuda:nccl")
        case "cpu":
            dist.init_process_group("gloo")
        case other:
            raise UserError(f"several processes cannot share the device {other}: use --device cpu or one process")
    return World(rank, size, device, local_size)
