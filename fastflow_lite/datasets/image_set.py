"""An image set: samples on disk, read as tensors of one size with their masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fastflow_lite.datasets.image_files import read_image, resize
from fastflow_lite.datasets.masks import mask_files, read_mask
from fastflow_lite.datasets.read_ahead import read_ahead
from fastflow_lite.errors import DataError
from fastflow_lite.files import fingerprint

GOOD = "good"  # the kind of a normal image


@dataclass(frozen=True)
class Sample:
    """One image on disk. `mask`, a file or a folder of files, is None where a data set has no masks at all."""

    image: Path
    defect: str = GOOD
    mask: Path | None = None


class CategorySamples(NamedTuple):
    """The samples of one category of a data set; all files lie below `folder`."""

    folder: Path
    category: str
    train: list[Sample]
    test: list[Sample]


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """Images of one size with their masks: `(3, H, W)` float32 in [0, 1] and `(H, W)` bool.

    `samples` lie below `root`, whose name is the `category` unless one is given. Every error names the file that
    caused it.
    """

    def __init__(self, samples: Sequence[Sample], size: tuple[int, int], root: Path, category: str = "") -> None:
        self.samples, self.size, self.root = list(samples), size, root
        self.category = category or root.name

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.samples[index]
        image = read_image(sample.image)
        if sample.mask is None:
            return resize(image, self.size), torch.zeros(self.size, dtype=torch.bool)
        mask = read_mask(sample.mask, sample.image, (image.shape[1], image.shape[2]))
        return resize(image, self.size), resize(mask[None], self.size, nearest=True)[0]

    def batches(self, size: int, pin: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """Return an iterator over images and masks in order, `size` at a time, read ahead as by `read_ahead`."""
        return read_ahead(self.__getitem__, len(self), size, self.size, pin)

    @property
    def labels(self) -> np.ndarray:
        """`(N,)` bool, True for anomalous."""
        return np.array([sample.defect != GOOD for sample in self.samples], dtype=bool)

    @property
    def defects(self) -> list[str]:
        """The kind of each image, "good" for normal ones."""
        return [sample.defect for sample in self.samples]

    @property
    def has_masks(self) -> bool:
        """Whether every anomalous image has a mask, so that pixel metrics are defined."""
        return all(s.mask is not None for s in self.samples if s.defect != GOOD)

    def name_of(self, index: int) -> str:
        """Return the name of one image for messages: its path."""
        return str(self.samples[index].image)

    def subset(self, indices: Sequence[int]) -> ImageSet:
        """Return the images at `indices` as a set."""
        return ImageSet([self.samples[i] for i in indices], self.size, self.root, self.category)

    def split(self, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Return the rest and a random `fraction` of the images, at least one in each, both in order."""
        if len(self) < 2 or not 0 < fraction < 1:
            raise DataError(f"cannot hold out a fraction {fraction} of {len(self)} images below {self.root}")
        count = min(max(1, round(fraction * len(self))), len(self) - 1)
        order = np.random.default_rng(seed).permutation(len(self))
        return self.subset(sorted(order[count:])), self.subset(sorted(order[:count]))

    def fingerprint(self) -> str:
        """Compute the sha256 over names and contents of all images and masks."""
        masks = [file for s in self.samples if s.mask is not None for file in mask_files(s.mask)]
        return fingerprint(self.root, [s.image for s in self.samples] + masks)
