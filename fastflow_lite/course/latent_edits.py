"""Change a latent in one place, invert the flow, and see where the features changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.model import FastFlow


@dataclass(frozen=True)
class Edit:
    """What `edit` did on one scale: latents and features before and after, all `(B, C, H, W)`; region `(H, W)`."""

    region: Tensor
    z: Tensor
    painted: Tensor
    before: Tensor
    after: Tensor

    @property
    def change(self) -> Tensor:
        """Energy of the change of the features by position, `(B, H, W)`: its squares, summed over channels."""
        return (self.after - self.before).square().sum(dim=1)


def box(size: Sequence[int], top: int, left: int, height: int, width: int) -> Tensor:
    """A region: a bool mask of `size` (H, W), true in a rectangle; what lies outside the map is cut off.

    >>> box((3, 4), top=1, left=2, height=2, width=2).int().tolist()
    [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    """
    region = torch.zeros(tuple(size), dtype=torch.bool)
    region[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
    return region


def paint(z: Tensor, region: Tensor, strength: float = 3.0, seed: int = 0) -> Tensor:
    """`z` `(B, C, H, W)` with white noise of deviation `strength` added where the mask `region` `(H, W)` is true.

    The noise is drawn for the whole map, so a position meets the same noise whatever the region. Raises
    ValueError when the region does not fit.
    """
    if region.shape != z.shape[-2:]:
        raise ValueError(f"region is {tuple(region.shape)}, but z has maps of {tuple(z.shape[-2:])}")
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=z.dtype).to(z.device)
    return torch.where(region.to(z.device).bool(), z + strength * noise, z)


@torch.no_grad()
def edit(
    model: FastFlow, features: Sequence[Tensor], scale: int, region: Tensor, strength: float = 3.0, seed: int = 0
) -> Edit:
    """Paint noise into `region` of one scale's latents and invert the flow back to features.

    `features` are what `model.features(images)` returns, a map `(B, C, H, W)` for each scale; `scale` indexes it.
    The model is left in the mode it was in.
    """
    flow, before = model.flows[scale], features[scale]
    was_training = flow.training
    flow.eval()
    try:
        z, _ = flow(before)
        painted = paint(z, region, strength, seed)
        after, _ = flow.inverse(painted)
    finally:
        flow.train(was_training)
    return Edit(region, z, painted, before, after)


def reach(flow: nn.Module) -> int:
    """How many positions a change can travel through `flow` or its inverse: half a kernel for each convolution.

    >>> from fastflow_lite.flows.steps import flow_steps
    >>> [reach(flow_steps(4, steps, kernels=(3, 1))) for steps in (1, 2, 3, 8)]
    [2, 2, 4, 8]
    """
    return sum(max(part.kernel_size) // 2 for part in flow.modules() if isinstance(part, nn.Conv2d))


def grow(region: Tensor, by: int) -> Tensor:
    """The mask `region` `(H, W)` and every position at most `by` rows and columns from it.

    >>> grow(torch.tensor([[True, False, False]]), 1).tolist()
    [[True, True, False]]
    """
    wide = F.max_pool2d(region[None, None].float(), 2 * by + 1, stride=1, padding=by)
    return wide[0, 0] > 0


def share_inside(change: Tensor, region: Tensor) -> float:
    """The share of a non-negative map `(B, H, W)` or `(H, W)` that lies in the mask `region` `(H, W)`."""
    return float(change[..., region].sum() / change.sum())
