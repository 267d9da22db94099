"""Folders of small images for tests: any names, each image another one."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from fastflow_lite.datasets import Data, ImageSet


def make_tree(folder: Path, *names: str, size: tuple[int, int] = (32, 32)) -> Path:
    """Write images of noise; `a/*3` stands for a/0.png, a/1.png, a/2.png. Masks (below mask folders) are white."""
    for name in numbered(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(name.encode())).integers(0, 255, (*size, 3)).astype(np.uint8)
        is_mask = {"ground_truth", "masks", "mask"}.intersection(part.casefold() for part in Path(name).parts)
        (Image.new("L", size[::-1], 255) if is_mask else Image.fromarray(pixels)).save(path)
    return folder


def numbered(names: Iterable[str]) -> list[str]:
    parts = [name.partition("*") for name in names]
    return [f"{name}{k}.png" for name, star, n in parts if star for k in range(int(n))] + [
        name for name, star, _ in parts if not star
    ]


def names_of(images: ImageSet) -> list[str]:
    """The paths of the images, relative to the root of the set."""
    return [sample.image.relative_to(images.root).as_posix() for sample in images.samples]


def counts(data: Data) -> tuple[int, int, dict[str, int]]:
    """The number of training images, of normal test images, and of the others by kind."""
    kinds = data.test.defects
    return len(data.train), kinds.count("good"), {k: kinds.count(k) for k in sorted(set(kinds) - {"good"})}
