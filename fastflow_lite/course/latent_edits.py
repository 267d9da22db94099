"""Edits of latents: add noise in one region, invert the flow, and measure where the features change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fastflow_lite.errors import ArgumentError
from fastflow_lite.model import FastFlow


@dataclass(frozen=True)
class Edit:
    """The result of `edit` on one scale: latents and features before and after, all `(B, C, H, W)`; region `(H, W)`."""

    region: Tensor
    z: Tensor
    painted: Tensor
    before: Tensor
    after: Tensor

    @property
    def change(self) -> Tensor:
        """The squared change of the features at each position, summed over channels, `(B, H, W)`."""
        return (self.after - self.before).square().sum(dim=1)


def rectangle(size: Sequence[int], top: int, left: int, height: int, width: int) -> Tensor:
    """Return a bool mask of `size` (H, W), true in a rectangle; the part outside the map is cut off.

    >>> rectangle((3, 4), top=1, left=2, height=2, width=2).int().tolist()
    [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    """
    region = torch.zeros(tuple(size), dtype=torch.bool)
    region[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
    return region


def add_noise(z: Tensor, region: Tensor, strength: float = 3.0, seed: int = 0) -> Tensor:
    """Return `z` `(B, C, H, W)` plus white noise of deviation `strength` where the mask `region` `(H, W)` is true.

    The noise is drawn for the whole map, so that the noise at a position does not depend on the region. Raises
    ArgumentError if the sizes of region and `z` differ.
    """
    if region.shape != z.shape[-2:]:
        raise ArgumentError(f"region is {tuple(region.shape)}, but z has maps of {tuple(z.shape[-2:])}")
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=z.dtype).to(z.device)
    return torch.where(region.to(z.device).bool(), z + strength * noise, z)


@torch.no_grad()
def edit(
    model: FastFlow, features: Sequence[Tensor], scale: int, region: Tensor, strength: float = 3.0, seed: int = 0
) -> Edit:
    """Add noise to `region` of the latents of one scale and invert the flow back to features.

    `features` is the result of `model.features(images)`, a map `(B, C, H, W)` for each scale; `scale` is an index.
    The mode of the flow, train or eval, is restored.
    """
    flow, (before, *given) = model.flows[scale], model.flow_inputs(features)[scale]
    invert: Callable[..., tuple[Tensor, Tensor]] = flow.inverse
    was_training = flow.training
    flow.eval()
    try:
        z, _ = flow(before, *given)
        painted = add_noise(z, region, strength, seed)
        after, _ = invert(painted, *given)
    finally:
        flow.train(was_training)
    return Edit(region, z, painted, before, after)


def receptive_radius(flow: nn.Module) -> int:
    """Return the radius of the receptive field of `flow` or its inverse, in positions: half a kernel per convolution.

    >>> from fastflow_lite.flows.steps import flow_steps
    >>> [receptive_radius(flow_steps(4, steps, kernels=(3, 1))) for steps in (1, 2, 3, 8)]
    [2, 2, 4, 8]
    """
    return sum(max(part.kernel_size) // 2 for part in flow.modules() if isinstance(part, nn.Conv2d))


def dilate(region: Tensor, by: int) -> Tensor:
    """Return the mask `region` `(H, W)` with every position at most `by` rows and columns from it.

    >>> dilate(torch.tensor([[True, False, False]]), 1).tolist()
    [[True, True, False]]
    """
    from scipy.ndimage import binary_dilation

    side = 2 * by + 1
    return torch.from_numpy(binary_dilation(region.cpu().numpy(), np.ones((side, side)))).to(region.device)


def share_inside(change: Tensor, region: Tensor) -> float:
    """Return the share of a non-negative map `(B, H, W)` or `(H, W)` that lies in the mask `region` `(H, W)`."""
    return float(change[..., region].sum() / change.sum())
