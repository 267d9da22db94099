"""Several processes that train one model: each takes its part of every batch, and the gradients are summed.

`torchrun` starts them. The gradients are summed by one all-reduce a step. DistributedDataParallel would overlap part
of that with the backward pass, but it averages over processes, not over images, and needs a gradient from each; here
parts differ in size and may be empty.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fastflow_lite.errors import ArgumentError, FastFlowError
from fastflow_lite.machine import choose_device

T = TypeVar("T")
BACKENDS = {"cpu": "gloo", "cuda": "nccl", "xpu": "xccl"}  # how torch's processes communicate on each device


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from the process `rank`. With one process every method is a no-op.

    Every method but `part` must be called by all ranks in the same order. FastFlowError when one is lost.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that reports and writes files."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return this rank's part of `count` images: consecutive ones, equal shares to within one image, perhaps none.

        >>> [list(range(5))[ProcessGroup(rank, 3).part(5)] for rank in range(3)]
        [[0], [1, 2], [3, 4]]
        """
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def sum_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Replace each gradient by its sum over all ranks (a missing one counts as zero); return the sum of `loss`.

        The sums are bit for bit the same on all ranks, so the weights stay equal after a step of the optimizer.
        """
        if self.size == 1:
            return loss
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        everything = torch.cat([loss.view(1), *(gradient.flatten() for gradient in gradients)])
        _collective(dist.all_reduce, everything)
        total, *sums = everything.split([1, *(p.numel() for p in parameters)])
        for parameter, gradient in zip(parameters, sums, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return total[0]

    def broadcast_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors of all ranks by those of rank 0."""
        if self.size > 1:
            for tensor in tensors:
                _collective(dist.broadcast, tensor, 0)

    def broadcast_object(self, make: Callable[[], T]) -> T:
        """Call `make` on rank 0 and return its result on all ranks; tensors in it must be on the CPU."""
        box: list[Any] = [make() if self.is_first else None]
        if self.size > 1:
            _collective(dist.broadcast_object_list, box, 0)
        return box[0]

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Run the block on rank 0, then on all others, which find there what it drew or downloaded."""
        if not self.is_first:
            self.broadcast_object(lambda: None)
        yield
        if self.is_first:
            self.broadcast_object(lambda: None)


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def join(device: str = "auto") -> Iterator[ProcessGroup]:
    """Connect the processes that torchrun started for this command; without torchrun, give `SINGLE_PROCESS`.

    Tensors on `local_device(device)` can be sent: by NCCL on GPUs, by gloo on the CPU. An exception inside the block
    ends its process at once, with the message and exit status 1, and torchrun then ends the others.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield SINGLE_PROCESS
        return
    group = ProcessGroup(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    try:
        _connect(local_device(device))
        yield group
        dist.destroy_process_group()
    except BaseException as error:
        _end(group, error)


def local_device(name: str = "auto") -> torch.device:
    """Return the device `name` for this process: under torchrun, the GPU of its local rank, or the CPU without GPUs.

    Raises:
        ArgumentError: There is no such device here, or several processes cannot use it.
        FastFlowError: There are more processes than GPUs.
    """
    device = choose_device(name)
    rank = os.environ.get("LOCAL_RANK")
    if rank is None:
        return device
    if name == "auto" and device.type not in BACKENDS:
        return torch.device("cpu")
    if device.type not in BACKENDS or device.index is not None:
        raise ArgumentError(f"torchrun's processes take one of {', '.join(map(repr, BACKENDS))}, got device {name!r}")
    if device.type == "cpu":
        return device
    count = getattr(torch, device.type).device_count()
    if int(rank) >= count:
        raise FastFlowError(
            f"there are {count} GPUs and each takes one process: lower --nproc-per-node, or train with --device cpu"
        )
    return torch.device(device.type, int(rank))


def _connect(device: torch.device) -> None:
    if device.type == "cpu":
        dist.init_process_group("gloo")
    else:
        getattr(torch, device.type).set_device(device)  # the backend puts there what is sent
        dist.init_process_group(BACKENDS[device.type], device_id=device)


def _collective(operation: Callable[..., object], *args: object) -> None:
    try:
        operation(*args)
    except RuntimeError as error:
        raise FastFlowError(
            f"another process ended or does not answer; its own message has the reason ({str(error).splitlines()[0]})"
        ) from error


def _end(group: ProcessGroup, error: BaseException) -> None:
    """Print the error and exit at once: an orderly exit could wait for processes that wait for this one."""
    text = str(error) if isinstance(error, FastFlowError) else "".join(traceback.format_exception(error))
    text = "interrupted" if isinstance(error, KeyboardInterrupt) else text
    print(f"rank {group.rank} of {group.size}: {text}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
