"""Raw maps and scores of images of any kind and number, as the threshold is set from and compared with."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastflow_lite.datasets.image_inputs import named_images, read_input, resized, size_of
from fastflow_lite.datasets.ready_batches import ready_batches
from fastflow_lite.detection.ignored_region import at_size
from fastflow_lite.errors import DataError, check_whole
from fastflow_lite.model import FastFlow, PreparedModel, check_finite
from fastflow_lite.scoring.maps import image_score

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

    model: FastFlow
    size: tuple[int, int]
    ignore: np.ndarray | None = None
    aspect: float | None = None

    def __post_init__(self) -> None:
        self._lock, self._warned = threading.Lock(), False
        self._prepared: PreparedModel | None = None

    def __call__(self, source: Any, batch_size: int = 8, on_error: OnError | None = None) -> Iterator[Scored]:
        """Yield the images of `source` (see `image_inputs.named_images`) in order; they are read ahead.

        `on_error` is called with name and error for an image that cannot be used, and the others go on; without it the
        error is raised after the images before.
        """
        check_whole("batch_size", batch_size, 1)
        names: list[str] = []
        decoded: list[Decoded] = []
        for batch in ready_batches(self._decode, named_images(source), batch_size):
            names, decoded, failure = [], [], None
            for (name, _), future in batch:
                failure = self._collect(name, future, names, decoded, on_error)
                if failure is not None:
                    break
            yield from self._score(names, decoded)
            if failure is not None:
                raise failure

    def prepared(self) -> PreparedModel:
        """Return the model with all that depends on its weights precomputed, made once."""
        with self._lock:
            if self._prepared is None:
                self._prepared = self.model.prepared_for_inference()
            return self._prepared

    def _decode(self, named: tuple[str, Any]) -> Decoded:
        image = read_input(*named, self.model.input_format.white_level)
        size = size_of(image)
        self._warn_of_other_aspect(named[0], size)
        return Decoded(resized(image, self.size), size)

    def _warn_of_other_aspect(self, name: str, size: tuple[int, int]) -> None:
        if self.aspect is None or self._warned:
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

    @staticmethod
    def _collect(
        name: str, future: Future[Decoded], names: list[str], decoded: list[Decoded], on_error: OnError | None
    ) -> DataError | None:
        """Add a decoded image to the lists; return the error that is to be raised."""
        try:
            decoded.append(future.result())
            names.append(name)
        except DataError as error:
            if on_error is None:
                return error
            on_error(name, error)
        return None

    @torch.inference_mode()
    def _score(self, names: list[str], decoded: list[Decoded]) -> list[Scored]:
        if not names:
            return []
        prepared = self.prepared()
        maps, _ = prepared.model.maps_and_scores(prepared(torch.stack([d.image for d in decoded])), self.size)
        if self.ignore is not None:
            left_out = torch.from_numpy(at_size(self.ignore, self.size)).to(maps.device)
            maps = torch.where(left_out, maps.amin(dim=(1, 2, 3), keepdim=True), maps)
        maps, found = check_finite(maps, image_score(maps, self.model.image_score))
        arrays = maps[:, 0].float().cpu().numpy()
        rows = zip(names, decoded, arrays, found.tolist(), strict=True)
        return [Scored(name, image.size, array, score) for name, image, array, score in rows]
