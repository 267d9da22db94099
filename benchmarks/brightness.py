"""How far does the mean brightness of an image alone tell the good from the bad? A shortcut to know of.

    FASTFLOW_LITE_DATA=... python benchmarks/brightness.py mvtec/bottle mvtec/screw toy/weave

Prints, for each category, the mean gray value (0 to 1) of the training, good and defective test images, and its
image AUROC, taken in the direction that is better on the test set (an oracle).
"""

from __future__ import annotations

import argparse

import numpy as np

from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.metrics import auroc


def brightness(images: ImageSet) -> np.ndarray:
    """The mean gray value of each image."""
    return np.array([image.mean().item() for image, _ in images])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=["mvtec/bottle", "mvtec/screw"], help="set/category")
    print(
        "| data | train | test good | test defective | AUROC of brightness (oracle) |\n| --- | --- | --- | --- | --- |"
    )
    for name in parser.parse_args().data:
        data = open_dataset(*name.split("/"), image_size=256)
        train, test, labels = brightness(data.train), brightness(data.test), data.test.labels
        groups = [f"{x.mean():.3f} ± {x.std():.3f}" for x in (train, test[~labels], test[labels])]
        area = auroc(labels, test)
        print(f"| {name} | {' | '.join(groups)} | {max(area, 1 - area):.3f} |")


if __name__ == "__main__":
    main()
