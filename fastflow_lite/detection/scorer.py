"""Raw maps and scores of images of any kind and number, as the threshold is set from and compared with."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.datasets.image_inputs import named_images, read_input, resized, size_of
from fastflow_lite.datasets.ready_batches import ready_batches
from fastflow_lite.detection.ignored_region import at_size
from fastflow_lite.devices.worker_threads import computed_ahead, worker_count
from fastflow_lite.errors import DataError, check_whole
from fastflow_lite.evaluation.anomaly_model import AnomalyModel, PreparedAnomalyModel
from fastflow_lite.scoring.maps import check_finite, image_score

OTHER_ASPECT = 1.25  # ratio of two aspect ratios from which on images count as of another shape
OnError = Callable[[str, DataError], object]


class Scored(NamedTuple):
    """The name and `(height, width)` of an image, its raw map `(h, w)` at the size of the network, and raw score."""

    name: str
    size: tuple[int, int]
    map: np.ndarray
    score: float


class Decoded(NamedTuple):
    """An image `(3, h, w)` at the size of the network, and the size that it had."""

    image: Tensor
    size: tuple[int, int]


@dataclass
class Scorer:
    """Computes maps and scores by one model. Several threads may use it.

    Attributes:
        model: The trained model; it is not changed.
        size: Height and width that images are brought to, as the images of the training were.
        ignore: Pixels that are left out, bool in any resolution, or None.
        aspect: Width by height of the images of the training before they were resized; None if it is not known.
    """

    model: AnomalyModel
    size: tuple[int, int]
    ignore: np.ndarray | None = None
    aspect: float | None = None

    def __post_init__(self) -> None:
        self._lock, self._warned = threading.Lock(), False
        self._prepared: PreparedAnomalyModel | None = None

    def __call__(self, source: Any, batch_size: int = 8, on_error: OnError | None = None) -> Iterator[Scored]:
        """Yield the images of `source` (see `image_inputs.named_images`) in order; they are read ahead.

        `on_error` is called with name and error for an image that cannot be used, and the others go on; without it the
        error is raised after the images before.
        """
        check_whole("batch_size", batch_size, 1)
        images = named_images(source)
        batch_size, workers = self._division(images, batch_size)
        for scored in computed_ahead(self._score, self._batches(images, batch_size, on_error), workers):
            yield from scored

    def prepared(self) -> PreparedAnomalyModel:
        """Return the model with all that depends on its weights precomputed, made once."""
        with self._lock:
            if self._prepared is None:
                self._prepared = self.model.prepared_for_inference()
            return self._prepared

    def _decode(self, named: tuple[str, Any]) -> Decoded:
        image = read_input(*named, self.model.input_format.white_level)
        return Decoded(resized(image, self.size), size_of(image))

    def _warn_of_other_aspect(self, name: str, size: tuple[int, int]) -> None:
        if self.aspect is None or self._warned or size == self.size:  # of that size: resized as the training's were
            return
        ratio = size[1] / size[0] / self.aspect
        if max(ratio, 1 / ratio) > OTHER_ASPECT:
            self._warned = True
            warnings.warn(
                f"{name} is {size[1]} x {size[0]} pixels, {size[1] / size[0]:.2f} times as wide as high; the images of "
                f"the training were {self.aspect:.2f} times: it is distorted to their shape, and its score may mean "
                "nothing. Crop images as those of the training (said once)",
                stacklevel=2,
            )

    def _division(self, images: Iterable[Any], batch_size: int) -> tuple[int, int]:
        """Return the number of images in a batch, and of threads that compute batches.

        One thread, which uses all of torch's, for an iterator: batches of what a camera has given shall be done soon.
        """
        workers = worker_count(self.model.device)
        if not isinstance(images, Sized) or workers == 1:
            return batch_size, 1
        batch_size = min(batch_size, max(1, math.ceil(len(images) / workers)))
        return batch_size, min(workers, math.ceil(len(images) / batch_size))

    def _batches(
        self, images: Iterable[tuple[str, Any]], batch_size: int, on_error: OnError | None
    ) -> Iterator[list[tuple[str, Decoded]]]:
        """Yield batches of names and images. An error is raised after the images before it."""
        for batch in ready_batches(self._decode, images, batch_size):
            decoded: list[tuple[str, Decoded]] = []
            for (name, _), future in batch:
                try:
                    decoded.append((name, future.result()))
                    self._warn_of_other_aspect(name, decoded[-1][1].size)
                except DataError as error:
                    if on_error is None:
                        yield decoded
                        raise
                    on_error(name, error)
            yield decoded

    @torch.inference_mode()
    def _score(self, batch: list[tuple[str, Decoded]]) -> list[Scored]:
        if not batch:
            return []
        maps, found = self._maps_and_scores(torch.stack([image for _, (image, _) in batch]))
        arrays = maps[:, 0].float().cpu().numpy()
        rows = zip(batch, arrays, found.tolist(), strict=True)
        return [Scored(name, size, array, score) for (name, (_, size)), array, score in rows]

    def _maps_and_scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute maps and scores; where a part is left out, the image score of what remains of the map."""
        prepared = self.prepared()
        model, outputs = prepared.model, prepared(images)
        if self.ignore is None:
            return check_finite(*model.maps_and_scores(outputs, self.size))
        maps = model.anomaly_map(outputs, self.size)
        left_out = torch.from_numpy(at_size(self.ignore, self.size)).to(maps.device)
        maps = torch.where(left_out, maps.amin(dim=(1, 2, 3), keepdim=True), maps)
        return check_finite(maps, image_score(maps, model.image_score))
