"""The embedded data set: rendered textures and parts with pixel-exact defect masks, from a seed.

A defective picture is one scene drawn twice, clean and flawed, and photographed twice alike; its
mask is where the two photographs differ. Sensor noise comes last, so it is not in the mask.
Lighting, color, phase, rotation and scale vary so much that comparing raw pixels fails.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from fastflow_lite.errors import DataError
from fastflow_lite.files import build_folder, fingerprint
from fastflow_lite.synthetic.drawing import SUPERSAMPLE, Array, Mask, dye
from fastflow_lite.synthetic.toy_scenes import PAINTERS

VERSION = 1  # raise it when any picture changes
MARKER, CHECKSUM = "toy.json", "toy.sha256"
RUN_LENGTHS = 3  # zlib.Z_RLE: for noisy pictures faster, and smaller, than the default
DEFECTS: dict[str, tuple[str, ...]] = {
    "weave": ("hole", "stain", "thread"),
    "grid": ("bent", "broken_wire", "glue"),
    "part": ("burr", "chipped_edge", "filled_hole", "scratch"),
}
CATEGORIES: tuple[str, ...] = tuple(DEFECTS)
Counts = dict[str, int]  # how many pictures of "train/good", "test/hole" and so on

JUST_VISIBLE = 6 / 255  # of the photograph's range, in any color channel
SPECK = 5 / 256**2  # share of the picture below which a patch of change is undone
SMALLEST, LARGEST = 0.0005, 0.2  # share of the picture that a defect covers


# ---- camera --------------------------------------------------------------------------------------


def _photograph(scene: Array, rng: Generator) -> Array:
    """Noise-free photograph (size, size, 3), 0 to 1, of a scene (3, n, n) in uneven light."""
    size, step = scene.shape[1] // SUPERSAMPLE, SUPERSAMPLE
    image = sum(scene[:, i::step, k::step] for i in range(step) for k in range(step)) / step**2
    blur = rng.uniform(0.4, 0.6) * size / 256
    image = ndimage.gaussian_filter(image, (0, blur, blur))
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    down, right = rng.uniform(-0.15, 0.15, 2).astype(np.float32)
    light = np.exp(down * ramp[:, None] + right * ramp) * dye(rng, 0.8, 1.2, 0.02)
    return np.clip(light * image, 0, 1).transpose(1, 2, 0) ** rng.uniform(0.75, 0.95)


def expose(category: str, seeds: Sequence[int], size: int, defect: str | None) -> tuple[Array, Array, Mask]:
    """Noise-free clean and flawed photograph (size, size, 3), 0 to 1, and mask (size, size)."""

    def shoot(defect: str | None, flaw: Generator) -> Array:
        rng = np.random.default_rng(seeds[0])
        return _photograph(PAINTERS[category](rng, size, defect, flaw), rng)

    flaw = np.random.default_rng(seeds[1])
    clean = shoot(None, flaw)
    if defect is None:
        return clean, clean, np.zeros((size, size), bool)
    for _ in range(50):
        flawed = shoot(defect, flaw)
        mask = _without_specks(np.abs(flawed - clean).max(axis=2) > JUST_VISIBLE)
        if SMALLEST <= mask.mean() <= LARGEST:
            return clean, np.where(mask[..., None], flawed, clean), mask
    raise RuntimeError(f"no visible {defect} on {category} in 50 attempts at size {size}")


def _without_specks(mask: Mask) -> Mask:
    """Return the mask (size, size) without its smallest patches; diagonal neighbors are connected."""
    patches, _ = ndimage.label(mask, np.ones((3, 3)))
    large = np.bincount(patches.ravel()) > SPECK * mask.size
    large[0] = False
    return large[patches]


def render(category: str, rng: Generator, size: int = 256, defect: str | None = None) -> tuple[NDArray[np.uint8], Mask]:
    """One picture (size, size, 3), uint8, and the mask (size, size), bool, of its defect.

    >>> image, mask = render("grid", np.random.default_rng(0), size=64, defect="glue")
    >>> image.shape, image.dtype, mask.shape, bool(mask.any())
    ((64, 64, 3), dtype('uint8'), (64, 64), True)
    """
    _check_names([category], defect)
    *seeds, noise_seed = rng.integers(2**63, size=3).tolist()
    _, image, mask = expose(category, seeds, size, defect)
    noise = np.random.default_rng(noise_seed)
    deviation = noise.uniform(0.004, 0.008) * np.sqrt(0.3 + image)  # photons, and a floor
    image = image + deviation * noise.standard_normal(image.shape, dtype=np.float32)
    return (255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8), mask


# ---- files ---------------------------------------------------------------------------------------


def _check_names(categories: Sequence[str], defect: str | None = None) -> None:
    """Raise DataError for a category or a defect that does not exist."""
    for category in categories:
        if category not in DEFECTS:
            raise DataError(f"unknown category {category!r}: choose from {', '.join(CATEGORIES)}")
        if defect is not None and defect not in DEFECTS[category]:
            choices = ", ".join(DEFECTS[category])
            raise DataError(f"unknown defect {defect!r} of {category}: choose from {choices}")


def _is_complete(folder: Path, marker: str) -> bool:
    """Return True if the folder holds just this data, False if it is absent or empty, else DataError."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if (folder / MARKER).is_file() and (folder / MARKER).read_text() == marker:
        _check_sum(folder)
        return True
    raise DataError(
        f"{folder} holds something else than the toy data asked for ({marker}): "
        "give another root, or delete that folder to have it made anew"
    )


