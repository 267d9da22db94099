"""Where cached features are kept: on the device while they fit, else on the host, else in mapped files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

GIBIBYTE = 1024**3
CUDA_SHARE = 0.4  # of a card's free memory; activations and gradients of the flows need the rest
PLAIN_DEVICE_BUDGET = 2 * GIBIBYTE  # on XPU and MPS, where torch cannot always tell how much is free
HOST_BUDGET = 4 * GIBIBYTE

Place = Literal["device", "host", "file"]


class FeatureStorage(Protocol):
    """Float16 maps of a number of images, channels last: one tensor `(N, h, w, C)` per scale."""

    maps: list[Tensor]

    def write(self, start: int, maps: Sequence[Tensor]) -> None:
        """Store maps `(B, h, w, C)` of consecutive images from index `start` on."""

    def read(self, indices: Sequence[int]) -> list[Tensor]:
        """Return the maps `(B, h, w, C)` of the images at `indices`, float16, on the device."""


def choose_place(size: int, free: int, device_type: str, host_budget: int = HOST_BUDGET) -> Place:
    """Return where `size` bytes of features are kept, for a device with `free` bytes of memory.

    >>> choose_place(3 * GIBIBYTE, 10 * GIBIBYTE, "cuda"), choose_place(3 * GIBIBYTE, 0, "cpu")
    ('device', 'host')
    """
    budgets = {"cuda": int(CUDA_SHARE * free), "xpu": PLAIN_DEVICE_BUDGET, "mps": PLAIN_DEVICE_BUDGET}
    if size <= budgets.get(device_type, -1):
        return "device"
    return "host" if size <= host_budget else "file"


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a CUDA device; 0 for others."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def make_storage(place: Place, shapes: Sequence[tuple[int, ...]], device: torch.device) -> FeatureStorage:
    """Make the storage at `place` of maps of `shapes`, one `(N, h, w, C)` per scale, to be read on `device`."""
    # Outside inference mode: tensors that are made in it cannot be written to later.
    with torch.inference_mode(False):
        if place == "device":
            return DeviceStorage([torch.empty(shape, dtype=torch.float16, device=device) for shape in shapes])
        allocate = _map_file if place == "file" else _allocate
        storage = StagedHostStorage if device.type == "cuda" else HostStorage
        return storage([allocate(shape) for shape in shapes], device)


class DeviceStorage:
    """Features on the device itself: a batch is one gather, without a copy from the host."""

    def __init__(self, maps: list[Tensor]) -> None:
        self.maps = maps

    def write(self, start: int, maps: Sequence[Tensor]) -> None:
        """Store maps of consecutive images from index `start` on."""
        _write(self.maps, start, maps)

    def read(self, indices: Sequence[int]) -> list[Tensor]:
        """Return the maps of the images at `indices`."""
        device = self.maps[0].device
        # From pinned memory a CUDA device copies the indices while the processor goes on. Elsewhere the processor waits
        # for the copy, since the memory that is copied is free after this line.
        pin = device.type == "cuda"
        chosen = torch.tensor(indices, dtype=torch.long, pin_memory=pin).to(device, non_blocking=pin)
        return [kept.index_select(0, chosen) for kept in self.maps]


class HostStorage:
    """Features in the host's memory or in a mapped file."""

    def __init__(self, maps: list[Tensor], device: torch.device) -> None:
        self.maps, self.device = maps, device

    def write(self, start: int, maps: Sequence[Tensor]) -> None:
        """Store maps of consecutive images from index `start` on."""
        _write(self.maps, start, maps)

    def read(self, indices: Sequence[int]) -> list[Tensor]:
        """Return the maps of the images at `indices`, copied to the device."""
        chosen = torch.tensor(indices, dtype=torch.long)
        return [kept.index_select(0, chosen).to(self.device) for kept in self.maps]


class StagedHostStorage(HostStorage):
    """Features on the host of a CUDA device, copied by a stream of their own while the device computes.

    A batch is gathered into pinned memory first: a copy from other memory would make the processor wait. The processor
    does not wait for a training step, so it gathers and copies the next batch while the device computes this one.
    """

    def __init__(self, maps: list[Tensor], device: torch.device) -> None:
        super().__init__(maps, device)
        self.copies = torch.cuda.Stream(device)

    def read(self, indices: Sequence[int]) -> list[Tensor]:
        """Return the maps of the images at `indices`; what the current stream does with them waits for the copy."""
        chosen, current = torch.tensor(indices, dtype=torch.long), torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.copies):
            found = [self._stage(kept, chosen).to(self.device, non_blocking=True) for kept in self.maps]
        current.wait_stream(self.copies)
        for x in found:
            x.record_stream(current)  # its memory is not used anew before the current stream has read it
        return found

    @staticmethod
    def _stage(kept: Tensor, chosen: Tensor) -> Tensor:
        staged = torch.empty(len(chosen), *kept.shape[1:], dtype=kept.dtype, pin_memory=True)
        return torch.index_select(kept, 0, chosen, out=staged)


def _write(kept_maps: list[Tensor], start: int, maps: Sequence[Tensor]) -> None:
    for kept, new in zip(kept_maps, maps, strict=True):
        kept[start : start + len(new)] = new


def _allocate(shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=torch.float16)


def _map_file(shape: tuple[int, ...]) -> Tensor:
    """Allocate a file in the temporary folder and map it into memory; it is gone when the tensor is."""
    size = 2 * int(np.prod(shape))
    with tempfile.TemporaryFile() as file:  # the mapping keeps the nameless file
        if hasattr(os, "posix_fallocate"):  # a full disk would kill the process when it writes into a mapped hole
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                text = f"no room for {size / GIBIBYTE:.3f} GiB of features: {error.strerror}; set another TMPDIR"
                raise OSError(error.errno, text, tempfile.gettempdir()) from error
        return torch.from_numpy(np.memmap(file, np.float16, "w+", shape=shape))
