"""Small gray pictures of image files, and what they have in common: their likeness as correlation.

Two thumbnails of aligned parts correlate highly although they show different parts: most of what they show is the same
in all images of the set. So `details` removes that: the mean of the set, and everything coarser than a few pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fastflow_lite.datasets.decoding import DEPTH_8, open_reduced
from fastflow_lite.datasets.image_files import WHITE_16
from fastflow_lite.datasets.read_ahead import reader_threads
from fastflow_lite.errors import DataError

SIDE = 64  # pixels of a thumbnail's side
SAME_OBJECT = 0.95  # correlation of the details of two thumbnails from which on they show the same object
WINDOW = 5  # pixels of the side of the mean that `details` subtracts
BLOCK = 512  # images that are compared at once
MOST_TURNED = 3000  # images of a set up to which flipped and turned ones are compared too


def read_thumbnails(paths: Sequence[Path], white_level: int = WHITE_16) -> tuple[Tensor, dict[int, DataError]]:
    """Read gray thumbnails `(N, 64, 64)` in [0, 1] of image files by threads.

    `white_level` is the value that becomes 1 in files of 16 bits. A file that cannot be read gives a black thumbnail;
    its error stands in the second value under its index.
    """
    small, errors = torch.zeros(len(paths), SIDE, SIDE), {}

    def read(index: int) -> None:
        try:
            small[index] = torch.from_numpy(_thumbnail(paths[index], white_level))
        except DataError as error:
            errors[index] = error

    with ThreadPoolExecutor(reader_threads(), thread_name_prefix="thumbnails") as pool:
        list(pool.map(read, range(len(paths))))
    return small, dict(sorted(errors.items()))


def _thumbnail(path: Path, white_level: int) -> np.ndarray:
    picture = open_reduced(path, 2 * SIDE)
    if picture.mode in DEPTH_8:
        gray = picture.convert("RGB").convert("L") if picture.mode in ("P", "PA") else picture.convert("L")
        return np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255
    values = Image.fromarray(np.asarray(picture).astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(values) / white_level


def normalize(pictures: Tensor) -> Tensor:
    """Return pictures `(N, S, S)` with mean 0 and norm 1, so that brightness and contrast do not matter."""
    return _unit(pictures - pictures.mean(dim=(1, 2), keepdim=True))


def details(pictures: Tensor, common: Tensor) -> Tensor:
    """Return what is fine in `pictures` `(N, S, S)` and not in `common` `(1, S, S)`, with norm 1.

    Both are normalized pictures, or means of them.
    """
    return _unit(_fine(pictures) - _fine(common))


def symmetries(pictures: Tensor) -> list[Tensor]:
    """Return squares `(N, S, S)` in the eight ways to flip and turn them, unchanged first."""
    return [torch.rot90(side, k, (1, 2)) for side in (pictures, pictures.flip(2)) for k in range(4)]


def alike(ours: Tensor, theirs: Tensor, common: Tensor) -> Iterator[tuple[int, int, float, bool]]:
    """Yield the pairs of normalized thumbnails whose `details` correlate by `SAME_OBJECT` or more.

    A pair is an index in `ours`, one in `theirs`, the correlation, and whether one is flipped or turned. The pair may
    come several times. Flipped and turned ones are compared in sets of at most 3,000 images.
    """
    first = details(ours, common).flatten(1)
    ways = 8 if max(len(ours), len(theirs)) <= MOST_TURNED else 1
    for start in range(0, len(theirs), BLOCK):
        for way, turned in enumerate(symmetries(theirs[start : start + BLOCK])[:ways]):
            second = details(turned, common).flatten(1)
            for top in range(0, len(ours), BLOCK):
                likeness = first[top : top + BLOCK] @ second.T
                for i, j in (likeness >= SAME_OBJECT).nonzero().tolist():
                    yield top + i, start + j, float(likeness[i, j]), way > 0


def _fine(pictures: Tensor) -> Tensor:
    padded = functional.pad(pictures[:, None], (WINDOW // 2,) * 4, mode="replicate")
    return pictures - functional.avg_pool2d(padded, WINDOW, 1)[:, 0]


def _unit(pictures: Tensor) -> Tensor:
    return pictures / pictures.norm(dim=(1, 2), keepdim=True).clamp_min(1e-5)
