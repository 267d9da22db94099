"""How far does the mean brightness of an image alone tell the good from the bad? A shortcut to know of.

    FASTFLOW_LITE_DATA=... python benchmarks/brightness.py mvtec/bottle mvtec/screw toy/weave
    FASTFLOW_LITE_DATA=... python benchmarks/brightness.py mvtec/screw --level runs/leveled

Prints, for each category, the mean gray value (0 to 1) of the training, good and defective test images, and its
image AUROC, taken in the direction that is better on the test set (an oracle). With --level, also writes copies of
the images in which that shortcut is closed: each multiplied so that its median is that of the training images.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from fastflow_lite.datasets import Data, ImageSet, open_dataset
from fastflow_lite.scoring.metrics import auroc


def pairs(images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Each image with its mask, read one at a time."""
    return (images[index] for index in range(len(images)))


def brightness(images: ImageSet) -> np.ndarray:
    """The mean gray value of each image."""
    return np.array([image.mean().item() for image, _ in pairs(images)])


def level(data: Data, folder: Path) -> None:
    """Write the category below `folder` with every image at the median of the training images; masks as they are."""
    target = float(np.median([np.median(image) for image, _ in pairs(data.train)]))
    for images in (data.train, data.test):
        for sample, (image, _) in zip(images.samples, pairs(images), strict=True):
            place = folder / data.category / sample.image.relative_to(images.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(image.numpy() * target / np.median(image), 0, 1).transpose(1, 2, 0)
            Image.fromarray((255 * pixels + 0.5).astype(np.uint8)).save(place.with_suffix(".png"))
    masks = Path("ground_truth")
    shutil.copytree(data.test.root / masks, folder / data.category / masks, dirs_exist_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=["mvtec/bottle", "mvtec/screw"], help="set/category")
    parser.add_argument("--level", type=Path, help="folder for the leveled copies")
    args = parser.parse_args()
    print("| data | train | test good | test defective | AUROC of brightness (oracle) |")
    print("| --- | --- | --- | --- | --- |")
    for name in args.data:
        data = open_dataset(*name.rsplit("/", 1), image_size=256)
        train, test, labels = brightness(data.train), brightness(data.test), data.test.labels
        groups = [f"{x.mean():.3f} ± {x.std():.3f}" for x in (train, test[~labels], test[labels])]
        area = auroc(labels, test)
        print(f"| {name} | {' | '.join(groups)} | {max(area, 1 - area):.3f} |")
        if args.level:
            level(data, args.level)


if __name__ == "__main__":
    main()
