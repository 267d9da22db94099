"""Image sets for anomaly detection: the MVTec AD layout, BTAD, CIFAR-10, the embedded toy set, folders like them.

<category>/train/good/*.png        normal images, all there is to learn from
<category>/test/good/*.png         normal images
<category>/test/<defect>/*.png     anomalous images
<category>/ground_truth/<defect>/<id>_mask.png     where: white on black, of the image's size

BTAD says `ok` for good and `ko` for its one kind of defect, and its masks are named as their images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fastflow_lite.datasets.image_files import read_image, read_mask, resize
from fastflow_lite.errors import DataError
from fastflow_lite.files import fingerprint

if TYPE_CHECKING:
    from fastflow_lite.datasets.cifar10 import Split

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
READERS = 4  # threads that decode files
GOOD = "good"
NORMAL_FOLDERS = (GOOD, "ok")  # MVTec's name and BTAD's
NAMED = ("mvtec", "btad")  # data sets below the data root, a folder a category


@dataclass(frozen=True)
class Sample:
    """One image on disk. `mask` is None for a normal image, and where a data set has no masks at all."""

    image: Path
    defect: str = GOOD
    mask: Path | None = None


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """Images of one size with their masks: `(3, H, W)` float32 in [0, 1] and `(H, W)` bool.

    `samples` lie below `root`, whose name is the `category` unless one is given. Every error names the file it
    is about.
    """

    def __init__(self, samples: Sequence[Sample], size: tuple[int, int], root: Path, category: str = "") -> None:
        self.samples, self.size, self.root = list(samples), size, root
        self.category = category or root.name

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.samples[index]
        image = read_image(sample.image)
        mask = torch.zeros(image.shape[1:], dtype=torch.bool)
        if sample.mask is not None:
            mask = read_mask(sample.mask, sample.image, (image.shape[1], image.shape[2]))
        return resize(image, self.size), resize(mask[None], self.size, nearest=True)[0]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and masks in order, `size` at a time. While one batch is worked on, the next is read."""
        parts = [range(start, min(start + size, len(self))) for start in range(0, len(self), size)]
        with ThreadPoolExecutor(READERS) as pool:  # decoding leaves Python's lock alone
            reading = [pool.submit(self.__getitem__, i) for part in parts[:1] for i in part]
            for following in [*parts[1:], range(0)][: len(parts)]:
                items = [item.result() for item in reading]
                reading = [pool.submit(self.__getitem__, i) for i in following]
                yield torch.stack([image for image, _ in items]), torch.stack([mask for _, mask in items])

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
        """The images at `indices`."""
        return ImageSet([self.samples[i] for i in indices], self.size, self.root, self.category)

    def split(self, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """The rest, and a random `fraction` of the images (at least one of each), both in order."""
        if len(self) < 2 or not 0 < fraction < 1:
            raise DataError(f"cannot hold out a fraction {fraction} of {len(self)} images below {self.root}")
        count = min(max(1, round(fraction * len(self))), len(self) - 1)
        order = np.random.default_rng(seed).permutation(len(self))
        return self.subset(sorted(order[count:])), self.subset(sorted(order[:count]))

    def fingerprint(self) -> str:
        """sha256 over names and contents of all images and masks."""
        masks = [s.mask for s in self.samples if s.mask is not None]
        return fingerprint(self.root, [s.image for s in self.samples] + masks)


@dataclass(frozen=True)
class Data:
    """One category: `train` holds normal images only, `test` both kinds."""

    name: str
    category: str
    train: ImageSet
    test: ImageSet


def open_dataset(
    name: str | Path,
    category: str | None = None,
    *,
    root: str | Path | None = None,
    image_size: int | tuple[int, int] = 256,
    protocol: str = "one_class",
) -> Data:
    """Open one category of a data set.

    `name` is "toy" (embedded, made on first use), "mvtec", "btad" or "cifar10" (below `root`, whose default
    is the environment variable FASTFLOW_LITE_DATA, else `data`) or the path of any folder in MVTec layout.
    "formulas" is a small stand-in for CIFAR-10. `image_size` is one number or (height, width).
    `protocol`, one of `cifar10.PROTOCOLS`, matters to these two alone.
    Raises DataError with what was looked for and what to do.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    size = (height, width)
    if min(size) < 1:
        raise DataError(f"image_size must be 1 or more, got {image_size}")
    if category is not None and (Path(category).is_absolute() or ".." in Path(category).parts):
        raise DataError(f"category {category!r} leads out of the data set; it is the name of a folder inside")
    if name in ("cifar10", "formulas"):
        folder, category, train, test = _classes(str(name), category, root, protocol)
        train_set, test_set = (ImageSet(samples, size, folder, category) for samples in (train, test))
        return Data(name, category, train_set, test_set)
    folder = _toy_folder(category, root) if name == "toy" else _category_folder(name, category, root)
    train = [Sample(path) for path in _images(_normal_folder(folder / "train"))]
    return Data(
        name=str(name) if name in ("toy", *NAMED) else Path(name).name,
        category=folder.name,
        train=ImageSet(train, size, folder),
        test=ImageSet(_test_samples(folder), size, folder),
    )


def data_root(root: str | Path | None = None) -> Path:
    """Where data sets lie: `root`, else FASTFLOW_LITE_DATA, else `data` in the working folder."""
    return Path(root or os.environ.get("FASTFLOW_LITE_DATA") or "data")


def _category_folder(name: str | Path, category: str | None, root: str | Path | None) -> Path:
    base = data_root(root) / name if name in NAMED else Path(name)
    folder = base / category if category else base
    if not (folder / "train").is_dir():
        hint = "set data_root or FASTFLOW_LITE_DATA to the folder that holds it"
        if name in NAMED:
            hint += f"; `fastflow-lite fetch {name}` downloads it"
        there = sorted(p.parent.name for p in base.glob("*/train"))
        if there:
            hint = f"there are the categories {', '.join(there)}"
        raise DataError(f"no data set in MVTec layout at {folder} ({folder / 'train' / GOOD} is missing): {hint}")
    return folder


def _toy_folder(category: str | None, root: str | Path | None) -> Path:
    from fastflow_lite.synthetic import toy

    category = category or toy.CATEGORIES[0]
    if category not in toy.CATEGORIES:
        raise DataError(f"the toy set has the categories {', '.join(toy.CATEGORIES)}, not {category!r}")
    return toy.generate(_drawn("toy", root), categories=(category,)) / category


def _classes(name: str, category: str | None, root: str | Path | None, protocol: str) -> Split:
    from fastflow_lite.datasets import cifar10

    if name == "cifar10":
        return cifar10.samples(data_root(root) / name, category, protocol)
    return cifar10.samples(cifar10.draw_formulas(_drawn(name, root)), category, protocol, cifar10.FORMULAS)


def _drawn(name: str, root: str | Path | None) -> Path:
    """Where a data set is kept that formulas draw."""
    cache = os.environ.get("FASTFLOW_LITE_CACHE") or Path.home() / ".cache" / "fastflow-lite"
    return Path(root or cache) / name


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"folder {folder} is missing")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise DataError(f"folder {folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return found


def _normal_folder(train: Path) -> Path:
    return next((train / name for name in NORMAL_FOLDERS if (train / name).is_dir()), train / GOOD)


def _test_samples(folder: Path) -> list[Sample]:
    """All test images. Masks may be absent altogether; if there is a ground_truth folder, none may lack."""
    kinds = sorted(p for p in (folder / "test").glob("*") if p.is_dir() and not p.name.startswith("."))
    if not kinds:
        raise DataError(f"folder {folder / 'test'} is missing or holds no folder of images")
    with_masks = (folder / "ground_truth").is_dir()
    samples = []
    for kind in kinds:
        if kind.name in NORMAL_FOLDERS:
            samples += [Sample(path) for path in _images(kind)]
        else:
            samples += [Sample(path, kind.name, _mask_of(path) if with_masks else None) for path in _images(kind)]
    return samples


def _mask_of(image: Path) -> Path:
    masks = image.parents[2] / "ground_truth" / image.parent.name
    for stem in (f"{image.stem}_mask", image.stem):
        for suffix in (".png", *sorted(SUFFIXES - {".png"})):
            if (masks / (stem + suffix)).is_file():
                return masks / (stem + suffix)
    raise DataError(
        f"test image {image} has no mask: {masks / f'{image.stem}_mask.png'} is missing. Add it, or remove the "
        "whole ground_truth folder to go without pixel metrics"
    )
