"""From latents to anomaly maps, and from a map to one score an image. Higher is more anomalous, always."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastflow_lite.errors import ArgumentError, DivergedError, check_choice, check_number
from fastflow_lite.flows.likelihood import nats_per_dim

Output = tuple[Tensor, Tensor]  # z (B, C, H, W) and log_det (B, H, W) of one scale
LOG_DET_SHARE = 0.25  # of the log-determinant in `tempered`
IMAGE_SCORES = ("max", "top", "inside", "top_inside")
SCALE_WEIGHTS = ("equal", "rising")
BORDER = 1 / 32  # of a side, which "inside" leaves out: half a cell of a ResNet's layer3
TOP_INSIDE = 0.01  # of the pixels that are not at the border, whose mean is "top_inside"


class TrainingMedians(NamedTuple):
    """Median energy and median log_det per dimension of one scale, over positions of training images."""

    energy: float = 0.0
    log_det: float = 0.0


def per_dimension(z: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the energy, mean z^2 / 2, and the log_det, both per dimension and `(B, H, W)`."""
    return z.square().mean(dim=1) / 2, log_det / z.shape[1]


def energy(e: Tensor, d: Tensor, medians: TrainingMedians) -> Tensor:
    """Return the energy `e`: the part of the negative log-density that depends on z alone."""
    return e


def nll(e: Tensor, d: Tensor, medians: TrainingMedians) -> Tensor:
    """Compute energy minus log_det: each position's part of the negative log-likelihood.

    In nats per dimension without the Gaussian's constant. Its sum over positions is exact. One position alone is a
    heuristic, since a convolution mixes the values of neighbors.
    """
    return e - d


def exp_energy(e: Tensor, d: Tensor, medians: TrainingMedians) -> Tensor:
    """Compute minus exp(-energy), in (-1, 0): the map of most FastFlow implementations.

    Often called a probability; it is none, since it does not integrate to 1. exp(-e) lies between 0 and 1, so no
    scale can dominate the mean over scales.
    """
    return -torch.exp(-e)


def likelihood(e: Tensor, d: Tensor, medians: TrainingMedians, share: float = 1.0) -> Tensor:
    """Compute minus exp(-nll), relative to the median training position: -1 there, 0 far from normal features.

    It has the log-determinant, which `exp_energy` leaves out, and the bound, which `nll` lacks. Smooth, empty places
    have the highest likelihood of all, so it can miss a defect that smooths. `share` weights the log-determinant.
    """
    return -torch.exp(share * (d - medians.log_det) - (e - medians.energy))


def tempered(e: Tensor, d: Tensor, medians: TrainingMedians) -> Tensor:
    """Compute `likelihood` with a quarter (`LOG_DET_SHARE`) of the log-determinant.

    A heuristic between `exp_energy` and `likelihood`, chosen by results (docs/results.md). It keeps most of what the
    log-determinant finds on objects, and loses little on textures.
    """
    return likelihood(e, d, medians, LOG_DET_SHARE)


# Each kind: what is computed of a scale, and whether it is bounded by 0. Bounded maps are averaged over the scales,
# others are added up.
MAPS: dict[str, tuple[Callable[[Tensor, Tensor, TrainingMedians], Tensor], bool]] = {
    "tempered": (tempered, True),
    "likelihood": (likelihood, True),
    "exp_energy": (exp_energy, True),
    "energy": (energy, False),
    "nll": (nll, False),
}
ALIASES = {"prob": "exp_energy"}  # what other implementations call it


def map_name(kind: str) -> str:
    """Return the name in `MAPS` of a kind of map or of its alias. ArgumentError for another name."""
    return check_choice("map", ALIASES.get(kind, kind) if isinstance(kind, str) else kind, tuple(MAPS))


@dataclass(frozen=True, kw_only=True)
class ReadoutSettings:
    """How maps and image scores are made of what the flows computed. ArgumentError names a wrong value.

    The kinds with an exponential, -exp(u), are averaged over the scales. `sharpness` and `scale_weights` are for them
    alone: they leave `energy` and `nll`, which are sums, as they are.

    Attributes:
        map: Kind of anomaly map, a name in `MAPS` or an alias such as "prob".
        image_score: How a map becomes one score, one of `IMAGE_SCORES`; see `image_score`.
        smoothing: Standard deviation of a Gaussian over the map, in pixels; 0 for none.
        sharpness: Factor k in the exponent, -exp(k u): a larger k reaches the bound 0 at a smaller energy.
        scale_weights: One of `SCALE_WEIGHTS`: "rising" weights the scales by 1, 2, 3 and so on, from the first, the
            finest, to the last.
    """

    map: str = "tempered"
    image_score: str = "max"
    smoothing: float = 0.0
    sharpness: float = 1.0
    scale_weights: str = "equal"

    def __post_init__(self) -> None:
        put = object.__setattr__  # the usual way to convert in a frozen dataclass
        put(self, "map", map_name(self.map))
        check_choice("image_score", self.image_score, IMAGE_SCORES)
        put(self, "smoothing", check_number("smoothing", self.smoothing, least=0))
        put(self, "sharpness", check_number("sharpness", self.sharpness, above=0))
        check_choice("scale_weights", self.scale_weights, SCALE_WEIGHTS)


