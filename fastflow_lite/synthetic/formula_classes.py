"""Six families of materials as a folder of image classes: a small stand-in for CIFAR-10."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fastflow_lite.files import build_folder
from fastflow_lite.synthetic.materials import Material

FORMULA_CLASSES = ("noise", "lattice", "cells", "leaves", "waves", "marks")  # in the order of `materials.FAMILIES`
FIRST_ROUND = 10_000  # the bundled weights were trained on materials of smaller numbers, none of which is drawn here


def draw_formula_classes(root: Path, train: int = 150, test: int = 40, side: int = 32) -> Path:
    """Draw `root/train/<class>` and `root/test/<class>`, unless `root` is there; return `root`.

    `train` and `test` are images per class, `side` is their size in pixels. As no two dogs are alike, every picture
    shows another material of its family: another scale, shape and color.
    """
    if root.is_dir():
        return root
    with build_folder(root) as unfinished:
        for family, name in enumerate(FORMULA_CLASSES):
            for k in range(train + test):
                number = len(FORMULA_CLASSES) * (FIRST_ROUND + k) + family
                picture = Material(number).render(np.random.default_rng(number), side)
                place = unfinished / ("train" if k < train else "test") / name / f"{k:03d}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((255 * picture + 0.5).astype(np.uint8)).save(place)
    return root
