"""CIFAR-10 as an anomaly data set: which classes are normal, from a folder of images or torchvision's files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from fastflow_lite.datasets.image_set import GOOD, CategorySamples, Sample
from fastflow_lite.datasets.listing import list_images
from fastflow_lite.errors import DataError
from fastflow_lite.files import build_folder
from fastflow_lite.machine import prepare_torchvision

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PROTOCOLS = ("one_class", "leave_one_out")
ARCHIVE_FOLDER = "cifar-10-batches-py"  # what the archive of the data set unpacks to


def class_samples(root: Path, category: str | None, protocol: str, classes: Sequence[str] = CLASSES) -> CategorySamples:
    """List the samples of the data set at `root`, where `image_folder` finds its images, under a protocol.

    `protocol` "one_class": the class `category` is normal and all others are anomalous, the reading under which the
    paper's 66.7 can be compared. "leave_one_out": `category` is anomalous and all others are normal. The test set is
    always all test images. `category` defaults to the first class. Raises DataError for an unknown class or protocol.
    """
    category = category or classes[0]
    if category not in classes:
        raise DataError(f"{root.name} has the classes {', '.join(classes)}, not {category!r}")
    if protocol not in PROTOCOLS:
        raise DataError(f"protocol must be one of {PROTOCOLS}, got {protocol!r}")
    folder = image_folder(root)
    normal = {category} if protocol == "one_class" else set(classes) - {category}
    train = [Sample(path) for name in classes if name in normal for path in list_images(folder / "train" / name)]
    test = [
        Sample(path, GOOD if name in normal else name)
        for name in classes
        for path in list_images(folder / "test" / name)
    ]
    return CategorySamples(folder, category, train, test)


def image_folder(root: Path) -> Path:
    """Return the folder with `train/<class>`: `root`, or `root/png`, written once from the files of torchvision.

    torchvision compares the checksums of its files first: they are pickles, and a pickle can run code. Raises
    DataError if neither kind of file is there, or if the files are not those that were published.
    """
    folder = root / "png"
    if (root / "train").is_dir():
        return root
    if folder.is_dir():
        return folder
    if not (root / ARCHIVE_FOLDER).is_dir():
        raise DataError(
            f"no CIFAR-10 at {root} (looked for {root / 'train'} and {root / ARCHIVE_FOLDER}): set data_root or "
            "FASTFLOW_LITE_DATA to the folder that holds it; `fastflow-lite fetch cifar10` downloads it"
        )
    prepare_torchvision()
    from torchvision.datasets import CIFAR10

    with build_folder(folder) as unfinished:
        try:
            for part in ("train", "test"):
                _write(CIFAR10(root, train=part == "train"), unfinished / part)
        except RuntimeError as error:  # raised by torchvision for a wrong checksum
            raise DataError(f"{root / ARCHIVE_FOLDER} is not CIFAR-10 as published ({error}): fetch it anew") from error
    return folder


def _write(images: Iterable[tuple[Image.Image, int]], folder: Path) -> None:
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for number, (image, label) in enumerate(images):
        image.save(folder / CLASSES[label] / f"{number:05d}.png")
