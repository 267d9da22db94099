"""From latents to anomaly maps to one score an image. Higher is more anomalous, always."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Output = tuple[Tensor, Tensor]  # z (B, C, H, W) and log_det (B, H, W) of one scale
Typical = tuple[float, float]  # median energy and median log_det per dimension of one scale, on training images
SHARE = 0.25  # of the log-determinant that `tempered` keeps


def per_dimension(z: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
    """Energy mean z^2 / 2 and log_det, both per dimension, `(B, H, W)`: all that the maps below need."""
    return z.square().mean(dim=1) / 2, log_det / z.shape[1]


def energy(energy: Tensor, log_det: Tensor, typical: Typical) -> Tensor:
    """The part of the negative log-density that the base distribution sees."""
    return energy


def nll(energy: Tensor, log_det: Tensor, typical: Typical) -> Tensor:
    """Energy minus log_det: the negative log-likelihood's share of each position.

    In nats per dimension without the Gaussian's constant. Summed over positions it is exact; one position
    alone is a heuristic, since a convolution lets positions share what they know.
    """
    return energy - log_det


def prob(energy: Tensor, log_det: Tensor, typical: Typical) -> Tensor:
    """Minus exp(-energy), in (-1, 0): the map of most FastFlow implementations.

    Not a probability: it integrates to nothing in particular. The exponential bounds what one scale can
    say before scales are averaged.
    """
    return -torch.exp(-energy)


def likelihood(energy: Tensor, log_det: Tensor, typical: Typical, share: float = 1.0) -> Tensor:
    """Minus exp(-nll), relative to a typical training position: -1 there, 0 where nothing normal is.

    It has the log-determinant, which `prob` leaves out, and the bound, which `nll` lacks. Smooth, empty
    places are the likeliest of all, so a defect that smooths may hide from it.
    """
    typical_energy, typical_log_det = typical
    return -torch.exp(share * (log_det - typical_log_det) - (energy - typical_energy))


def tempered(energy: Tensor, log_det: Tensor, typical: Typical) -> Tensor:
    """`likelihood` with a quarter (`SHARE`) of the log-determinant: between `prob` and `likelihood`.

    A heuristic, chosen by results (README says which). It keeps most of what the log-determinant finds on
    objects and most of what it hides on textures.
    """
    return likelihood(energy, log_det, typical, SHARE)


def _mean(scales: Tensor) -> Tensor:
    return scales.mean(dim=0)


def _sum(scales: Tensor) -> Tensor:
    return scales.sum(dim=0)


MAPS: dict[str, tuple[Callable[[Tensor, Tensor, Typical], Tensor], Callable[[Tensor], Tensor]]] = {
    "tempered": (tempered, _mean),
    "likelihood": (likelihood, _mean),
    "prob": (prob, _mean),
    "energy": (energy, _sum),
    "nll": (nll, _sum),
}
IMAGE_SCORES = ("max", "top", "inside")
BORDER = 1 / 32  # of a side, which "inside" leaves out: half a cell of a ResNet's layer3


def anomaly_map(
    outputs: Sequence[Output],
    size: Sequence[int],
    kind: str = "tempered",
    typical: Sequence[Typical] | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Maps `(B, 1, *size)` from the `(z, log_det)` of every scale, up-sampled bilinearly (paper, 3.3).

    `kind` is a name in `MAPS`, else ValueError. `typical` of each scale is what `tempered` and
    `likelihood` compare with (default: zeros). `smoothing` is the deviation of a Gaussian in pixels.

    >>> z, log_det = torch.zeros(2, 4, 3, 3), torch.zeros(2, 3, 3)
    >>> anomaly_map([(z, log_det)], size=(12, 12), kind="prob").unique().tolist()
    [-1.0]
    """
    if kind not in MAPS:
        raise ValueError(f"map must be one of {tuple(MAPS)}, got {kind!r}")
    of_scale, fuse = MAPS[kind]
    typical = [(0.0, 0.0)] * len(outputs) if typical is None else typical
    scales = [_upsample(of_scale(*per_dimension(*output), t), size) for output, t in zip(outputs, typical, strict=True)]
    fused = fuse(torch.stack(scales))
    return _blur(fused, smoothing) if smoothing > 0 else fused


def image_score(maps: Tensor, kind: str = "max", top: float = 0.03) -> Tensor:
    """One score `(B,)` for each map `(B, 1, H, W)`: its largest value, or the mean of the `top` fraction.

    The paper does not define it; the largest value is common practice. "inside" is the largest that is not at the
    border (`BORDER`): convolutions see zeros beyond it, so that normal images look odd there (benchmarks/border.py
    measures how much). A defect that touches nothing but the border is then in the map and not in the score.

    >>> image_score(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])).tolist()
    [3.0]
    """
    if kind not in IMAGE_SCORES:
        raise ValueError(f"image_score must be one of {IMAGE_SCORES}, got {kind!r}")
    if kind == "inside":
        y, x = (round(BORDER * side) for side in maps.shape[-2:])
        maps = maps[..., y : maps.shape[-2] - y, x : maps.shape[-1] - x]
    flat = maps.flatten(1)
    count = max(1, math.ceil(top * flat.shape[1])) if kind == "top" else 1
    return flat.topk(count, dim=1).values.mean(dim=1)


def _upsample(values: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(values.unsqueeze(1), tuple(size), mode="bilinear", align_corners=False)


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing with reflected borders, one axis after the other."""
    radius = min(math.ceil(3 * sigma), maps.shape[-1] - 1, maps.shape[-2] - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.softmax(-offsets.square() / (2 * sigma**2), dim=0)
    maps = F.conv2d(F.pad(maps, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))
    return F.conv2d(F.pad(maps, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
