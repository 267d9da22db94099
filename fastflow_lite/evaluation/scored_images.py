"""Anomaly maps and scores of a set of images, every kind of map from the same latents."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fastflow_lite.datasets import ImageSet
from fastflow_lite.errors import DataError, DivergedError
from fastflow_lite.flows.likelihood import bits, nats_per_dim
from fastflow_lite.model import FastFlow
from fastflow_lite.scoring.maps import MAPS, image_score, map_name


@dataclass
class ScoredImages:
    """Maps `(N, H, W)` float32 and scores `(N,)` of `N` images by kind of map, and their masks `(N, H, W)` bool."""

    maps: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    masks: np.ndarray
    bits_per_dim: float
    seconds: float


@torch.inference_mode()
def score_images(
    model: FastFlow, images: ImageSet, kinds: Sequence[str] = tuple(MAPS), batch_size: int = 8
) -> ScoredImages:
    """Compute every kind of map of `images`, from one pass of the model.

    Raises:
        NotTrainedError: The model was never trained.
        DataError: There is no image, or one cannot be read.
        DivergedError: A map is not finite.
    """
    began = time.monotonic()
    model.check_trained()
    model.eval()
    kinds = [map_name(kind) for kind in kinds]
    maps: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    scores: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    masks, nats, prepared = [], 0.0, model.prepared_for_inference()
    for batch, batch_masks in images.batches(batch_size):
        outputs = prepared(batch)
        nats += nats_per_dim(outputs).item() * len(batch)
        masks.append(batch_masks.numpy())
        for kind in kinds:
            found = model.anomaly_map(outputs, images.size, kind)
            maps[kind].append(found[:, 0].float().cpu().numpy())
            scores[kind].append(image_score(found, model.image_score).float().cpu().numpy())
    if not masks:
        raise DataError(f"there are no images to score below {images.root}")
    if bad := [kind for kind in kinds if not all(np.isfinite(part).all() for part in maps[kind])]:
        raise DivergedError(
            f"the maps {', '.join(bad)} are not finite: the training diverged. Lower lr or clamp, or normalize='layer'"
        )
    return ScoredImages(
        maps={kind: np.concatenate(parts) for kind, parts in maps.items()},
        scores={kind: np.concatenate(parts) for kind, parts in scores.items()},
        masks=np.concatenate(masks),
        bits_per_dim=bits(nats / len(images)),
        seconds=time.monotonic() - began,
    )
