"""What the tests of the fast path share: flows as after training."""

import pytest
import torch
from flows.registry import MakeFlow
from torch import Tensor

from fastflow_lite.flows import flow_steps
from fastflow_lite.flows.transforms import Sequential


@pytest.fixture
def a_flow(device: torch.device) -> MakeFlow:
    """Make flows and their inputs on the device of the tests."""

    def made(channels: int, kernels: tuple[int, ...], dtype: torch.dtype, steps: int = 3) -> tuple[Sequential, Tensor]:
        flow, x = on_the_processor(channels, kernels, dtype, steps)
        return flow.to(device), x.to(device)

    return made


def on_the_processor(
    channels: int, kernels: tuple[int, ...], dtype: torch.dtype, steps: int
) -> tuple[Sequential, Tensor]:
    """Make a flow with weights as after training, and maps whose sides are no multiples of a tile."""
    torch.manual_seed(0)
    flow, x = (
        flow_steps(channels, steps, kernels, hidden=channels).to(dtype),
        torch.randn(2, channels, 6, 9, dtype=dtype),
    )
    flow.train()(x)
    with torch.no_grad():
        for parameter in flow.parameters():
            spread = 0.3 / parameter[0].numel() ** 0.5  # by what one output adds up
            parameter.add_(spread * torch.randn_like(parameter))
    return flow, x
