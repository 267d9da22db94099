"""`open_dataset`: a data set by its name, or any folder in MVTec layout by its path."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastflow_lite.datasets import cifar10
from fastflow_lite.datasets.folders import HOW_TO_GET, category_samples
from fastflow_lite.datasets.image_set import CategorySamples, ImageSet
from fastflow_lite.datasets.input_format import check_white_level, find_white_level
from fastflow_lite.errors import DataError


@dataclass(frozen=True)
class Data:
    """One category: `train` holds normal images only, `test` both kinds, or nothing where there is no test set."""

    name: str
    category: str
    train: ImageSet
    test: ImageSet


@dataclass(frozen=True)
class Request:
    """What the caller of `open_dataset` chose: the arguments of an opener."""

    name: str
    category: str | None
    root: str | Path | None
    protocol: str

    @property
    def data_folder(self) -> Path:
        """The folder of a data set that is downloaded or put there by hand."""
        return data_root(self.root) / self.name

    @property
    def cache_folder(self) -> Path:
        """The folder of a data set that is drawn on first use."""
        given = self.root or os.environ.get("FASTFLOW_LITE_CACHE")
        if given:
            return Path(given) / self.name
        try:
            return Path.home() / ".cache" / "fastflow-lite" / self.name
        except RuntimeError as error:  # no HOME, and a user without an entry in the list of users
            raise DataError(f"{self.name} has no folder: give root, or set FASTFLOW_LITE_CACHE") from error


def open_dataset(
    name: str | Path,
    category: str | None = None,
    *,
    root: str | Path | None = None,
    image_size: int | tuple[int, int] = 256,
    protocol: str = "one_class",
    white_level: int | None = None,
) -> Data:
    """Open one category of a data set.

    `name` is "toy" (drawn on first use), "mvtec", "btad" or "cifar10" (below `root`, whose default is the environment
    variable FASTFLOW_LITE_DATA, else `data`) or the path of any folder in MVTec layout. "formulas" is a small
    stand-in for CIFAR-10, drawn on first use. `image_size` is one number or (height, width). `protocol`, one of
    `cifar10.PROTOCOLS`, matters to "cifar10" and "formulas" alone. `white_level` is the value that becomes 1 in files
    of 16 bits, such as 4095 for a camera of 12 bits; by default `find_white_level` finds it in the training images.
    Raises DataError with what was looked for and what to do.
    """
    size, level = height_and_width(image_size), check_white_level(white_level)
    if category is not None and (Path(category).is_absolute() or ".." in Path(category).parts):
        raise DataError(f"category {category!r} leads out of the data set; it is the name of a folder inside")
    if isinstance(name, str) and name in OPENERS:
        found = OPENERS[name](Request(name, category, root, protocol))
    else:
        found, name = category_samples(Path(name), category), Path(name).name
    level = level or find_white_level(sample.image for sample in found.train)
    train, test = (
        ImageSet(samples, size, found.folder, found.category, level) for samples in (found.train, found.test)
    )
    return Data(name, found.category, train, test)


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder where data sets lie: `root`, else FASTFLOW_LITE_DATA, else `data` in the working folder."""
    return Path(root or os.environ.get("FASTFLOW_LITE_DATA") or "data")


def height_and_width(image_size: Any) -> tuple[int, int]:
    """Return `image_size`, one number or (height, width), as a pair. DataError for anything else."""
    sides = (image_size, image_size) if np.ndim(image_size) == 0 else tuple(image_size)
    try:
        height, width = (operator.index(side) for side in sides)
    except (TypeError, ValueError):
        raise DataError(f"image_size must be a whole number or (height, width), got {image_size!r}") from None
    if min(height, width) < 1:
        raise DataError(f"image_size must be 1 or more, got {image_size}")
    return height, width


def _open_fetched(request: Request) -> CategorySamples:
    advice = f"{HOW_TO_GET}; `fastflow-lite fetch {request.name}` downloads it"
    return category_samples(request.data_folder, request.category, advice)


def _open_toy(request: Request) -> CategorySamples:
    from fastflow_lite.synthetic import toy

    category = request.category or toy.CATEGORIES[0]
    if category not in toy.CATEGORIES:
        raise DataError(f"the toy set has the categories {', '.join(toy.CATEGORIES)}, not {category!r}")
    return category_samples(toy.generate(request.cache_folder, categories=(category,)), category)


def _open_cifar10(request: Request) -> CategorySamples:
    return cifar10.class_samples(request.data_folder, request.category, request.protocol)


def _open_formulas(request: Request) -> CategorySamples:
    from fastflow_lite.synthetic.formula_classes import FORMULA_CLASSES, draw_formula_classes

    folder = draw_formula_classes(request.cache_folder)
    return cifar10.class_samples(folder, request.category, request.protocol, FORMULA_CLASSES)


OPENERS: dict[str, Callable[[Request], CategorySamples]] = {
    "toy": _open_toy,
    "mvtec": _open_fetched,
    "btad": _open_fetched,
    "cifar10": _open_cifar10,
    "formulas": _open_formulas,
}
