"""Ground-truth masks: where an image's mask lies, and which pixels it marks. Every error names the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fastflow_lite.datasets.decoding import DEPTH_8, DEPTH_16, open_image
from fastflow_lite.datasets.image_files import resize
from fastflow_lite.datasets.listing import is_image_file, list_images, visible_entries
from fastflow_lite.errors import DataError


def find_masks(images: Sequence[Path], folder: Path, mask_folder: Path) -> list[Path]:
    """Return the mask of each of `images`, all below `folder`; masks lie at the same place below `mask_folder`.

    The mask of `a.png` is the image file `a_mask.*` or `a.*`, or a folder of this name (several masks, united).
    Raises DataError for an image without a mask, an image with two, and a mask that belongs to two images.
    """
    by_name = cache(_masks_by_name)
    found: dict[Path, Path] = {}  # mask: image
    for image in images:
        mask = _mask_of(image, by_name, mask_folder / image.parent.relative_to(folder))
        if mask in found:
            raise DataError(
                f"test images {found[mask]} and {image} have the same mask {mask}: rename one image, and give each its "
                "own mask"
            )
        found[mask] = image
    return list(found)


def mask_files(mask: Path) -> list[Path]:
    """Return the files of a mask: itself, or all images in it where it is a folder."""
    return list_images(mask) if mask.is_dir() else [mask]


def read_mask(mask: Path, image: Path, size: tuple[int, int]) -> Tensor:
    """Read a ground-truth mask as `(H, W)` bool, True where one of its files marks a pixel.

    A file marks a pixel if a color channel is above half of white (255, or 65535 in a file of 16 bits) and the pixel is
    not transparent. If its color is the same everywhere but its transparency is not, it marks what is not transparent.
    Raises DataError unless each file has `size`, that of its `image`, and if what it holds is too dark to count.
    """
    return torch.from_numpy(np.logical_or.reduce([_marked(path, image, size) for path in mask_files(mask)]))


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask `(h, w)` to `size` by nearest neighbor, but mark every pixel with a part of a mark if none is left.

    >>> resize_mask(torch.eye(9, dtype=torch.bool)[:1], (1, 3))
    tensor([[ True, False, False]])
    """
    resized = resize(mask[None], size, nearest=True)[0]
    if mask.any() and not resized.any():
        return functional.adaptive_max_pool2d(mask[None].float(), size)[0].bool()
    return resized


def _masks_by_name(folder: Path) -> dict[str, list[Path]]:
    """List the masks in `folder` by name, without suffix and case."""
    found: dict[str, list[Path]] = {}
    for path in visible_entries(folder) if folder.is_dir() else []:
        if path.is_dir() or is_image_file(path):
            found.setdefault(_stem(path).casefold(), []).append(path)
    return found


def _mask_of(image: Path, by_name: Callable[[Path], dict[str, list[Path]]], folder: Path) -> Path:
    for stem in (f"{image.stem}_mask", image.stem):
        any_case = by_name(folder).get(stem.casefold(), [])
        masks = [path for path in any_case if _stem(path) == stem] or any_case
        if len(masks) > 1:
            raise DataError(f"test image {image} has two masks, {masks[0]} and {masks[1]}: remove or rename one")
        if masks:
            return masks[0]
    raise DataError(
        f"test image {image} has no mask: {folder / f'{image.stem}_mask.png'} is missing. Add it, or remove the "
        "whole folder of masks (ground_truth) to go without pixel metrics"
    )


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _marked(path: Path, image: Path, size: tuple[int, int]) -> np.ndarray:
    """Return what one mask file marks, `(H, W)` bool."""
    values, white = _brightness(path)
    if values.shape != size:
        raise DataError(
            f"mask {path} is {values.shape[1]} x {values.shape[0]} pixels, its image {image} is "
            f"{size[1]} x {size[0]}; they must be equal"
        )
    marked: np.ndarray = values > white // 2
    if values.any() and not marked.any():
        raise DataError(
            f"mask {path} is never brighter than {values.max()} of {white}, so it marks nothing; paint defects white"
        )
    return marked


def _brightness(path: Path) -> tuple[np.ndarray, int]:
    """Return how bright each pixel of a mask is, `(H, W)`, and the brightness of white."""
    picture = open_image(path)
    if picture.mode in DEPTH_16:
        return np.asarray(picture), 65535
    if picture.mode not in DEPTH_8:
        raise DataError(f"mask {path} has mode {picture.mode}; convert it to gray or RGB, 8 or 16 bits")
    if picture.mode in ("1", "L") and "transparency" not in picture.info:  # the usual ones, at a byte a pixel
        return np.asarray(picture.convert("L")), 255
    transparent = "A" in picture.getbands() or "transparency" in picture.info
    values = np.asarray(picture.convert("RGBA" if transparent else "RGB"))
    color, alpha = values[..., :3].max(axis=-1), values[..., -1]
    if not transparent or alpha.min() == alpha.max():
        return color, 255
    return (alpha if color.min() == color.max() else np.minimum(color, alpha)), 255
