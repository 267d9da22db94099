"""Images as programs have them: paths, PIL images, arrays and tensors, one or many, all brought to one size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fastflow_lite.datasets.image_files import WHITE_16, ImageFile, resize
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.datasets.listing import list_images
from fastflow_lite.errors import DataError

KINDS = (
    "a path, a PIL image, an array (H, W) or (H, W, 3) of uint8, uint16 or floating point in [0, 1], or a tensor "
    "(3, H, W) of uint8 or floating point in [0, 1]"
)


def is_one_image(source: Any) -> bool:
    """Return whether `source` is one image and not several, such as a folder, a list, a batch or a generator."""
    if isinstance(source, str | os.PathLike):
        return not Path(source).is_dir()
    if isinstance(source, np.ndarray | Tensor):
        return source.ndim != 4
    return isinstance(source, Image.Image)


def named_images(source: Any) -> Iterable[tuple[str, Any]]:
    """Return the images of `source` with their names; a list where their number is known, else an iterator.

    `source` is one image, a folder (read with its subfolders), an image set, a batch (N, 3, H, W) or (N, H, W, C), or
    an iterable of images, folders among them. Names are paths, else "image 0", "image 1" and so on. Labels and masks
    are not used. DataError for what is none of these.
    """
    if is_one_image(source):
        return [(_name(source, 0), source)]
    if isinstance(source, str | os.PathLike):
        return [(str(path), path) for path in list_images(Path(source))]
    if isinstance(source, ImageSet):
        return [(str(sample.image), sample.image) for sample in source.samples]
    if isinstance(source, TensorSet):
        return _ItemsByIndex(source)
    if isinstance(source, list | tuple | np.ndarray | Tensor):
        return list(_flat(source))
    if isinstance(source, Iterable):
        return _flat(source)
    raise DataError(f"images must be {KINDS}, or several of them, got {type(source).__name__}")


def read_input(name: str, image: Any, white_level: int | None = WHITE_16) -> ImageFile | Tensor:
    """Return an image as an `ImageFile`, or as a tensor `(3, H, W)` in [0, 1] if it is of floating point.

    Paths, PIL images and arrays of whole numbers are read as files are: see `ImageFile`. Colors are in the order red,
    green, blue; OpenCV's are reversed. DataError, with the `name`, for what is no image of `KINDS`, and for values
    beyond [0, 1] or NaN.
    """
    if isinstance(image, str | os.PathLike):
        return ImageFile(Path(image), white_level)
    if isinstance(image, Image.Image):
        return ImageFile(Path(name), white_level, image)
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        gray = image[..., 0] if image.shape[2:] == (1,) else image
        if gray.size and gray.dtype in (np.uint8, np.uint16) and gray.shape[2:] in ((), (3,), (4,)):
            if gray.dtype == np.uint8 or gray.ndim == 2:
                return ImageFile(Path(name), white_level, Image.fromarray(np.ascontiguousarray(gray)))
            raise DataError(f"{name} has several channels of 16 bits: convert it to 8 bits, or to one gray channel")
        if gray.dtype.kind == "f" and gray.shape[2:] in ((), (3,)):
            channels_last = torch.from_numpy(np.ascontiguousarray(gray, np.float32))
            return _checked(name, channels_last.permute(2, 0, 1) if gray.ndim == 3 else channels_last[None])
    if isinstance(image, Tensor) and image.dim() == 3 and len(image) in (1, 3):
        image = image.detach().cpu()
        if image.dtype == torch.uint8:
            return _checked(name, image.float() / 255)
        if image.is_floating_point():
            return _checked(name, image.float())
    shape = f" {tuple(image.shape)} of {image.dtype}" if isinstance(image, np.ndarray | Tensor) else ""
    raise DataError(f"{name} must be {KINDS}, got {type(image).__name__}{shape}")


def size_of(image: ImageFile | Tensor) -> tuple[int, int]:
    """Return height and width of what `read_input` returned."""
    if isinstance(image, ImageFile):
        return image.size
    height, width = image.shape[1:]
    return height, width


def part_of(image: ImageFile | Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """Return a part `(3, height, width)` of what `read_input` returned."""
    if isinstance(image, ImageFile):
        return image.part(top, left, height, width)
    return image[:, top : top + height, left : left + width]


def resized(image: ImageFile | Tensor, size: tuple[int, int]) -> Tensor:
    """Return what `read_input` returned as a tensor `(3, *size)`, resized as the images of an `ImageSet`."""
    return image.resized(size) if isinstance(image, ImageFile) else resize(image, size)


class _ItemsByIndex:
    """The images of a `TensorSet`, taken one by one."""

    def __init__(self, images: TensorSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for index in range(len(self)):
            yield self.images.name_of(index), self.images[index][0]


def _flat(images: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the images with their names; folders among them are replaced by their images."""
    for index, image in enumerate(images):
        if isinstance(image, str | os.PathLike) and not is_one_image(image):
            yield from named_images(image)
        else:
            yield _name(image, index), image


def _name(image: Any, index: int) -> str:
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    return str(getattr(image, "filename", "") or f"image {index}")


def _checked(name: str, image: Tensor) -> Tensor:
    """Return an image with three channels; DataError for values beyond [0, 1] or NaN."""
    if not image.numel() or not (0 <= float(image.min()) <= float(image.max()) <= 1):
        raise DataError(f"{name} is empty, or has values outside [0, 1] or NaN; divide images of 8 bits by 255")
    return image.expand(3, -1, -1)