@dataclass(frozen=True)
class LatentReadout:
    """What `FastFlow.readout` returns: every kind of map from the same energies and log-determinants.

    Attributes:
        medians: Training medians of each scale.
        settings: How maps and scores are made.
    """

    medians: Sequence[TrainingMedians]
    settings: ReadoutSettings
    kinds: Sequence[str] = tuple(MAPS)

    def terms(self, outputs: Sequence[Output]) -> list[Tensor]:
        """Return energy and log_det per dimension `(B, h, w)` of each scale in turn."""
        return [term for output in outputs for term in per_dimension(*output)]

    def maps(self, terms: Sequence[Tensor], size: Sequence[int], kind: str) -> Tensor:
        """Compute maps `(B, 1, *size)` of one kind."""
        of_scale, bounded = MAPS[map_name(kind)]
        triples = zip(terms[::2], terms[1::2], self.medians, strict=True)
        scales = [of_scale(e, d, TrainingMedians(*median)) for e, d, median in triples]
        if bounded:
            weights = [scale if self.settings.scale_weights == "rising" else 1 for scale in range(1, len(scales) + 1)]
            shares = [weight / sum(weights) for weight in weights]
            # exp(u)^k = exp(k u). Small maps are weighted, since up-sampling is linear.
            scales = [-share * torch.pow(-u, self.settings.sharpness) for share, u in zip(shares, scales, strict=True)]
        large = [F.interpolate(u.unsqueeze(1), tuple(size), mode="bilinear", align_corners=False) for u in scales]
        fused = torch.stack(large).sum(dim=0)
        return blur(fused, self.settings.smoothing) if self.settings.smoothing > 0 else fused

    def scores(self, maps: Tensor, terms: Sequence[Tensor]) -> Tensor:
        """Compute image scores `(B,)` from maps of one kind."""
        return image_score(maps, self.settings.image_score)

    def mean_nats(self, outputs: Sequence[Output]) -> Tensor:
        """Compute the mean negative log-likelihood in nats per dimension."""
        return nats_per_dim(outputs)


def anomaly_map(
    outputs: Sequence[Output],
    size: Sequence[int],
    kind: str = "tempered",
    training_medians: Sequence[TrainingMedians] | None = None,
    smoothing: float = 0.0,
    sharpness: float = 1.0,
    scale_weights: str = "equal",
) -> Tensor:
    """Compute maps `(B, 1, *size)` from the `(z, log_det)` of every scale, up-sampled bilinearly (paper, 3.3).

    `kind`, `smoothing`, `sharpness` and `scale_weights` are those of `ReadoutSettings`. `tempered` and `likelihood` are
    relative to the `training_medians` of each scale (default: zeros).

    >>> z, log_det = torch.zeros(2, 4, 3, 3), torch.zeros(2, 3, 3)
    >>> anomaly_map([(z, log_det)], size=(12, 12), kind="exp_energy").unique().tolist()
    [-1.0]
    """
    medians = [TrainingMedians()] * len(outputs) if training_medians is None else training_medians
    settings = ReadoutSettings(smoothing=smoothing, sharpness=sharpness, scale_weights=scale_weights)
    readout = LatentReadout(medians, settings)
    return readout.maps(readout.terms(outputs), size, kind)


def image_score(maps: Tensor, kind: str = "max", top: float = 0.03) -> Tensor:
    """Compute one score `(B,)` for each map `(B, 1, H, W)`: its largest value, or the mean of its largest values.

    The paper does not define it; the largest value, "max", is common practice. "top" is the mean of the largest
    values, the fraction `top` of the map. "inside" is the largest value that is not at the border (`BORDER`):
    convolutions pad with zeros there, which raises the scores of normal images (benchmarks/border.py measures how
    much). A defect at the border alone is then in the map and not in the score. "top_inside" is the mean of the largest
    1 % (`TOP_INSIDE`) of the values that are not at the border.

    >>> image_score(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])).tolist()
    [3.0]
    """
    if check_choice("image_score", kind, IMAGE_SCORES) in ("inside", "top_inside"):
        y, x = (round(BORDER * side) for side in maps.shape[-2:])
        maps = maps[..., y : maps.shape[-2] - y, x : maps.shape[-1] - x]
    if kind == "top" and not 0 < top <= 1:
        raise ArgumentError(f"top must be above 0 and at most 1, got {top}")
    if kind in ("max", "inside"):
        return maps.amax(dim=tuple(range(1, maps.dim())))  # topk would copy the map with an index for each pixel
    flat, fraction = maps.flatten(1), top if kind == "top" else TOP_INSIDE
    return flat.topk(max(1, math.ceil(fraction * flat.shape[1])), dim=1).values.mean(dim=1)


def check_finite(maps: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps and scores; DivergedError if they are not finite, since NaN is no alarm in any comparison."""
    if not torch.isfinite(maps).all():
        raise DivergedError(
            "the anomaly maps are not finite: look for NaN or infinite values in the images; if there are none, the "
            "training diverged"
        )
    return maps, found


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Smooth maps `(B, 1, H, W)` by a Gaussian cut at three deviations, with reflected borders.

    A Gaussian in two dimensions is one along the columns and one along the rows, each a weighted sum of shifted maps.
    """
    height, width = maps.shape[-2:]
    radius = min(math.ceil(3 * sigma), height - 1, width - 1)  # a reflection is no wider than the map
    powers = [math.exp(-0.5 * (distance / sigma) ** 2) for distance in range(radius + 1)]
    weights = [power / (2 * sum(powers) - 1) for power in powers]
    padded = F.pad(maps, (radius,) * 4, mode="reflect")
    return _weighted_sum(_weighted_sum(padded, weights, 2), weights, 3)


def _weighted_sum(padded: Tensor, weights: Sequence[float], dim: int) -> Tensor:
    """Add up the neighbors along `dim` at a distance of 0, 1, ..., on both sides, times the weight of each distance."""
    radius = len(weights) - 1
    size = padded.shape[dim] - 2 * radius
    total = padded.narrow(dim, radius, size) * weights[0]
    for distance, weight in enumerate(weights[1:], start=1):
        pair = padded.narrow(dim, radius - distance, size) + padded.narrow(dim, radius + distance, size)
        total.add_(pair, alpha=weight)
    return total
