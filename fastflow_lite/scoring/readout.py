"""From what a model computed of a batch to maps and image scores, by settings that no longer change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fastflow_lite.flows.likelihood import nats_per_dim
from fastflow_lite.scoring.maps import MAPS, Output, TrainingMedians, image_score, map_of_terms, per_dimension


@dataclass(frozen=True)
class LatentReadout:
    """What `FastFlow.readout` returns: every kind of map from the same energies and log-determinants.

    Attributes:
        medians: Training medians of each scale.
        smoothing: Standard deviation of a Gaussian over a map, in pixels.
        image_score: One of `IMAGE_SCORES`.
        sharpness: Factor in the exponent of the kinds that have one, see `anomaly_map`.
        scale_weights: One of `SCALE_WEIGHTS`.
    """

    medians: Sequence[TrainingMedians]
    smoothing: float
    image_score: str
    sharpness: float = 1.0
    scale_weights: str = "equal"
    kinds: Sequence[str] = tuple(MAPS)

    def terms(self, outputs: Sequence[Output]) -> list[Tensor]:
        """Return energy and log_det per dimension `(B, h, w)` of each scale in turn."""
        return [term for output in outputs for term in per_dimension(*output)]

    def maps(self, terms: Sequence[Tensor], size: Sequence[int], kind: str) -> Tensor:
        """Compute maps `(B, 1, *size)` of one kind."""
        pairs = list(zip(terms[::2], terms[1::2], strict=True))
        return map_of_terms(pairs, size, kind, self.medians, self.smoothing, self.sharpness, self.scale_weights)

    def scores(self, maps: Tensor, terms: Sequence[Tensor]) -> Tensor:
        """Compute image scores `(B,)` from maps of one kind."""
        return image_score(maps, self.image_score)

    def mean_nats(self, outputs: Sequence[Output]) -> Tensor:
        """Compute the mean negative log-likelihood in nats per dimension."""
        return nats_per_dim(outputs)