def _check_sum(folder: Path) -> None:
    """DataError when the pictures are not those that were written. What older versions wrote has no checksum."""
    proof = folder / CHECKSUM
    if proof.is_file() and proof.read_text() != fingerprint(folder, folder.rglob("*.png")):
        raise DataError(
            f"{folder} is damaged: its pictures are not those that were drawn. Delete it to have it made anew"
        )


def _write_picture(folder: Path, category: str, kind: str, index: int, seed: int, size: int) -> None:
    """Render and save picture `index` of a kind such as "test/hole", and its mask if it has one."""
    defect = None if kind.endswith("good") else kind.split("/")[1]
    key = [seed, zlib.crc32(f"{category}/{kind}".encode()), index]
    rng = np.random.default_rng(np.random.SeedSequence(key))
    image, mask = render(category, rng, size, defect)
    Image.fromarray(image).save(folder / kind / f"{index:03d}.png", compress_type=RUN_LENGTHS)
    if defect:
        path = folder / "ground_truth" / defect / f"{index:03d}_mask.png"
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def _write_category(folder: Path, category: str, seed: int, size: int, counts: Counts) -> None:
    """Render and save all pictures of a category."""
    np.empty(2**23 - 2**12, np.float32)  # a freed 32 MB makes glibc keep memory: half the time
    for kind in counts:
        (folder / kind).mkdir(parents=True)
        if not kind.endswith("good"):
            (folder / "ground_truth" / kind.split("/")[1]).mkdir(parents=True)
        for index in range(counts[kind]):
            _write_picture(folder, category, kind, index, seed, size)


def generate(
    root: str | Path,
    seed: int = 0,
    size: int = 256,
    categories: Sequence[str] = CATEGORIES,
    train: int = 64,
    test_good: int = 20,
    test_defect: int = 10,
) -> Path:
    """Write the data set in MVTec AD's layout under `root`, unless it is there; return `root`.

    A category appears only when it is complete, so an interrupted call leaves nothing half-made.
    Picture k does not depend on how many others are drawn. Raises DataError, a ValueError, for
    unknown names and for a category folder that holds something else.
    """
    _check_names(categories)
    root, todo = Path(root), []
    for category in categories:
        counts = {"train/good": train, "test/good": test_good}
        counts |= {f"test/{defect}": test_defect for defect in DEFECTS[category]}
        settings = {"version": VERSION, "category": category, "seed": seed, "size": size}
        marker = json.dumps(settings | {"counts": counts})
        if not _is_complete(root / category, marker):
            todo.append((category, counts, marker))
    root.mkdir(parents=True, exist_ok=True)
    for category, counts, marker in todo:
        with build_folder(root / category) as draft:
            _write_category(draft, category, seed, size, counts)
            (draft / CHECKSUM).write_text(fingerprint(draft, draft.rglob("*.png")))
            (draft / MARKER).write_text(marker)
        _is_complete(root / category, marker)  # another process may have written something else there meanwhile
    return root
