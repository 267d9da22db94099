"""Folders of other layouts than MVTec's: what the names of their folders tell, and nothing that they do not tell.

good/*.png, bad/*.png, ...     folders named after the kind of their images: a usual name of normal images, or a defect;
                               masks in ground_truth/, masks/ or mask/ beside them
*.png                          images without folders: all count as normal, unless the folder is named as a defect;
                               an image that is named as one is refused, part_ng_7.png but not no_defect_7.png
<line>/<day>/good/*.png        such folders at any depth

Where normal images are not divided into those for training and those for testing, `undivided` holds them. What may
mean two things is refused: images beside folders, and folders of images of which none is named as normal.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from fastflow_lite.datasets.folders import (
    category_samples,
    images_of_kind,
    mask_folder,
    samples_of_kinds,
    subfolder,
)
from fastflow_lite.datasets.image_set import DEFECT_NAMES, GOOD, CategorySamples, Sample, is_normal_name, plain_name
from fastflow_lite.datasets.listing import holds_image, is_image_file, list_images, visible_entries
from fastflow_lite.errors import DataError

PARTS = frozenset({"test", "val", "valid", "validation", "testing"})
HOW_TO_NAME = f"name the folder of normal images {GOOD}, ok or normal"


def folder_samples(place: Path, to_train: bool = True) -> CategorySamples:
    """List the samples of a folder in MVTec layout or any of the layouts above.

    Without `to_train` MVTec layout needs no `train`, and what is there is left out. Raises DataError for a folder
    that is missing, without images, or of an unclear layout.
    """
    if not place.is_dir():
        raise DataError(f"{place} {'is a file' if place.exists() else 'does not exist'}: give a folder or a CSV file")
    entries = visible_entries(place)
    folders, loose = [entry for entry in entries if entry.is_dir()], [p for p in entries if is_image_file(p)]
    divided = subfolder(place, "train") or (not to_train and subfolder(place, "test"))
    if divided or any(subfolder(folder, "train") for folder in folders):
        return category_samples(place, None, "give one of them", to_train)
    if loose and folders:
        raise DataError(
            f"image {loose[0]} lies beside the folder {folders[0].name}, so its kind is unclear: move it into a folder "
            f"of its kind, {place / GOOD} if it is normal"
        )
    if loose or not folders:
        return _images_alone(place)
    masks = mask_folder(place)
    kinds = [folder for folder in folders if folder != masks]
    if parts := [kind.name for kind in kinds if plain_name(kind.name) in PARTS]:
        raise DataError(
            f"{place} holds {parts[0]} but no train, so which images to train on is unclear: move normal images for "
            f"training to {place / 'train' / GOOD}"
            if to_train
            else f"{place} holds {parts[0]} but no test, so which images to judge is unclear: give {place / parts[0]}"
        )
    if any(is_normal_name(kind.name) or plain_name(kind.name) in DEFECT_NAMES for kind in kinds):
        return _by_kind(place, kinds, masks)
    return _nested(place, kinds, masks, to_train)


def join_samples(parts: list[CategorySamples], folder: Path, category: str, layout: str) -> CategorySamples:
    """Return the samples of several places as those of one. Raise DataError for an image that is in two of them."""
    train = [sample for part in parts for sample in part.train]
    test = [sample for part in parts for sample in part.test]
    undivided = [sample for part in parts for sample in part.undivided]
    seen: set[Path] = set()
    for sample in (*train, *test, *undivided):
        if sample.image in seen:
            raise DataError(f"image {sample.image} is in two of the folders: give each folder once")
        seen.add(sample.image)
    return CategorySamples(folder, category, train, test, undivided, layout)


def _images_alone(place: Path) -> CategorySamples:
    """List the images of a folder without folders, all of one kind: that of its name, else normal."""
    images = images_of_kind(place)
    if plain_name(place.name) in DEFECT_NAMES:
        layout = f"a folder of images, defects by its name {place.name}"
        return CategorySamples(place, place.name, [], [Sample(path, place.name) for path in images], layout=layout)
    for path in [] if is_normal_name(place.name) else images:
        if named := _defect_in(path.stem):
            raise DataError(
                f"image {path} is named as a defect ({named}), but lies among images that count as normal: move "
                f"normal images into {place / GOOD} and others into a folder of their kind, or give a CSV file"
            )
    layout = "a folder of images without folders in it: all count as normal"
    return CategorySamples(place, place.name, [], [], [Sample(path) for path in images], layout)


def _defect_in(name: str) -> str | None:
    """Return the word in the name of an image that says defect; None also where it is denied, as by "no defect"."""
    words = re.findall(r"[^\W\d_]+|\d+", name.casefold())
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word in DEFECT_NAMES and before not in ("no", "non", "not", "without") and after != "free":
            return word
    return None


def _by_kind(place: Path, kinds: list[Path], masks: Path | None) -> CategorySamples:
    """List the images of folders that are named after their kind."""
    if empty := [kind for kind in kinds if not holds_image(kind)]:
        warnings.warn(f"no image in {', '.join(map(str, empty))}", stacklevel=4)
    samples = samples_of_kinds([kind for kind in kinds if kind not in empty], masks)
    normal, test = ([s for s in samples if (s.defect == GOOD) == wanted] for wanted in (True, False))
    names = {wanted: [k.name for k in kinds if is_normal_name(k.name) == wanted] for wanted in (True, False)}
    layout = f"folders named after kinds: normal {', '.join(names[True]) or '(none)'}"
    layout += f"; defects {', '.join(names[False]) or '(none)'}" + (f"; masks in {masks.name}" if masks else "")
    return CategorySamples(place, place.name, [], test, normal, layout)


def _nested(place: Path, folders: list[Path], masks: Path | None, to_train: bool) -> CategorySamples:
    """Join the folders of `place`, each of which must hold folders that are named after their kind."""
    if masks:
        raise DataError(f"{masks} is not beside folders that are named after kinds: move it there, or {HOW_TO_NAME}")
    folders = [folder for folder in folders if holds_image(folder)]
    if not folders:
        list_images(place)  # raises the error for no image
    for folder in folders:
        if any(map(is_image_file, visible_entries(folder))):
            raise DataError(
                f"whether the images in {folder} are normal is unclear: {HOW_TO_NAME}, or give the paths of all "
                "folders of normal images"
            )
        if folder.resolve() in (place.resolve(), *place.resolve().parents):
            raise DataError(f"folder {folder} is a link to a folder that holds it: remove the link")
    parts = [folder_samples(folder, to_train) for folder in folders]
    layouts = "; ".join(dict.fromkeys(part.layout for part in parts))
    return join_samples(parts, place, place.name, f"{len(parts)} folders joined, each with {layouts}")
