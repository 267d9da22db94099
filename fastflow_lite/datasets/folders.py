"""Folders in the layout of MVTec AD: a category's normal images, test images and masks.

<category>/train/good/*.png        normal images, all there is to learn from
<category>/test/good/*.png         normal images
<category>/test/<defect>/*.png     anomalous images
<category>/ground_truth/<defect>/<id>_mask.png     masks: white on black, of the image's size

Case does not matter in these names, and `good` may be any of `NORMAL_NAMES`. Images may lie in subfolders. BTAD writes
`ok` for good and `ko` for its one kind of defect, and its masks have the names of their images. MVTec LOCO has a folder
of masks for each image. Without `test` there is nothing to evaluate, but a model can be trained. Normal images may lie
in `train` itself if it has no folder, and the folder of masks may be named as in `MASK_FOLDERS`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from fastflow_lite.datasets.image_set import DEFECT_NAMES, GOOD, CategorySamples, Sample, is_normal_name, plain_name
from fastflow_lite.datasets.listing import holds_image, is_image_file, list_images, visible_entries
from fastflow_lite.datasets.masks import find_masks
from fastflow_lite.errors import DataError

MASK_FOLDERS = ("ground_truth", "masks", "mask")
HOW_TO_GET = "set data_root or FASTFLOW_LITE_DATA to the folder that holds it"


def category_samples(
    base: Path, category: str | None, how_to_get: str = HOW_TO_GET, to_train: bool = True
) -> CategorySamples:
    """List the samples of `base/category`, or of `base` itself where no category is given.

    Raises DataError for a folder that is missing or empty, an image outside the folders that name its kind and an
    image without its mask. Warns of images that are not used and of a test set without normal images. `how_to_get`
    ends the message where nothing is found. Without `to_train` a folder `test` is enough, and nothing is for training.
    """
    folder = base / category if category else base
    train, test = subfolder(folder, "train"), subfolder(folder, "test")
    if train is None and (to_train or test is None):
        there = [p.name for p in (visible_entries(base) if base.is_dir() else []) if subfolder(p, "train")]
        hint = f"there are the categories {', '.join(there)}" if there else how_to_get
        raise DataError(f"no data set in MVTec layout at {folder} ({folder / 'train' / GOOD} is missing): {hint}")
    used = [train, test, mask_folder(folder)]
    if others := [entry.name for entry in visible_entries(folder) if entry not in used and holds_image(entry)]:
        warnings.warn(
            f"not used: the images in {', '.join(others)} of {folder}, which are neither train nor test", stacklevel=3
        )
    layout = f"MVTec layout: {', '.join(part.name for part in used if part)}"
    normal = _training_samples(train) if train and to_train else []
    return CategorySamples(folder, folder.name, normal, _test_samples(folder), layout=layout)


def _training_samples(train: Path) -> list[Sample]:
    entries = visible_entries(train)
    if any(map(is_image_file, entries)) and not any(entry.is_dir() for entry in entries):
        return [Sample(path) for path in images_of_kind(train)]
    kinds = _kinds(train)
    normal = [kind for kind in kinds if is_normal_name(kind.name)]
    others = [kind.name for kind in kinds if kind not in normal]
    if not normal:
        found = f", only {', '.join(others)}" if others else ""
        raise DataError(f"{train} holds no folder of normal images{found}: name it {GOOD}, ok or normal")
    if others:
        warnings.warn(
            f"not used: the images in {', '.join(others)} of {train}, since training is on normal images", stacklevel=4
        )
    return [Sample(path) for kind in normal for path in images_of_kind(kind)]


def _test_samples(folder: Path) -> list[Sample]:
    """List all test images. A folder may have no masks at all; with a ground_truth folder, each defect needs one."""
    test, masks = subfolder(folder, "test"), mask_folder(folder)
    if test is None:
        return []
    kinds = _kinds(test)
    if not kinds:
        raise DataError(f"folder {test} holds no folder of images: add them, or remove it to train without a test set")
    samples = samples_of_kinds(kinds, masks)
    if all(sample.defect != GOOD for sample in samples):
        warnings.warn(
            f"the test set {test} has no normal image, so all count as defects ({', '.join(k.name for k in kinds)}): "
            f"if one of these folders holds normal images, name it {GOOD}, ok or normal",
            stacklevel=4,
        )
    return samples


def samples_of_kinds(kinds: Sequence[Path], masks: Path | None) -> list[Sample]:
    """List the images of folders that are named after their kind, with their masks below `masks`."""
    samples: list[Sample] = []
    images: dict[Path, Path] = {}  # mask: image
    for sample in (sample for kind in kinds for sample in _samples_of_kind(kind, masks)):
        if sample.mask and images.setdefault(sample.mask, sample.image) != sample.image:
            raise DataError(
                f"test images {images[sample.mask]} and {sample.image} have the same mask {sample.mask}: give each its "
                f"own, in a folder of {masks} for each kind of defect"
            )
        samples.append(sample)
    return samples


def _samples_of_kind(kind: Path, masks: Path | None) -> list[Sample]:
    """List the images of one kind. Its masks lie in a folder of its name, or directly in `masks` if there is none."""
    images = images_of_kind(kind)
    if masks is None or is_normal_name(kind.name):
        return [Sample(path, kind.name) for path in images]
    place = subfolder(masks, kind.name)
    if place is None:
        place = masks if any(map(is_image_file, visible_entries(masks))) else masks / kind.name
    found = find_masks(images, kind, place)
    return [Sample(path, kind.name, mask) for path, mask in zip(images, found, strict=True)]


def images_of_kind(kind: Path) -> list[Path]:
    """List the images in `kind` and its subfolders, none of which may be named as the contrary, or as a mask."""
    images, is_normal = list_images(kind), is_normal_name(kind.name)
    names = {(path.parent, f"{path.stem}_mask") for path in images}
    if masks := [path for path in images if (path.parent, path.stem) in names]:
        raise DataError(f"{masks[0]} is named as a mask but lies among the images: move it below ground_truth")
    for folder in sorted({image.parent for image in images}):
        for name in folder.relative_to(kind).parts:
            if plain_name(name) in DEFECT_NAMES if is_normal else is_normal_name(name):
                raise DataError(
                    f"folder {folder} lies in {kind}, so its images would count as "
                    f"{'normal' if is_normal else 'defects'}: move it out, or rename it"
                )
    return images


def _kinds(part: Path) -> list[Path]:
    """List the folders of `part`, each named after the kind of its images."""
    entries = visible_entries(part)
    if loose := [entry for entry in entries if is_image_file(entry)]:
        raise DataError(
            f"image {loose[0]} is in no folder that names its kind: move it into one, {part / GOOD} if it is normal"
        )
    for entry in entries:
        if is_normal_name(entry.name):
            _check_folder(entry)
    return [entry for entry in entries if entry.is_dir()]


def _check_folder(entry: Path) -> None:
    if not entry.is_dir():
        raise DataError(f"{entry} is a file, but a folder of images is expected there: rename or remove it")


def mask_folder(folder: Path) -> Path | None:
    """Return the folder of masks in `folder`; DataError if there are two."""
    found = [place for name in MASK_FOLDERS if (place := subfolder(folder, name))]
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]} may both be the folder of masks: rename or remove one")
    return found[0] if found else None


def subfolder(folder: Path, name: str) -> Path | None:
    """Return the folder `name` in `folder`, whatever its case."""
    entries = visible_entries(folder) if folder.is_dir() else []
    found = [entry for entry in entries if entry.name.casefold() == name.casefold()]
    for entry in found:
        _check_folder(entry)
    if len(found) > 1 and folder / name not in found:
        raise DataError(f"{found[0]} and {found[1]} differ by case only: rename one of them")
    return folder / name if folder / name in found else found[0] if found else None
