"""From normal images to a detector: divide them, train on most, set the threshold by the others."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import torch
from torch.utils.data import Dataset, Subset

from fastflow_lite.backbones import default_backbone, default_weights
from fastflow_lite.config import FastFlowConfig
from fastflow_lite.datasets.decoding import image_size as size_of_file
from fastflow_lite.datasets.image_files import WHITE_16, ImageFile
from fastflow_lite.datasets.image_inputs import is_one_image, named_images, read_input, resized, size_of
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.datasets.in_memory import TensorSet, as_normal_set
from fastflow_lite.datasets.input_format import check_white_level, lowest_white_level
from fastflow_lite.datasets.inspection import warn_of_data
from fastflow_lite.datasets.near_duplicates import split_normal
from fastflow_lite.datasets.opening import Data, height_and_width, open_dataset
from fastflow_lite.detection.calibration import check_rule
from fastflow_lite.detection.detector import POLYGONS_AT, Detector
from fastflow_lite.detection.ignored_region import Ignored, read_ignored
from fastflow_lite.detection.tiled_set import TiledSet
from fastflow_lite.detection.tiling import Tiles, check_holds_tile, cut_tiles
from fastflow_lite.errors import ArgumentError, DataError
from fastflow_lite.machine import choose_device
from fastflow_lite.model import FastFlow
from fastflow_lite.scoring.thresholds import Threshold, needed_images
from fastflow_lite.training import recipes
from fastflow_lite.training.settings import Settings, SettingsOptions
from fastflow_lite.training.trainer import fit

LEAST_SHARE, MOST_SHARE = 0.1, 0.25  # of the normal images that set the threshold


def train_detector(
    source: Any,
    *,
    image_size: int | tuple[int, int] | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    backbone: str | None = None,
    weights: str | Path | None = "auto",
    config: FastFlowConfig | None = None,
    rule: str | float | Threshold = "conformal",
    alpha: float = 0.05,
    held_out: float | None = None,
    validation: ImageSet | None = None,
    ignore: Ignored | None = None,
    white_level: int | None = None,
    device: str = "auto",
    checkpoint: str | Path | None = None,
    progress: bool = True,
    settings: Settings | None = None,
    **options: Unpack[SettingsOptions],
) -> Detector:
    """Train a detector.

    Args:
        source: A folder or what else `open_dataset` opens (its normal training images are used), a `Data`, an
            `ImageSet`, or normal images in any form that `detector(...)` takes, kept in memory.
        image_size: A number or (height, width) that images are brought to; default: the paper's for the backbone, or
            the size of the set.
        tile: Train on and judge square tiles of this many pixels a side, cut from each image at its own size, in place
            of bringing images to `image_size`. For images whose defects would vanish when they are resized. A
            multiple of the backbone's largest stride, such as 256.
        overlap: How many pixels neighboring tiles share at least; default a quarter of `tile`.
        backbone: See `FastFlow`.
        weights: See `FastFlow`; or "auto": "imagenet" where that extra is installed and `backbone` is not another
            network, else "bundled".
        config: The configuration of the model; default: that of the recipe "ours" over `backbone`.
        rule: How the threshold is set; see `calibration.threshold_of`.
        alpha: The rate of false alarms that the rule aims at.
        held_out: Share of the normal images that set the threshold and are not trained on; default: `share_for`.
        validation: A labeled `ImageSet` for `rule="best_f1"`. Not the test set.
        ignore: The part of all images in which nothing is an alarm; see `ignored_region.read_ignored`.
        white_level: See `open_dataset`.
        device: "auto", "cpu" or the name of another device of torch.
        checkpoint: A file that keeps every epoch; the same call after an interruption goes on.
        progress: Whether to show progress.
        settings: The settings of the training, see `fit`; default: those of the recipe "ours".
        **options: Fields of `Settings` that replace those of `settings`, such as `epochs=4` and `seed=1`.

    Raises:
        ArgumentError: An argument has a value that it cannot have.
        DataError: The images cannot be used; the message names the file.
        WeightsError: The weights cannot be had.
    """
    check_rule(rule, alpha, validation)
    settings = (settings or recipes.training_settings("ours")).changed(**options)
    if config is not None and backbone not in (None, config.backbone):
        raise ArgumentError(f"backbone={backbone!r} is given beside a config of {config.backbone!r}: leave one out")
    weights = default_weights(config.backbone if config else backbone) if weights == "auto" else weights
    config = config or replace(recipes.model_config("ours", backbone or default_backbone(weights)), seed=settings.seed)
    tiles = Tiles.checked(tile, overlap)
    if tiles is not None and image_size is not None:
        raise ArgumentError(f"give image_size={image_size} or tile={tile}, not both: tiles are cut from whole images")
    source = _opened(source, tile or image_size or recipes.image_size(config.backbone), white_level)
    if isinstance(source, Data):
        warn_of_data(source)
    images = normal_images(source, tile or image_size or recipes.image_size(config.backbone), white_level, tiles)
    _check_given(images, image_size, white_level)
    if ignore is not None:  # an error after the training would lose the model
        read_ignored(ignore, POLYGONS_AT if tiles is not None else images.size)
    train, held = divide(images, held_out if held_out is not None else share_for(len(images), alpha), settings.seed)
    model = FastFlow(weights=weights, config=config).to(choose_device(device))
    train = train if tiles is None else cut(train, tiles)
    model.backbone.check_size(train.size)
    history = fit(model, train, settings, checkpoint=checkpoint, progress=progress)
    detector = Detector.calibrate(
        model,
        held,
        rule=rule,
        alpha=alpha,
        validation=validation,
        ignore=ignore,
        tile=tile,
        overlap=overlap,
        train_sha256=history.train_sha256,
    )
    detector.history = history
    return detector


def share_for(images: int, alpha: float) -> float:
    """Return the share of normal images to hold out: 10 %, or as many as a rate of `alpha` needs, at most 25 %.

    >>> [round(share_for(images, alpha=0.05) * images) for images in (40, 100, 300)]
    [10, 19, 30]
    """
    return min(MOST_SHARE, max(LEAST_SHARE, needed_images(alpha) / max(images, 1)))


def normal_images(
    source: Any, image_size: int | tuple[int, int], white_level: int | None, tiles: Tiles | None = None
) -> ImageSet | TensorSet:
    """Return the normal images of `source` as a set of one size; to be cut into `tiles`, at their own size.

    DataError if an image is smaller than a tile, and for images in memory of several sizes.
    """
    source = _opened(source, image_size, white_level)
    if isinstance(source, Data):
        source = source.train
    if isinstance(source, ImageSet | TensorSet) or (isinstance(source, Dataset) and not isinstance(source, list)):
        images = as_normal_set(source, "source")
    else:
        images = _in_memory(source, None if tiles is not None else height_and_width(image_size), white_level)
    if tiles is not None:
        _check_whole_images(images, tiles)
    return images


def _opened(source: Any, image_size: int | tuple[int, int], white_level: int | None) -> Any:
    """Return the data set at a path or at several, anything else as it is."""
    if isinstance(source, str | os.PathLike) or _are_folders(source):
        return open_dataset(source, image_size=image_size, white_level=white_level)
    return source


def cut(images: ImageSet | TensorSet, tiles: Tiles) -> ImageSet | TensorSet:
    """Return all tiles of the images as a set."""
    if isinstance(images, ImageSet):
        return TiledSet(images, *tiles)
    pixels = torch.cat([cut_tiles(images[k][0], *tiles) for k in range(len(images))])
    return TensorSet(pixels, images.root, images.white_level)


def divide(images: ImageSet | TensorSet, share: float, seed: int) -> tuple[ImageSet | TensorSet, ImageSet | TensorSet]:
    """Return the images to train on, and those that set the threshold: image files by `split_normal`."""
    if not 0 < share < 1:
        raise ArgumentError(f"held_out must be between 0 and 1, got {share}")
    if isinstance(images, ImageSet):
        return split_normal(images, share, seed)
    if len(images) < 2:
        raise DataError(f"a detector needs two images or more, one to set the threshold, got {len(images)}")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(max(1, round(share * len(images))), len(images) - 1)
    parts = sorted(order[count:]), sorted(order[:count])
    rest, held = (
        TensorSet(Subset(images.source, part), images.root, images.white_level)  # type: ignore[arg-type]
        for part in parts
    )
    return rest, held


def _are_folders(source: Any) -> bool:
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and all(isinstance(place, str | os.PathLike) and not is_one_image(place) for place in source)
    )


def _in_memory(source: Any, size: tuple[int, int] | None, white_level: int | None) -> TensorSet:
    """Return images in memory brought to `size`, or at their own size, which must be one for all, with None.

    `white_level` of images of 16 bits is found as for files where it is None.
    """
    images, of_16_bits, brightest = list[torch.Tensor](), list[int](), 0
    level = check_white_level(white_level)
    for name, one in named_images(source):
        image = read_input(name, one, level or WHITE_16)
        if level is None and isinstance(image, ImageFile) and image.has_16_bits:
            of_16_bits.append(len(images))
            brightest = max(brightest, image.brightest())
        images.append(resized(image, size or size_of(image)))
        if images[-1].shape != images[0].shape:
            height, width = size_of(image)
            raise DataError(
                f"{name} is {width} x {height} pixels, and others are not: to cut tiles from images of several sizes, "
                "write them to files and give the folder"
            )
    if not images:
        raise DataError("source holds no image")
    if of_16_bits:  # scaled now, since a generator gives its images once
        level = lowest_white_level(brightest)
        for index in of_16_bits:
            images[index] = (images[index] * (WHITE_16 / level)).clamp(max=1)  # rounding may pass 1
    return TensorSet(torch.stack(images), "source", level)


def _check_given(
    images: ImageSet | TensorSet, image_size: int | tuple[int, int] | None, white_level: int | None
) -> None:
    """Raise ArgumentError where an argument is not what a set that was made before has."""
    if image_size is not None and height_and_width(image_size) != images.size:
        height, width = images.size
        raise ArgumentError(
            f"image_size={image_size} is given, but the images of source are {height} x {width} (height x width): "
            "leave it out, or open the source with this size"
        )
    if white_level is not None and white_level != images.white_level:
        raise ArgumentError(
            f"white_level={white_level} is given, but source is read with {images.white_level}: leave it out, or open "
            "the source with this level"
        )


def _check_whole_images(images: ImageSet | TensorSet, tiles: Tiles) -> None:
    """Raise an error, before anything is trained, if images are tiles already or smaller than one."""
    if isinstance(images, TiledSet):
        raise ArgumentError("source is a set of tiles: give the images that they were cut from, and tile=...")
    if isinstance(images, ImageSet):
        for sample in images.samples:
            check_holds_tile(sample.image, size_of_file(sample.image), tiles.side)
    else:
        check_holds_tile(images.root, images.size, tiles.side)
