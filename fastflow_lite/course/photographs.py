"""Real photographs where the data folder holds them, else drawn pictures."""

from __future__ import annotations

from pathlib import Path

from fastflow_lite.datasets import open_dataset
from fastflow_lite.datasets.opening import Data, data_root
from fastflow_lite.errors import check_choice

PHOTOGRAPHS = {  # name -> folder below the data folder, and what must stand beside its pictures
    "cookies": ("cookies", "cookies: Amazon.com, amazon-lookout-for-vision, CC BY-SA 4.0, resized"),
    "toothbrush": ("toothbrush", "toothbrush: MVTec AD, (c) MVTec Software GmbH, CC BY-NC-SA 4.0"),
    "bottle": ("mvtec/bottle", "bottle: MVTec AD, (c) MVTec Software GmbH, CC BY-NC-SA 4.0"),
}
DRAWN = "drawn from formulas, category {}"


def open_parts(photographs: str, drawn: str, image_size: int, root: str | Path | None = None) -> tuple[Data, str]:
    """Open the set `photographs`, or the category `drawn` of the toy set where the photographs are not there.

    Args:
        photographs: One of `PHOTOGRAPHS`, else ArgumentError; "" for the drawn set.
        drawn: A category of the toy set.
        image_size: The side of the images in pixels.
        root: The folder that holds data sets; by default that of FASTFLOW_LITE_DATA, else `data`.

    Returns:
        The data, and the caption that a figure of them must have: the origin and the license.
    """
    if photographs:
        folder, credit = PHOTOGRAPHS[check_choice("photographs", photographs, tuple(PHOTOGRAPHS))]
        if (data_root(root) / folder / "train").is_dir():
            return open_dataset(data_root(root) / folder, image_size=image_size), credit
    return open_dataset("toy", drawn, image_size=image_size), DRAWN.format(drawn)
