"""The optimizer and the schedule of the learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR

from fastflow_lite.training.settings import Settings


def adam(
    parameters: Iterable[Tensor], lr: float, weight_decay: float = Settings.weight_decay, **options: Any
) -> torch.optim.Adam:
    """Make Adam, in one pass over the weights where torch can: faster, and the same to rounding."""
    parameters = list(parameters)
    one_pass = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.Adam(parameters, lr, weight_decay=weight_decay, fused=one_pass, **options)


def state_after_a_step(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return `optimizer.state_dict()` as it is after the first step of `adam`, with tensors of the same shapes."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = [{"step": torch.zeros(()), "exp_avg": p, "exp_avg_sq": p} for p in parameters]
    return optimizer.state_dict() | {"state": dict(enumerate(moments))}


def one_cycle(optimizer: torch.optim.Optimizer, lr: float, steps: int, **options: Any) -> OneCycleLR:
    """Make the one-cycle schedule (arXiv 1708.07120): up to `lr`, then down to nearly zero after `steps` steps."""
    return OneCycleLR(optimizer, lr, total_steps=max(2, steps), **options)


def constant(optimizer: torch.optim.Optimizer) -> LRScheduler:
    """Make the schedule that leaves the learning rate as it is."""
    return ConstantLR(optimizer, 1.0)
