"""Anomaly maps and scores of a set of images, every kind of map from the same latents."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.datasets import ImageSet
from fastflow_lite.devices.host_copy import HostCopy
from fastflow_lite.errors import DivergedError
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
    model: FastFlow,
    images: ImageSet,
    kinds: Sequence[str] = tuple(MAPS),
    batch_size: int = 8,
    precision: str = "float32",
) -> ScoredImages:
    """Compute every kind of map of `images`, from one pass of the model; `precision` as in `FastFlow.predict`.

    Raises:
        NotTrainedError: The model was never trained.
        DataError: An image cannot be read.
        DivergedError: A map is not finite.
    """
    began = time.monotonic()
    model.check_trained()
    model.input_format.check_set(images)
    model.eval()
    kinds = [map_name(kind) for kind in kinds]
    maps = {kind: np.empty((len(images), *images.size), np.float32) for kind in kinds}
    scores = {kind: np.empty(len(images), np.float32) for kind in kinds}
    masks, nats, start = np.empty((len(images), *images.size), bool), 0.0, 0
    for (mean_nats, *found), batch_masks in _computed_batches(model, images, kinds, batch_size, precision):
        part = slice(start, start + len(batch_masks))
        masks[part] = batch_masks.numpy()
        nats += mean_nats.item() * len(batch_masks)
        for k, kind in enumerate(kinds):
            maps[kind][part], scores[kind][part] = found[2 * k], found[2 * k + 1]
        start = part.stop
    if bad := [kind for kind in kinds if not np.isfinite(maps[kind]).all()]:
        raise DivergedError(
            f"the maps {', '.join(bad)} are not finite: the training diverged. Lower lr or clamp, or normalize='layer'"
        )
    return ScoredImages(
        maps, scores, masks, bits(nats / len(images)) if len(images) else math.nan, time.monotonic() - began
    )


def _computed_batches(
    model: FastFlow, images: ImageSet, kinds: Sequence[str], batch_size: int, precision: str
) -> Iterator[tuple[list[np.ndarray], Tensor]]:
    """Yield the mean nats per dimension, then map and score of each kind, and the masks, batch by batch.

    A batch is yielded after the next one is given to the device, so that a GPU computes while the host stores results.
    """
    prepared, device, before = model.prepared_for_inference(precision), model.device, None
    for batch, masks in images.batches(batch_size, pin=device.type == "cuda"):
        outputs = prepared(batch)
        results = [nats_per_dim(outputs)]
        for kind in kinds:
            found = model.anomaly_map(outputs, images.size, kind)
            results += [found[:, 0].float(), image_score(found, model.image_score).float()]
        copied = HostCopy(results, device)
        if before:
            yield before[0].wait(), before[1]
        before = copied, masks
    if before:
        yield before[0].wait(), before[1]
