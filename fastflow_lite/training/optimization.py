"""The optimizer and the schedule of the learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR

from fastflow_lite.training.settings import Settings

DEFAULT_LR = 3e-3  # of a flow of up to 8 steps: the paper's depth on ResNets
DEPTH = 8


def learning_rate(settings: Settings, steps: int) -> float:
    """Return the learning rate of `settings`; where that is None, the default for a flow of `steps` steps.

    The default falls with the square of the depth above 8 steps. Each step may multiply its input by up to
    exp(clamp), so what a change of an early step's weights does grows with every step behind it. With
    20 steps, 3e-3 diverged on features of ResNet-18 and of DeiT (`benchmarks/rates.py`).

    >>> [learning_rate(Settings(), steps) for steps in (4, 8, 16)], learning_rate(Settings(lr=1e-3), 16)
    ([0.003, 0.003, 0.00075], 0.001)
    """
    return settings.lr or DEFAULT_LR * min(1.0, DEPTH / steps) ** 2


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of steps of one pass over `images` images; the last batch may be smaller."""
    return -(-images // batch_size)


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


def halve_rates(optimizer: torch.optim.Optimizer) -> None:
    """Halve the learning rate of `optimizer`, and all rates that its schedule goes through."""
    for group in optimizer.param_groups:
        for name in {"lr", "initial_lr", "max_lr", "min_lr"} & set(group):
            group[name] *= 0.5


def constant(optimizer: torch.optim.Optimizer) -> LRScheduler:
    """Make the schedule that leaves the learning rate as it is."""
    return ConstantLR(optimizer, 1.0)
