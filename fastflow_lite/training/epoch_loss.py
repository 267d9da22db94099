"""The mean loss of an epoch, and the check that it stays finite."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from fastflow_lite.errors import DivergedError

ADVICE = "Lower lr or clamp, or normalize='layer'"


class EpochLoss(Protocol):
    """Losses of the steps of an epoch, in nats per dimension; a loss that is not finite changes no weight."""

    def add(self, loss: Tensor, count: int) -> None:
        """Add the mean `loss` of `count` images; called before the optimizer's step."""

    def mean(self) -> float:
        """Return the mean over all images so far. DivergedError if a loss was not finite."""

    def first(self) -> float:
        """Return the loss of the first step."""


def epoch_loss(optimizer: torch.optim.Optimizer, device: torch.device) -> EpochLoss:
    """Return what sums the losses of an epoch on `device`, without waiting for it where it is a CUDA device."""
    return DeferredEpochLoss(optimizer, device) if device.type == "cuda" else CheckedEpochLoss()


class CheckedEpochLoss:
    """Reads each loss when it is added, and raises DivergedError then."""

    def __init__(self) -> None:
        self.total, self.seen = 0.0, 0
        self.start: float | None = None

    def add(self, loss: Tensor, count: int) -> None:
        """Add the mean `loss` of `count` images. DivergedError if it is not finite."""
        value = _finite(loss.item())
        self.start = value if self.start is None else self.start
        self.total += value * count
        self.seen += count

    def mean(self) -> float:
        """Return the mean over all images so far."""
        return self.total / self.seen

    def first(self) -> float:
        """Return the loss of the first step."""
        assert self.start is not None, "no step was added"
        return self.start


class DeferredEpochLoss:
    """Sums the losses on the device, so that the processor need not wait for a step; `mean` reads the sum.

    After a loss that is not finite the optimizer, a fused one, changes no weight and no moment any more.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self.optimizer, self.seen = optimizer, 0
        self.start: Tensor | None = None
        self.total = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, loss: Tensor, count: int) -> None:
        """Add the mean `loss` of `count` images."""
        self.start = loss.detach().clone() if self.start is None else self.start
        self.total += loss.double() * count
        self.seen += count
        # Torch's gradient scaler sets the same attribute. A fused optimizer makes no step on the device where it is 1.
        self.optimizer.found_inf = (~torch.isfinite(self.total)).float()  # type: ignore[attr-defined]

    def mean(self) -> float:
        """Return the mean over all images so far. DivergedError if a loss was not finite."""
        return _finite(self.total.item()) / self.seen

    def first(self) -> float:
        """Return the loss of the first step."""
        assert self.start is not None, "no step was added"
        return self.start.item()


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise DivergedError(f"the loss is {loss}: the training diverged. {ADVICE}")
    return loss
