"""A flow of one scale with levers that the library did not have: what `levers.py` trains. It has the last one since.

Plain torch without the fast path, so that a lever is a line. The log-scales are bounded by an arctangent, where the
library has a tanh, in "nothing" too: so a lever is compared with "nothing", and not with the trained model. Every
log-determinant is counted: tests/benchmarks/test_levers.py compares each lever's with that of the Jacobian matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.flows.positions import resample
from fastflow_lite.flows.steps import ConvSubNet
from fastflow_lite.flows.transforms import ActNorm, Permute

Padding = Literal["zeros", "reflect"]
GRID = 16  # cells a side of an ActNorm for each position: those of the coarsest map at 256 pixels


@dataclass(frozen=True)
class Lever:
    """One change to the flow of a scale.

    Attributes:
        codes: Octaves of sines and cosines of the position that the sub-nets have as further inputs; 0 for none.
        by_position: Whether the flow begins with an ActNorm of a scale and a shift for each cell of a `GRID`.
        padding: "zeros" or "reflect", of the sub-nets' convolutions.
        last_act_norm: Whether an ActNorm follows the last coupling.
        next_scale: Whether the sub-nets have the features of the next coarser scale as further inputs: the density of
            this scale given that one, so that both together are an exact density of both maps.
        standardize: Whether `StandardizePositions` of the trained model comes first.
    """

    codes: int = 0
    by_position: bool = False
    padding: Padding = "zeros"
    last_act_norm: bool = False
    next_scale: bool = False
    standardize: bool = True


LEVERS = {
    "nothing": Lever(),
    "position codes as a condition": Lever(codes=3),
    "codes, features not standardized by position": Lever(codes=3, standardize=False),
    "an ActNorm for each position": Lever(by_position=True),
    "ActNorm for each position, features not standardized": Lever(by_position=True, standardize=False),
    "reflected padding": Lever(padding="reflect"),
    "a last ActNorm": Lever(last_act_norm=True),
    "given the next coarser scale": Lever(next_scale=True),
}


class LeverFlow(nn.Module):
    """`steps` times ActNorm, permutation and affine coupling over maps `(B, C, H, W)`, with one lever."""

    def __init__(self, channels: int, lever: Lever, condition: int = 0, steps: int = 8, clamp: float = 2.0) -> None:
        super().__init__()
        self.lever, self.clamp, self.passed = lever, clamp, channels - channels // 2
        hidden, changed = max(channels // 2, 64), channels // 2
        self.norms = nn.ModuleList(ActNorm(channels) for _ in range(steps))
        self.orders = nn.ModuleList(Permute.random(channels) for _ in range(steps))
        self.subnets = nn.ModuleList(
            ConvSubNet(self.passed, 2 * changed, (3, 1)[step % 2], hidden) for step in range(steps)
        )
        for module in self.subnets.modules():
            if isinstance(module, nn.Conv2d):
                module.padding_mode = lever.padding
        inputs = condition + 4 * lever.codes
        self.conditions = nn.ModuleList(nn.Conv2d(inputs, hidden, 1, bias=False) for _ in range(steps if inputs else 0))
        self.last = ActNorm(channels) if lever.last_act_norm else None
        cells = (1, channels, GRID, GRID) if lever.by_position else (0,)
        self.log_scale, self.shift = nn.Parameter(torch.zeros(cells)), nn.Parameter(torch.zeros(cells))

    def forward(self, x: Tensor, coarser: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and log_det `(B, H, W)`; `coarser` are the features of the next scale, for `next_scale`."""
        log_det = torch.zeros_like(x[:, 0])
        condition = self.condition(x, coarser)
        added = [of_step(condition) for of_step in self.conditions] or [None] * len(self.subnets)
        if self.lever.by_position:
            log_scale = resample(self.log_scale, x.shape[-2:])
            x = x * log_scale.exp() + resample(self.shift, x.shape[-2:])
            log_det = log_det + log_scale.sum(dim=1)
        for norm, order, subnet, of_condition in zip(self.norms, self.orders, self.subnets, added, strict=True):
            x, of_norm = norm(x)
            kept, moved = order(x)[0].split([self.passed, x.shape[1] - self.passed], dim=1)
            raw, shift = subnet(kept, of_condition).chunk(2, dim=1)
            log_scale = self.clamp * 2 / math.pi * torch.atan(raw / self.clamp)
            x = torch.cat([kept, moved * log_scale.exp() + shift], dim=1)
            log_det = log_det + of_norm + log_scale.sum(dim=1)
        if self.last is not None:
            x, of_norm = self.last(x)
            log_det = log_det + of_norm
        return x, log_det

    def condition(self, x: Tensor, coarser: Tensor | None) -> Tensor | None:
        """Return what the sub-nets have beside the features, `(B, channels, H, W)`, or None."""
        parts = []
        if self.lever.codes:
            parts.append(position_codes(x.shape[-2:], self.lever.codes).to(x).expand(len(x), -1, -1, -1))
        if self.lever.next_scale and coarser is not None:
            parts.append(F.interpolate(coarser, x.shape[-2:], mode="bilinear", align_corners=False))
        return torch.cat(parts, dim=1) if parts else None


def position_codes(size: torch.Size, octaves: int) -> Tensor:
    """Return sines and cosines of row and column in `octaves` frequencies, `(1, 4 * octaves, *size)`."""
    rows, columns = ((torch.arange(side) + 0.5) / side for side in size)
    grids = torch.meshgrid(rows, columns, indexing="ij")
    waves = [wave(2**k * math.pi * grid) for k in range(octaves) for wave in (torch.sin, torch.cos) for grid in grids]
    return torch.stack(waves)[None]
