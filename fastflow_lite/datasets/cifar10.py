"""CIFAR-10 as an anomaly data set: which classes are normal, from a folder of images or torchvision's files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fastflow_lite.datasets.image_set import GOOD, SUFFIXES, Sample
from fastflow_lite.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PROTOCOLS = ("one_class", "leave_one_out")
FORMULAS = ("noise", "lattice", "cells", "leaves", "waves", "marks")  # the stand-in's classes: `materials.FAMILIES`
UNSEEN = 10_000  # the bundled weights were made with materials of smaller numbers
ARCHIVE_FOLDER = "cifar-10-batches-py"  # what the archive of the data set unpacks to


Split = tuple[Path, str, list[Sample], list[Sample]]  # folder, category, to train on, to test on


def samples(root: Path, category: str | None, protocol: str, classes: Sequence[str] = CLASSES) -> Split:
    """The folder of images, the category, and the samples to train on and to test on.

    `protocol` "one_class": the class `category` is normal, the other nine are anomalous, the reading under
    which the paper's 66.7 can be compared. "leave_one_out": `category` is anomalous, the other nine are normal.
    The test set is always all test images. `root` holds `train/<class>` and `test/<class>`, or the files that
    torchvision reads, whose images are written there as PNG once. DataError otherwise.
    """
    category = category or classes[0]
    if category not in classes:
        raise DataError(f"{root.name} has the classes {', '.join(classes)}, not {category!r}")
    if protocol not in PROTOCOLS:
        raise DataError(f"protocol must be one of {PROTOCOLS}, got {protocol!r}")
    folder = root if (root / "train").is_dir() else _as_images(root)
    normal = {category} if protocol == "one_class" else set(classes) - {category}
    train = [Sample(path) for name in classes if name in normal for path in _images(folder / "train" / name)]
    test = [
        Sample(path, GOOD if name in normal else name) for name in classes for path in _images(folder / "test" / name)
    ]
    return folder, category, train, test


def _images(folder: Path) -> Iterable[Path]:
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"folder {folder} is missing or holds no image")
    return found


def _as_images(root: Path) -> Path:
    """The folder of PNG files that torchvision's files are written out to, made at the first call.

    torchvision compares the files' checksums first: they are pickles, and a strange one could run code.
    """
    folder = root / "png"
    if folder.is_dir():
        return folder
    if not (root / ARCHIVE_FOLDER).is_dir():
        raise DataError(
            f"no CIFAR-10 at {root} (looked for {root / 'train'} and {root / ARCHIVE_FOLDER}): set data_root or "
            "FASTFLOW_LITE_DATA to the folder that holds it; `fastflow-lite fetch cifar10` downloads it"
        )
    from torchvision.datasets import CIFAR10

    unfinished = Path(tempfile.mkdtemp(prefix=".png.", dir=root))
    try:
        for part in ("train", "test"):
            _write(CIFAR10(root, train=part == "train"), unfinished / part)
        os.replace(unfinished, folder)
    except RuntimeError as error:  # torchvision's word for a wrong checksum
        raise DataError(f"{root / ARCHIVE_FOLDER} is not CIFAR-10 as published ({error}): fetch it anew") from error
    except OSError:
        if not folder.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _write(images: Iterable[tuple[Image.Image, int]], folder: Path) -> None:
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for number, (image, label) in enumerate(images):
        image.save(folder / CLASSES[label] / f"{number:05d}.png")


def draw_formulas(root: Path, train: int = 150, test: int = 40, side: int = 32) -> Path:
    """Six families of formulas as a folder of classes, to try the protocols where CIFAR-10 is not at hand.

    As no two dogs are alike, every picture is another material of its family: another scale, shape and color.
    """
    from fastflow_lite.synthetic.materials import Material

    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        for family, name in enumerate(FORMULAS):
            for k in range(train + test):
                number = UNSEEN * len(FORMULAS) + len(FORMULAS) * k + family
                picture = Material(number).render(np.random.default_rng(number), side)
                place = unfinished / ("train" if k < train else "test") / name / f"{k:03d}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((255 * picture + 0.5).astype(np.uint8)).save(place)
        os.replace(unfinished, root)
    except OSError:
        if not root.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return root
