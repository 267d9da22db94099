"""An image set: samples on disk, read as tensors of one size with their masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fastflow_lite.datasets.image_files import WHITE_16, ImageFile
from fastflow_lite.datasets.masks import mask_files, read_mask, resize_mask
from fastflow_lite.datasets.read_ahead import read_ahead
from fastflow_lite.errors import DataError
from fastflow_lite.files import fingerprint

GOOD = "good"  # the kind of a normal image
# How data sets and production lines name it: in lower case, letters and digits only.
NORMAL_NAMES = frozenset(
    {"good", "ok", "okay", "normal", "nominal", "pass", "passed", "nodefect", "nodefects", "defectfree", "nondefective"}
    | {"io", "inordnung", "gut", "bon", "conforme", "bueno", "buono", "合格", "良品", "正常"}
)

DEFECT_NAMES = frozenset({"bad", "ng", "nok", "notok", "ko", "nio", "defect", "defects", "defective", "fail", "failed"})


def plain_name(name: str) -> str:
    """Return the letters and digits of a name in lower case."""
    return "".join(filter(str.isalnum, name.casefold()))


def is_normal_name(name: str) -> bool:
    """Return whether `name`, of a folder or a kind, is a usual one for normal images; only letters and digits count.

    >>> [is_normal_name(name) for name in ("Good", "OK", "i.O.", "n.i.O.", "NOK")]
    [True, True, True, False, False]
    """
    return plain_name(name) in NORMAL_NAMES


@dataclass(frozen=True)
class Sample:
    """One image on disk.

    `defect` is the kind of defect; a usual name of normal images becomes "good". `mask`, a file or a folder of files,
    is None for a normal image, and where a data set has no masks at all.
    """

    image: Path
    defect: str = GOOD
    mask: Path | None = None

    def __post_init__(self) -> None:
        if is_normal_name(self.defect):
            object.__setattr__(self, "defect", GOOD)


def read_sample_mask(sample: Sample, size: tuple[int, int]) -> Tensor:
    """Read the mask of a sample whose image has `size`, `(H, W)` bool; nothing is marked where it has none.

    Raises DataError for a defect whose mask marks nothing.
    """
    if sample.mask is None:
        return torch.zeros(size, dtype=torch.bool)
    mask = read_mask(sample.mask, sample.image, size)
    if sample.defect != GOOD and not mask.any():
        raise DataError(
            f"mask {sample.mask} marks nothing, but its image {sample.image} is a defect ({sample.defect}): mark the "
            "defect, or move the image to the normal ones"
        )
    return mask


class CategorySamples(NamedTuple):
    """The samples of one category of a data set; all files lie below `folder`.

    `undivided` are normal images that are neither in a folder for training nor in one for testing. `layout` is a
    sentence about what the folders were taken for.
    """

    folder: Path
    category: str
    train: list[Sample]
    test: list[Sample]
    undivided: Sequence[Sample] = ()
    layout: str = ""


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """Images of one size with their masks: `(3, H, W)` float32 in [0, 1] and `(H, W)` bool.

    `samples` lie below `root`, whose name is the `category` unless one is given. `white_level` is the value that
    becomes 1 in files of 16 bits; with None they are refused. Every error names the file that caused it.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: tuple[int, int],
        root: Path,
        category: str = "",
        white_level: int | None = WHITE_16,
    ) -> None:
        self.samples, self.size, self.root = list(samples), size, root
        self.category, self.white_level = category or root.name, white_level

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.samples[index]
        file = ImageFile(sample.image, self.white_level)
        image, size = file.resized(self.size), file.size
        del file  # its pixels, before those of the mask are decoded
        return image, resize_mask(read_sample_mask(sample, size), self.size)

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
        return ImageSet([self.samples[i] for i in indices], self.size, self.root, self.category, self.white_level)

    def split(self, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Return the rest and a random `fraction` of the image files, at least one in each, both in order.

        Tiles of one file stay together.
        """
        names = [sample.image for sample in self.samples]
        files = list(dict.fromkeys(names))
        if len(files) < 2 or not 0 < fraction < 1:
            raise DataError(f"cannot hold out a fraction {fraction} of {len(files)} images below {self.root}")
        count = min(max(1, round(fraction * len(files))), len(files) - 1)
        held_out = {files[k] for k in np.random.default_rng(seed).permutation(len(files))[:count]}
        rest, held = (self.subset([k for k, n in enumerate(names) if (n in held_out) == h]) for h in (False, True))
        return rest, held

    def fingerprint(self) -> str:
        """Compute the sha256 over names and contents of all images and masks, and the white level of the images."""
        masks = [file for s in self.samples if s.mask is not None for file in mask_files(s.mask)]
        files = fingerprint(self.root, [s.image for s in self.samples] + masks)
        if self.white_level in (None, WHITE_16):
            return files
        return hashlib.sha256(f"{files} white level {self.white_level}".encode()).hexdigest()
