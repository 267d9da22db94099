"""The sets that `choose.py` trains on, and their held-out normal images with planted defects."""

from __future__ import annotations

import argparse
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from choose_parts.planted import FAMILIES, VERSION, plant
from choose_parts.variation import vary
from fastflow_lite.datasets import ImageSet, data_root, open_dataset
from fastflow_lite.datasets.near_duplicates import split_normal
from fastflow_lite.datasets.opening import Data
from fastflow_lite.errors import DataError
from fastflow_lite.files import write_atomically

SETS = ("bottle", "screw", "toothbrush", "cookies", "weave", "part")
TOY, MVTEC = ("weave", "part"), ("bottle", "screw")
SHARE, LEAST = 0.1, 5  # of the normal images that are held out, and how many at least
VARIED = 3  # other photographs of each held-out image, see `variation`
CACHE = Path(tempfile.gettempdir()) / "fastflow-lite-planted"
EACH = 20  # planted images of a family, their strengths spread evenly


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the folders and the sets."""
    parser.add_argument(
        "--runs", type=Path, required=True, help="folder of the records and models, outside the repository"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the planted images (default: %(default)s)")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))


@dataclass
class Planted:
    """Held-out normal images `(N, H, W, 3)` uint8; and for each family images with defects, and their masks."""

    normal: NDArray[np.uint8]
    images: dict[str, NDArray[np.uint8]]
    masks: dict[str, NDArray[np.bool_]]


def open_set(name: str, image_size: int) -> Data:
    """Open one of `SETS`. DataError when its folder is missing."""
    if name in TOY:
        return open_dataset("toy", name, image_size=image_size)
    return (
        open_dataset("mvtec", name, image_size=image_size)
        if name in MVTEC
        else open_dataset(data_root() / name, image_size=image_size)
    )


def available(names: list[str]) -> list[str]:
    """Return the sets that are there, and print which are not."""
    found = []
    for name in names:
        try:
            open_set(name, 256)
        except DataError as error:
            print(f"{name} is left out: {error}", flush=True)
        else:
            found.append(name)
    return found


def divide(data: Data, seed: int) -> tuple[ImageSet, ImageSet]:
    """Return the normal images to train on, and a tenth, at least five, that are not."""
    return split_normal(data.train, max(SHARE, LEAST / len(data.train)), seed)


def planted(name: str, held_out: ImageSet, seed: int, cache: Path) -> Planted:
    """Plant defects of every family in held-out images, or read them from the folder `cache`, where they are kept."""
    key = f"{VERSION} {EACH} {held_out.fingerprint()}".encode()
    file = cache / f"{name}-{held_out.size[0]}x{held_out.size[1]}-{seed}-{zlib.crc32(key):08x}.npz"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = make_planted(held_out, [zlib.crc32(name.encode()), seed], EACH)
        arrays: dict[str, NDArray[Any]] = {"normal": made.normal}
        for family in FAMILIES:
            arrays |= {f"{family} images": made.images[family], f"{family} masks": made.masks[family]}

        def write(place: Path) -> None:
            with place.open("wb") as opened:
                np.savez(opened, **arrays)  # type: ignore[arg-type]  # its stubs take the arrays for the option

        write_atomically(file, write)
    with np.load(file) as kept:
        images, masks = ({family: kept[f"{family} {kind}"] for family in FAMILIES} for kind in ("images", "masks"))
        return Planted(kept["normal"], images, masks)


def make_planted(held_out: ImageSet, seed: list[int], each: int) -> Planted:
    """Plant `each` defects of every family, in one normal image after another: held-out ones and variations of them."""
    originals = [held_out[k][0].permute(1, 2, 0).numpy() for k in range(len(held_out))]
    varied = [
        vary(np.random.default_rng([*seed, len(FAMILIES), k, number]), image)
        for number in range(VARIED)
        for k, image in enumerate(originals)
    ]
    normal = np.stack([to_uint8(image) for image in originals + varied])
    images, masks = {}, {}
    for number, family in enumerate(FAMILIES):
        pairs = []
        for k in range(each):
            rng = np.random.default_rng([*seed, number, k])
            image = normal[int(rng.integers(len(normal)))].astype(np.float32) / 255
            pairs.append(plant(rng, image, family, (1 + 7 * k % each) / each))  # 7: strengths in no order
        images[family] = np.stack([to_uint8(image) for image, _ in pairs])
        masks[family] = np.stack([mask for _, mask in pairs])
    return Planted(normal, images, masks)


def to_uint8(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    return (image * 255).round().clip(0, 255).astype(np.uint8)


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Return images `(N, H, W, 3)` uint8 as a tensor `(N, 3, H, W)` in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
