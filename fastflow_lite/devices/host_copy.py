"""Copies of a device's results to the host, for which the host waits later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class HostCopy:
    """A copy of `tensors` on the host. From a CUDA device it is made while the device and the host go on."""

    def __init__(self, tensors: Sequence[Tensor], device: torch.device) -> None:
        # Only CUDA: elsewhere torch may hand out a copy that does not wait before it is complete.
        in_background = device.type == "cuda"
        self.tensors = [x.to("cpu", non_blocking=in_background) for x in tensors]
        self.complete = torch.cuda.Event() if in_background else None
        if self.complete:
            self.complete.record(torch.cuda.current_stream(device))

    def wait(self) -> list[np.ndarray]:
        """Wait until the copy is complete; return it."""
        if self.complete:
            self.complete.synchronize()
        return [x.numpy() for x in self.tensors]
