"""Networks small enough for tests that make many models."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fastflow_lite import FastFlow


class Constant(nn.Module):
    """A backbone whose features are `level`, the image times `gain` added."""

    def __init__(self, level: float, gain: float) -> None:
        super().__init__()
        self.level, self.gain = level, gain

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.level + self.gain * nn.functional.avg_pool2d(x, 16).repeat(1, 2, 1, 1)]


def started(model: FastFlow, height: int = 64, width: int = 64) -> FastFlow:
    """Return `model` after one batch in training mode has set its ActNorms, as the first step of a training does."""
    with torch.no_grad():
        model.train()(torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(0)).to(model.device))
    return model


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the default values of the arguments of `function`: results depend on them, so they change on purpose."""
    parameters = inspect.signature(function).parameters
    return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
