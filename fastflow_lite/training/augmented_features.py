"""Features of a set of images, computed anew from augmented images in every step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastflow_lite.datasets.augmentation import Augmentation
from fastflow_lite.devices.feature_storage import GIBIBYTE
from fastflow_lite.model import FastFlow
from fastflow_lite.training.feature_cache import Images, fit_normalization

BUDGET = 2 * GIBIBYTE


class AugmentedFeatures:
    """Features of images that are augmented anew in every step, so that they cannot be kept.

    The decoded images are kept as uint8, up to `budget` bytes. `start_epoch` seeds the augmentation.
    """

    def __init__(self, model: FastFlow, images: Images, augment: Augmentation, budget: int = BUDGET) -> None:
        self.model, self.images, self.augment = model, images, augment
        self.generator = torch.Generator()
        self._kept: dict[int, Tensor] = {}
        self._room = budget // (3 * images.size[0] * images.size[1])
        fit_normalization(model, images, 8)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Sequence[int]) -> list[Tensor]:
        images = torch.stack([self._image(i) for i in indices]).to(self.model.device).float() / 255
        with torch.inference_mode():
            maps = self.model.features(self.augment(images, self.generator))
        return [x.clone() for x in maps]  # inference tensors cannot take part in autograd

    def start_epoch(self, seed: int) -> None:
        """Draw the augmentation from `seed` from here on, so that a resumed run repeats it."""
        self.generator.manual_seed(seed)

    def advance_generator(self, count: int) -> None:
        """Advance the generator past `count` images that another process loads, by augmenting images of one pixel."""
        if count:
            self.augment(torch.zeros(count, 3, 1, 1), self.generator)

    def _image(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        image = (self.images[index][0] * 255).round().to(torch.uint8)
        if len(self._kept) < self._room:
            self._kept[index] = image
        return image
