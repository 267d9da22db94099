"""Affine couplings between neighboring scales of features, with their exact log-determinants."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from fastflow_lite.errors import check_number, check_whole
from fastflow_lite.flows.steps import conv_subnet
from fastflow_lite.flows.transforms import scale_and_shift

HIDDEN = 128  # channels between the two 1x1 convolutions


class ScaleCoupling(nn.Module):
    """Scale and shift the features of one scale by functions of the next coarser one: `z = x * exp(s(c)) + t(c)`.

    The coarser features `c` stay as they are, so the Jacobian of both maps is triangular and its log-determinant is the
    sum of `s`. With one such coupling for each neighboring pair, features of all scales have the exact density
    p(coarsest) * ... * p(finer | coarser), where flows of single scales treat them as independent. What the coarser
    scale predicts is then no information of the finer one.

    `s` and `t` are computed by 1x1 convolutions on the coarser map, then up-sampled bilinearly, so maps may have any
    size. `s` is bounded by `clamp`. A new coupling is the identity.

    >>> import torch
    >>> coupling = ScaleCoupling(channels=2, coarser=3)
    >>> z, log_det = coupling(torch.ones(1, 2, 4, 4), torch.randn(1, 3, 2, 2))
    >>> z.shape, log_det.shape
    (torch.Size([1, 2, 4, 4]), torch.Size([1, 4, 4]))
    """

    def __init__(self, channels: int, coarser: int, hidden: int = HIDDEN, clamp: float = 2.0) -> None:
        super().__init__()
        check_whole("channels", channels, 1)
        self.clamp = check_number("clamp", clamp, above=0)
        self.subnet = conv_subnet(1, hidden)(check_whole("coarser", coarser, 1), 2 * channels)

    def forward(self, x: Tensor, coarser: Tensor) -> tuple[Tensor, Tensor]:
        """Return `z` `(B, C, H, W)` and the log-determinant `(B, H, W)`; `coarser` has the shape `(B, C', h, w)`."""
        s, t = self.scale_and_shift(coarser, x.shape[-2:])
        return x * s.exp() + t, s.sum(dim=1)

    def inverse(self, z: Tensor, coarser: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x` and the log-determinant of the inverse."""
        s, t = self.scale_and_shift(coarser, z.shape[-2:])
        return (z - t) * (-s).exp(), -s.sum(dim=1)

    def scale_and_shift(self, coarser: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return `s` and `t` `(B, C, *size)`, each computed on the coarser map."""
        both = F.interpolate(self.subnet(coarser), tuple(size), mode="bilinear", align_corners=False)
        return scale_and_shift(both, self.clamp)


class ScaleCouplings(nn.ModuleList):
    """A `ScaleCoupling` for each neighboring pair of `channels`, finest first. Without any it changes nothing."""

    def __init__(self, channels: Sequence[int], clamp: float = 2.0) -> None:
        super().__init__(ScaleCoupling(finer, coarser, clamp=clamp) for finer, coarser in pairwise(channels))

    def forward(self, maps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor | float]]:
        """Return the maps of all scales, each with its log-determinant; that of an unchanged map is 0."""
        changed = [coupling(x, maps[scale + 1]) for scale, (coupling, x) in enumerate(zip(self, maps, strict=False))]
        return [*changed, *((x, 0.0) for x in maps[len(changed) :])]
