"""The flow of one scale given the features of the next coarser scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.errors import ArgumentError, check_whole
from fastflow_lite.flows.steps import ConvSubNet
from fastflow_lite.flows.transforms import Coupling, Sequential


class ConditionalFlow(nn.Module):
    """A flow whose couplings have the features `c` of the next coarser scale as a further input.

    The sub-net of coupling k computes `hidden = relu(conv(x_a) + E_k)`. `E_k` is a 1x1 convolution of `c`, up-sampled
    bilinearly to the size of `x`, so maps may have any size. The Jacobian of `z` with respect to `x` is that of the
    flow. With respect to the maps of both scales it is triangular by blocks, so their log-determinants are added.
    Features of all scales then have the exact density p(coarsest) * ... * p(finer | coarser), where flows of single
    scales treat them as independent. What the coarser scale predicts is then no information of the finer one.

    Args:
        flow: A flow with at least one coupling, as `flow_steps` builds it; else ArgumentError.
        coarser: Channels of `c`.

    >>> import torch
    >>> from fastflow_lite.flows import flow_steps
    >>> flow = ConditionalFlow(flow_steps(channels=4, steps=2), coarser=3)
    >>> z, log_det = flow(torch.randn(1, 4, 6, 6), torch.randn(1, 3, 3, 3))
    >>> z.shape, log_det.shape
    (torch.Size([1, 4, 6, 6]), torch.Size([1, 6, 6]))
    """

    def __init__(self, flow: Sequential, coarser: int) -> None:
        super().__init__()
        subnets = [transform.subnet for transform in flow.transforms if isinstance(transform, Coupling)]
        if not subnets or not all(isinstance(subnet, ConvSubNet) for subnet in subnets):
            raise ArgumentError("a conditional flow needs couplings whose sub-nets are those of conv_subnet")
        self.flow = flow
        self.widths = [cast("nn.Conv2d", subnet[0]).out_channels for subnet in cast("list[ConvSubNet]", subnets)]
        self.condition = nn.Conv2d(check_whole("coarser", coarser, 1), sum(self.widths), 1, bias=False)

    def forward(self, x: Tensor, coarser: Tensor) -> tuple[Tensor, Tensor]:
        """Return `z` `(B, C, H, W)` and the log-determinant `(B, H, W)`; `coarser` has the shape `(B, C', h, w)`."""
        return self.flow(x, *self.conditions(coarser, x.shape[-2:]))

    def inverse(self, z: Tensor, coarser: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x` and the log-determinant of the inverse."""
        return self.flow.inverse(z, *self.conditions(coarser, z.shape[-2:]))

    def conditions(self, coarser: Tensor, size: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return `E_k` `(B, hidden, *size)` of each coupling: one convolution at the coarser size for all of them."""
        maps = F.interpolate(self.condition(coarser), tuple(size), mode="bilinear", align_corners=False)
        return maps.split(self.widths, dim=1)


def coupled(flows: Sequence[Sequential], channels: Sequence[int]) -> list[Sequential | ConditionalFlow]:
    """Return the flows of all scales, finest first, each but the last one given the features of the next scale.

    `channels` are those of the features of each scale.
    """
    finer = [ConditionalFlow(flow, coarser) for flow, coarser in zip(flows[:-1], channels[1:], strict=True)]
    return [*finer, flows[-1]]
