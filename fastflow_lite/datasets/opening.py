"""`open_dataset`: a data set by its name, or any folder, several folders or a CSV file by their paths."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastflow_lite.datasets import cifar10
from fastflow_lite.datasets.any_folder import HOW_TO_NAME, folder_samples, join_samples
from fastflow_lite.datasets.csv_list import csv_samples
from fastflow_lite.datasets.folders import HOW_TO_GET, category_samples
from fastflow_lite.datasets.image_set import GOOD, CategorySamples, ImageSet
from fastflow_lite.datasets.input_format import check_white_level, find_white_level
from fastflow_lite.datasets.near_duplicates import split_normal
from fastflow_lite.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Data:
    """One category: `train` holds normal images only, `test` both kinds, or nothing where there is no test set.

    `layout` is a sentence about what the folders were taken for, "" for data sets that are opened by name.
    """

    name: str
    category: str
    train: ImageSet
    test: ImageSet
    layout: str = ""


TEST_SHARE = 0.2  # of the normal images, for the test if there are defects but no folder divides the normal images


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
    name: str | Path | Sequence[str | Path],
    category: str | None = None,
    *,
    root: str | Path | None = None,
    image_size: int | tuple[int, int] = 256,
    protocol: str = "one_class",
    white_level: int | None = None,
    to_train: bool = True,
) -> Data:
    """Open one category of a data set.

    `name` is "toy" (drawn on first use), "mvtec", "btad" or "cifar10" (below `root`, whose default is the environment
    variable FASTFLOW_LITE_DATA, else `data`), the path of a folder or of a CSV file, or a list of such paths, which
    are joined. "formulas" is a small stand-in for CIFAR-10, drawn on first use. `image_size` is one number or (height,
    width). `protocol`, one of `cifar10.PROTOCOLS`, matters to "cifar10" and "formulas" alone. `white_level` is the
    value that becomes 1 in files of 16 bits, such as 4095 for a camera of 12 bits; by default `find_white_level` finds
    it in the training images. Raises DataError with what was looked for and what to do, ArgumentError for a name or a
    category of another type.

    The layouts of folders are in `folders` and `any_folder`, that of a CSV file in `csv_list`. If normal images are
    not divided but there are defects, a fifth of the normal ones is taken for the test by `split_normal`. Without
    defects all are for training, and `test` is empty. With `to_train=False` a path needs no image to train on: `train`
    is empty, and `test` holds all labeled images but those of a folder `train` or a split train.
    """
    size, level = height_and_width(image_size), check_white_level(white_level)
    if not isinstance(category, str | None):
        raise ArgumentError(f"category must be the name of a folder or of a class, got {category!r}")
    if category is not None and (Path(category).is_absolute() or ".." in Path(category).parts):
        raise DataError(f"category {category!r} leads out of the data set; it is the name of a folder inside")
    if isinstance(name, str) and name in OPENERS:
        found = OPENERS[name](Request(name, category, root, protocol))
    else:
        places = _places(name)
        found = _open_places(places, category, to_train)
        name = places[0].name if len(places) == 1 else found.category
    level = level or find_white_level(sample.image for sample in found.train or found.test)
    train, test = (
        ImageSet(samples, size, found.folder, found.category, level) for samples in (found.train, found.test)
    )
    return Data(name, found.category, train, test, found.layout)


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


def _places(name: Any) -> list[Path]:
    """Return the path or the paths that are given as the name of a data set."""
    given = [name] if isinstance(name, str | os.PathLike) else list(name) if isinstance(name, Iterable) else [name]
    if not all(isinstance(place, str | os.PathLike) for place in given):
        raise ArgumentError(f"name must be a data set, a path or a list of paths, got {name!r}")
    if isinstance(name, str) and name.isidentifier() and not Path(name).exists():  # as a data set is named
        raise DataError(f"{name} is no folder, and none of the data sets {', '.join(OPENERS)}: give one of these")
    return [_with_name(Path(place)) for place in given]


def _open_places(places: list[Path], category: str | None, to_train: bool) -> CategorySamples:
    """List the samples of one path, or of several joined, with the normal images divided, or all of them to judge."""
    share = _divide if to_train else _judge
    if not places:
        raise DataError("no folder is given")
    if category is not None and len(places) > 1:
        raise DataError(f"category {category!r} is of one folder, but {len(places)} are given: give their categories")
    if len(places) == 1:
        place = places[0]
        return share(_open_place(place, category, to_train), place if _is_csv(place) else None)
    paths = [Path(os.path.abspath(place)) for place in places]
    parts = [_open_place(path, None, to_train) for path in paths]
    folder = Path(os.path.commonpath([part.folder for part in parts]))
    layouts = "; ".join(f"{place}: {part.layout}" for place, part in zip(places, parts, strict=True))
    return share(join_samples(parts, folder, folder.name, layouts), None)


def _with_name(place: Path) -> Path:
    """Return the same place by a path that ends in its name, which tells the kind of its images: "." has none."""
    return place.resolve() if place.name in ("", "..") else place  # abspath would not go through a link before ".."


def _is_csv(place: Path) -> bool:
    return place.suffix.lower() == ".csv" and not place.is_dir()


def _open_place(place: Path, category: str | None, to_train: bool) -> CategorySamples:
    if _is_csv(place):
        if category is not None:
            raise DataError(f"category {category!r} is of a folder, but {place} is a file")
        return csv_samples(place, to_train)
    if category is not None and not (place / category).is_dir():
        return category_samples(place, category)  # its error has the categories that are there
    return folder_samples(place / category if category else place, to_train)


def _judge(found: CategorySamples, file: Path | None) -> CategorySamples:
    """Take all normal images that are not divided for the test. `file` is the CSV file that lists the images."""
    normal, layout = list(found.undivided), found.layout
    if not normal and not found.test:
        how = f"give images their kind in the column label, and test in a column split; {GOOD} is normal"
        how = how if file else "add a folder test with folders of good and of bad images"
        raise DataError(f"{file or found.folder} holds no image to judge ({layout}): {how}")
    if normal:
        layout += f"; all {len(normal)} normal images are judged, also any that were trained on"
    return found._replace(test=found.test + normal, undivided=(), layout=layout)


def _divide(found: CategorySamples, file: Path | None) -> CategorySamples:
    """Divide normal images for training and testing if there are defects and no other normal images to test on."""
    normal, layout = list(found.undivided), found.layout
    if not normal and not found.train:
        how = f"give normal images {GOOD} in the column label, and train in a column split" if file else HOW_TO_NAME
        raise DataError(f"{file or found.folder} holds no normal image to train on ({layout}): {how}")
    if not normal or not found.test or any(sample.defect == GOOD for sample in found.test):
        return found._replace(train=found.train + normal, undivided=())
    if len(normal) < 2:
        raise DataError(f"{found.folder} holds one normal image only ({normal[0].image}): add some")
    train, test = split_normal(ImageSet(normal, (1, 1), found.folder), TEST_SHARE)
    layout += f"; {len(test)} of {len(normal)} normal images are for the test, related ones on one side"
    return CategorySamples(
        found.folder, found.category, found.train + train.samples, found.test + test.samples, (), layout
    )


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
