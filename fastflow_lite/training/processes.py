"""Several processes that train one model: each takes its part of every batch, the gradients add up.

`torchrun` starts them. The gradients are summed by one all-reduce a step. DistributedDataParallel would hide part of
that behind the backward pass, but it averages over processes, not over images, and wants a gradient from each; here
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

from fastflow_lite.errors import FastFlowError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes that train together, seen from the one of number `rank`. Alone, nothing here does anything.

    Every method but `part` must be called by all ranks in the same order. FastFlowError when one is lost.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that reports and writes files."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This rank's part of `count` images: neighbors, as many as the others have or one more; perhaps none.

        >>> [list(range(5))[World(rank, 3).part(5)] for rank in range(3)]
        [[0], [1, 2], [3, 4]]
        """
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def sum_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Give each parameter the sum of its gradients over all ranks (none counts as zero); the sum of `loss`.

        Bit for bit the same on all ranks, so what is equal before a step of the optimizer is equal after it.
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

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors of all ranks by those of rank 0."""
        if self.size > 1:
            for tensor in tensors:
                _collective(dist.broadcast, tensor, 0)

    def ask_first(self, answer: Callable[[], T]) -> T:
        """What `answer` returns on rank 0, on all ranks; tensors in it belong on the CPU."""
        told: list[Any] = [answer() if self.is_first else None]
        if self.size > 1:
            _collective(dist.broadcast_object_list, told, 0)
        return told[0]

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The block on rank 0, then on all others: what it draws or downloads on first use is there for them."""
        if not self.is_first:
            self.ask_first(lambda: None)
        yield
        if self.is_first:
            self.ask_first(lambda: None)


ALONE = World()


@contextmanager
def join() -> Iterator[World]:
    """The processes that torchrun started for this command, or this one alone.

    They talk through NCCL where there are GPUs, else through gloo. What a process raises inside the block ends it at
    once, with the message and exit status 1, and torchrun then ends the others.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield ALONE
        return
    world = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    try:
        _connect(local_device())
        yield world
        dist.destroy_process_group()
    except BaseException as error:
        _end(world, error)


def local_device() -> torch.device:
    """The GPU of this process, that of torchrun's local rank; the CPU where there are none.

    FastFlowError for more processes than GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= torch.cuda.device_count():
        raise FastFlowError(
            f"there are {torch.cuda.device_count()} GPUs and each takes one process: lower --nproc-per-node, or "
            "train on the CPU with CUDA_VISIBLE_DEVICES=''"
        )
    return torch.device("cuda", number)


def _connect(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where NCCL puts what is sent
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")


def _collective(operation: Callable[..., object], *args: object) -> None:
    try:
        operation(*args)
    except RuntimeError as error:
        raise FastFlowError(
            f"another process ended or does not answer; what it said tells why ({str(error).splitlines()[0]})"
        ) from error


def _end(world: World, error: BaseException) -> None:
    """Say why and leave. At once: leaving in order could wait for processes that wait for this one."""
    text = str(error) if isinstance(error, FastFlowError) else "".join(traceback.format_exception(error))
    print(f"rank {world.rank} of {world.size}: {text}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
