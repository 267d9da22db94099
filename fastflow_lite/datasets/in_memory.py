"""Images that are not files: a tensor, or a torch Dataset of tensors, with the interface of an `ImageSet`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Sized
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.errors import ArgumentError, DataError


class TensorSet(Dataset[tuple[Tensor, Tensor]]):
    """Normal images from a tensor `(N, 3, H, W)` or a torch Dataset of tensors `(3, H, W)`, in [0, 1].

    An item of a Dataset may also be a tuple that begins with the image. All images must have one size, and an index
    must always give the same image. `name` stands for the images in messages, `white_level` is the value that became 1
    in images of 16 bits, None where there were none. DataError names a wrong one.
    """

    def __init__(self, source: Tensor | Dataset[Any], name: str, white_level: int | None = None) -> None:
        self.source, self.root, self.white_level = source, name, white_level
        if isinstance(source, Tensor) and source.dim() != 4:
            raise DataError(f"{name} must be images (N, 3, H, W), got a tensor {tuple(source.shape)}")
        if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
            raise DataError(f"{name} must have a length and give its images by index, got {type(source).__name__}")
        if not len(self):
            raise DataError(f"{name} holds no image")
        self.size = (0, 0)
        height, width = self[0][0].shape[1:]
        self.size = (height, width)

    def __len__(self) -> int:
        return len(cast("Sized", self.source))

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        item = self.source[index]
        image = item[0] if isinstance(item, tuple | list) else item
        if not isinstance(image, Tensor) or image.dim() != 3 or len(image) != 3 or not image.is_floating_point():
            got = f"{tuple(image.shape)} of {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
            raise DataError(f"{self.name_of(index)} must be a tensor (3, H, W) of floating point in [0, 1], got {got}")
        if self.size not in ((0, 0), tuple(image.shape[1:])):
            raise DataError(f"{self.name_of(index)} is {tuple(image.shape[1:])}, the first one {self.size}")
        if not 0 <= float(image.min()) <= float(image.max()) <= 1:
            raise DataError(f"{self.name_of(index)} has values outside [0, 1] or NaN; divide 8-bit images by 255")
        if isinstance(item, tuple | list) and _has_marks(item[1:]):
            raise DataError(f"{self.name_of(index)} has a mask that marks a defect; use normal images only")
        return image.float(), torch.zeros(image.shape[1:], dtype=torch.bool)

    def batches(self, size: int, pin: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and empty masks in order, `size` at a time; `pin` puts images on the host in pinned memory."""
        for start in range(0, len(self), size):
            images, masks = zip(*(self[i] for i in range(start, min(start + size, len(self)))), strict=True)
            batch = torch.stack(images)
            yield batch.pin_memory() if pin and batch.device.type == "cpu" else batch, torch.stack(masks)

    @property
    def labels(self) -> np.ndarray:
        """`(N,)` bool, all False: the images are taken as normal."""
        return np.zeros(len(self), dtype=bool)

    def name_of(self, index: int) -> str:
        """Return the name of one image for messages."""
        return f"image {index} of {self.root}"

    def fingerprint(self) -> str:
        """Compute the sha256 over the values of all images."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(self[index][0].cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _has_marks(rest: Sequence[Any]) -> bool:
    """Return whether what follows the image in an item is a mask with a marked pixel."""
    return bool(rest) and isinstance(rest[0], Tensor) and rest[0].dtype == torch.bool and bool(rest[0].any())


ImageSource = ImageSet | TensorSet | Tensor | Dataset[Any]


def as_image_set(source: ImageSource, name: str) -> ImageSet | TensorSet:
    """Return `source` with the interface of an image set; `name` stands for a tensor or Dataset in messages."""
    if isinstance(source, Subset) and isinstance(source.dataset, ImageSet | Subset):
        whole = as_image_set(source.dataset, name)
        if isinstance(whole, ImageSet):
            return whole.subset(source.indices)
    return source if isinstance(source, ImageSet | TensorSet) else TensorSet(source, name)


def as_normal_set(source: ImageSource, name: str) -> ImageSet | TensorSet:
    """Return `as_image_set(source, name)`. Raise DataError if it is empty or an image in it is named as a defect."""
    images = as_image_set(source, name)
    if not len(images):
        raise DataError(f"{name} holds no image (of {images.root})")
    defects = np.flatnonzero(images.labels)
    if len(defects):
        raise DataError(
            f"{name} must be normal images only, but {len(defects)} of {len(images)} are named as defects, such as "
            f"{images.name_of(defects[0])}: leave them out"
        )
    return images


def as_labeled_set(source: ImageSource, name: str) -> ImageSet:
    """Return an `ImageSet`, or a Subset of one, as an `ImageSet`. Raise ArgumentError for what has no labels."""
    images = as_image_set(source, name) if isinstance(source, Subset) else source
    if not isinstance(images, ImageSet):
        is_data = isinstance(getattr(source, "test", None), ImageSet)
        advice = "give data.test" if is_data else "give labeled images, such as open_dataset(folder).test"
        raise ArgumentError(f"{name} must be an ImageSet, got {type(source).__name__}: {advice}")
    return images


def training_sets(
    train: ImageSource, held_out: ImageSource | None
) -> tuple[ImageSet | TensorSet, ImageSet | TensorSet | None]:
    """Return both as sets of normal images. Raise DataError also if they share a file that `train` has tiles of."""
    images = as_normal_set(train, "train")
    if held_out is None:
        return images, None
    others = as_normal_set(held_out, "held_out")
    if isinstance(images, ImageSet) and isinstance(others, ImageSet):
        files = [sample.image for sample in images.samples]
        shared = {sample.image for sample in others.samples}.intersection(files)
        if shared and len(set(files)) < len(files):  # tiles are near-copies of each other where they overlap
            raise DataError(f"tiles of {min(shared)} are in train and in held_out: divide them by `split` of their set")
    return images, others
