"""The images that a model was trained on: their size and range of values. What differs is refused or warned of."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastflow_lite.datasets.decoding import has_16_bits
from fastflow_lite.datasets.image_files import WHITE_16, ImageFile
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.errors import ArgumentError, DataError, check_whole

WHITE_LEVELS = (255, 1023, 4095, 16383, WHITE_16)  # of cameras of 8, 10, 12, 14 and 16 bits
DARK = 1 / 8  # of the range of values
TOLERANCE = 0.01  # of values beyond [0, 1], which resizing and rounding may cause
LOWEST, HIGHEST = -TOLERANCE, 1 + TOLERANCE


@dataclass(frozen=True)
class InputFormat:
    """The images that a model was trained on; what is not known is None.

    Attributes:
        image_size: Height and width.
        white_level: The value that became 1 in files of 16 bits; None where there was no such file.
    """

    image_size: tuple[int, int] | None = None
    white_level: int | None = None

    @classmethod
    def of_training(cls, train: ImageSet | TensorSet, held_out: ImageSet | TensorSet | None = None) -> InputFormat:
        """Return the format of training images. Warn of dark ones; DataError for `held_out` of another white level."""
        warn_if_dark(train)
        height, width = train.size
        found = cls((height, width), train.white_level)
        if held_out is not None:
            found.check_set(held_out)
            found.check_size(held_out.size)
        return found

    @classmethod
    def from_record(cls, record: Any) -> InputFormat:
        """Read what `dataclasses.asdict` returned, after any trip through JSON. ArgumentError for anything else."""
        if not isinstance(record, Mapping) or set(record) - {"image_size", "white_level"}:
            raise ArgumentError(f"a format of images has an image_size and a white_level, got {record!r}")
        size, level = record.get("image_size"), record.get("white_level")
        if size is not None:
            if not isinstance(size, list | tuple) or len(size) != 2:
                raise ArgumentError(f"image_size must be height and width, got {size!r}")
            size = (check_whole("image_size", size[0], 1), check_whole("image_size", size[1], 1))
        return cls(size, check_white_level(level))

    def check_set(self, images: ImageSet | TensorSet) -> None:
        """Raise DataError if files of 16 bits are read with another white level than that of the training images."""
        level = images.white_level
        if level is not None and self.white_level is not None and level != self.white_level:
            raise DataError(
                f"images of 16 bits below {images.root} are read with the white level {level}, those of the training "
                f"were read with {self.white_level}: give open_dataset the argument white_level={self.white_level}"
            )

    def check_batch(self, images: Any) -> None:
        """Raise ArgumentError unless `images` is a tensor of values in [0, 1]; warn of another size.

        Nothing is checked while torch compiles or exports: the graph must not depend on values.
        """
        if torch.compiler.is_compiling():
            return
        if not isinstance(images, Tensor):
            raise ArgumentError(f"images must be a tensor (B, 3, H, W) in [0, 1], got {type(images).__name__}")
        if images.is_floating_point() and images.numel():
            low, high = (float(value) for value in images.aminmax())
            if low < LOWEST or high > HIGHEST:  # NaN is refused with the scores
                raise ArgumentError(
                    f"images must have finite values in [0, 1], got {low:g} to {high:g}: divide 8-bit images by "
                    "255, and do not normalize them, since the model does"
                )
        self.check_size(images.shape[-2:])

    def check_size(self, size: Sequence[int]) -> None:
        """Warn if images of `size` (height, width) are not of the trained one."""
        if self.image_size is not None and tuple(size) != self.image_size:
            warnings.warn(
                f"images of {size[0]} x {size[1]} pixels (height x width), but the model was trained on "
                f"{self.image_size[0]} x {self.image_size[1]}: scores and thresholds are those of the trained size",
                stacklevel=5,
            )


def check_white_level(value: Any) -> int | None:
    """Return a white level as an int if it is None or a whole number of 1 to 65535, else raise ArgumentError."""
    level = value if value is None else check_whole("white_level", value, 1)
    if level is not None and level > WHITE_16:
        raise ArgumentError(f"white_level must be at most {WHITE_16}, got {level}")
    return level


def find_white_level(paths: Iterable[Path]) -> int | None:
    """Find the white level of the camera that wrote the files of 16 bits; None if there is none."""
    brightest = None
    for path in paths:
        with suppress(DataError, OSError):  # raised again when the image is used
            if has_16_bits(path):
                brightest = max(brightest or 0, ImageFile(path).brightest())
    return None if brightest is None else lowest_white_level(brightest)


def lowest_white_level(brightest: int) -> int:
    """Return the lowest of `WHITE_LEVELS` that no value passes, where `brightest` is the highest value."""
    return next((level for level in WHITE_LEVELS if 0 < brightest <= level), WHITE_16)


def warn_if_dark(images: ImageSet | TensorSet) -> None:
    """Warn if no pixel of any image passes 1/8 of the range. Reads until one does, so mostly one image."""
    brightest = 0.0
    for index in range(len(images)):
        brightest = max(brightest, float(images[index][0].max()))
        if brightest > DARK:
            return
    if not len(images):
        return  # `fit` refuses an empty set
    warnings.warn(
        f"the brightest training pixel below {images.root} is {brightest:.3f} of 1: the images are almost black. Give "
        "the white_level (--white-level) of their camera, or scale their values to the range [0, 1]",
        stacklevel=4,
    )
