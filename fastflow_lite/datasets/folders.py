"""Folders in the layout of MVTec AD: a category's normal images, test images and masks.

<category>/train/good/*.png        normal images, all there is to learn from
<category>/test/good/*.png         normal images
<category>/test/<defect>/*.png     anomalous images
<category>/ground_truth/<defect>/<id>_mask.png     masks: white on black, of the image's size

BTAD writes `ok` for good and `ko` for its one kind of defect, and its masks have the names of their images.
"""

from __future__ import annotations

from pathlib import Path

from fastflow_lite.datasets.image_files import SUFFIXES, list_images
from fastflow_lite.datasets.image_set import GOOD, CategorySamples, Sample
from fastflow_lite.errors import DataError

NORMAL_FOLDERS = (GOOD, "ok")  # MVTec's name and BTAD's
HOW_TO_GET = "set data_root or FASTFLOW_LITE_DATA to the folder that holds it"


def category_samples(base: Path, category: str | None, how_to_get: str = HOW_TO_GET) -> CategorySamples:
    """List the samples of `base/category`, or of `base` itself where no category is given.

    Raises DataError for a folder that is missing or empty and for an image without its mask. `how_to_get` ends the
    message where nothing is found.
    """
    folder = base / category if category else base
    train = folder / "train"
    if not train.is_dir():
        there = sorted(p.parent.name for p in base.glob("*/train"))
        hint = f"there are the categories {', '.join(there)}" if there else how_to_get
        raise DataError(f"no data set in MVTec layout at {folder} ({train / GOOD} is missing): {hint}")
    normal = next((train / name for name in NORMAL_FOLDERS if (train / name).is_dir()), train / GOOD)
    return CategorySamples(folder, folder.name, [Sample(path) for path in list_images(normal)], _test_samples(folder))


def _test_samples(folder: Path) -> list[Sample]:
    """List all test images. A folder may have no masks at all; with a ground_truth folder, each defect needs one."""
    kinds = sorted(p for p in (folder / "test").glob("*") if p.is_dir() and not p.name.startswith("."))
    if not kinds:
        raise DataError(f"folder {folder / 'test'} is missing or holds no folder of images")
    with_masks = (folder / "ground_truth").is_dir()
    samples = []
    for kind in kinds:
        if kind.name in NORMAL_FOLDERS:
            samples += [Sample(path) for path in list_images(kind)]
        else:
            samples += [Sample(path, kind.name, _mask_of(path) if with_masks else None) for path in list_images(kind)]
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
