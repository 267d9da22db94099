"""Anomaly maps and scores of a set of images, every kind of map from one pass of the model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.datasets import ImageSet
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.devices.host_copy import HostCopy
from fastflow_lite.devices.thread_choice import ThreadChoice
from fastflow_lite.errors import DivergedError, check_choice, check_whole
from fastflow_lite.evaluation.anomaly_model import AnomalyModel
from fastflow_lite.flows.likelihood import bits
from fastflow_lite.scoring.maps import ALIASES
from fastflow_lite.training.epoch_loss import ADVICE


@dataclass
class ScoredImages:
    """Maps `(N, H, W)` float32 and scores `(N,)` of `N` images by kind of map, and their masks `(N, H, W)` bool.

    A map is computed when it is read, `maps["nll"]`, since the maps of all kinds take five times the memory of one.
    """

    maps: MapsByKind
    scores: dict[str, np.ndarray]
    masks: np.ndarray
    bits_per_dim: float
    seconds: float


class MapsByKind(Mapping[str, np.ndarray]):
    """The maps `(N, H, W)` of each of `kinds`, computed from the terms of the model's `Readout` when read.

    These are as small as the feature maps: of images with 512 pixels a side, those of all scales of a ResNet together
    take a sixth of one map. The settings of the readout are those of when this object was made.
    """

    def __init__(
        self, model: AnomalyModel, images: ImageSet | TensorSet, kinds: Sequence[str], batch_size: int
    ) -> None:
        self.kinds, self.batch_size, self.device = kinds, batch_size, model.device
        self.count, self.size = len(images), images.size
        self.readout = model.readout()
        self.terms: list[np.ndarray] = []  # of all images

    def __getitem__(self, kind: str) -> np.ndarray:
        if kind not in self.kinds:
            raise KeyError(kind)
        maps = np.empty((self.count, *self.size), np.float32)
        with torch.inference_mode():
            for start in range(0, self.count, self.batch_size):
                part = slice(start, start + self.batch_size)
                terms = [torch.from_numpy(term[part]).to(self.device) for term in self.terms]
                maps[part] = self.readout.maps(terms, self.size, kind)[:, 0].float().cpu().numpy()
        return maps

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)

    def store(self, part: slice, terms: Sequence[np.ndarray]) -> None:
        """Store the terms of the images `part`."""
        if not self.terms:  # made once: an array a batch would fragment the memory between the larger ones
            self.terms = [np.empty((self.count, *term.shape[1:]), term.dtype) for term in terms]
        for kept, term in zip(self.terms, terms, strict=True):
            kept[part] = term


@torch.inference_mode()
def score_images(
    model: AnomalyModel,
    images: ImageSet | TensorSet,
    kinds: Sequence[str] | None = None,
    batch_size: int = 8,
    precision: str = "float32",
) -> ScoredImages:
    """Compute maps of `images`, of all `kinds` that the model has or of some, from one pass of the model.

    `precision` is that of `FastFlow.predict`; `bits_per_dim` is nan for a model without a likelihood.
    The model is in the mode it was in (training or not) afterwards.

    Raises:
        NotTrainedError: The model was never trained.
        DataError: An image cannot be read.
        DivergedError: A map is not finite.
    """
    began = time.monotonic()
    check_whole("batch_size", batch_size, 1)
    model.check_trained()
    model.input_format.check_set(images)
    known = tuple(model.readout().kinds)
    kinds = [check_choice("map", ALIASES.get(kind, kind), known) for kind in kinds or known]
    maps = MapsByKind(model, images, kinds, batch_size)
    scores = {kind: np.empty(len(images), np.float32) for kind in kinds}
    masks, nats, start, is_finite = np.empty((len(images), *images.size), bool), 0.0, 0, np.ones(len(kinds), bool)
    was_training = model.training
    model.train(False)
    try:
        with ThreadChoice(model.device):
            for (mean_nats, *terms, finite, found), batch_masks in _computed_batches(model, images, maps, precision):
                part = slice(start, start + len(batch_masks))
                masks[part] = batch_masks.numpy()
                nats += mean_nats.item() * len(batch_masks)
                is_finite &= finite
                for kind, of_kind in zip(kinds, found, strict=True):
                    scores[kind][part] = of_kind
                maps.store(part, terms)
                start = part.stop
    finally:
        model.train(was_training)
    if not is_finite.all():
        bad = ", ".join(kind for kind, finite in zip(kinds, is_finite, strict=True) if not finite)
        raise DivergedError(f"the maps {bad} are not finite: the training diverged. {ADVICE}")
    return ScoredImages(
        maps, scores, masks, bits(nats / len(images)) if len(images) else math.nan, time.monotonic() - began
    )


def _computed_batches(
    model: AnomalyModel, images: ImageSet | TensorSet, maps: MapsByKind, precision: str
) -> Iterator[tuple[list[np.ndarray], Tensor]]:
    """Yield the results of `_results` and the masks, batch by batch.

    A batch is yielded after the next one is given to the device, so that a GPU computes while the host stores results.
    """
    prepared, device, before = model.prepared_for_inference(precision), model.device, None
    for batch, masks in images.batches(maps.batch_size, pin=device.type == "cuda"):
        copied = HostCopy(_results(prepared(batch), maps), device)
        if before:
            yield before[0].wait(), before[1]
        before = copied, masks
    if before:
        yield before[0].wait(), before[1]


def _results(outputs: Any, maps: MapsByKind) -> list[Tensor]:
    """Return a batch's mean nats, its terms, and of each kind: all finite or not, scores."""
    readout = maps.readout
    terms, finite, scores = readout.terms(outputs), [], []
    for kind in maps.kinds:
        found = readout.maps(terms, maps.size, kind)
        finite.append(found.isfinite().all())
        scores.append(readout.scores(found, terms).float())
    return [readout.mean_nats(outputs), *terms, torch.stack(finite), torch.stack(scores)]
