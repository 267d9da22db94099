"""What the pre-training looks at: materials rendered once, new scenes every epoch, as different cameras take them."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from oddity import GOOD, GROUP, SPOILT
from torch import Tensor
from torch.nn import functional as F

from fastflow_lite.files import write_atomically
from fastflow_lite.synthetic.flaws import FLAWS
from fastflow_lite.synthetic.materials import Material
from fastflow_lite.synthetic.outlines import Outline
from fastflow_lite.synthetic.products import Product
from fastflow_lite.synthetic.scenes import Scene, compose

TILE = 160  # pixels a side of a rendered material
OBJECTIVES: dict[str, dict[str, Any]] = {  # which scenes, and which of their labels are to be guessed, with what weight
    "texture": {"scenes": {"objects": 0, "flaws": 0}, "weights": {"picture": 1.0}},
    "materials": {"scenes": {"objects": 4, "flaws": 0, "smallest": 0.12}, "weights": {"material": 1.0}},
    "few_flaws": {
        "scenes": {"objects": 4, "flaws": 2, "smallest": 0.12},
        "weights": {"material": 1.0, "outline": 1.0, "flaw": 5.0},
    },
    "flaws": {"scenes": {"objects": 3, "flaws": 3}, "weights": {"material": 1.0, "outline": 1.0, "flaw": 15.0}},
    "contrast": {  # and stains more often
        "scenes": {"objects": 3, "flaws": 3, "kinds": (*FLAWS, "stain", "stain")},
        "weights": {"material": 1.0, "outline": 1.0, "flaw": 15.0, "contrast": 5.0},
    },
    "odd": {  # pictures of products, and the odd places among them
        "weights": {"material": 1.0, "outline": 0.5, "flaw": 3.0, "contrast": 2.0, "odd": 2.0}
    },
}


def _render(task: tuple[int, int, int]) -> np.ndarray:
    seed, number, count = task
    material = Material(number)
    pictures = [material.render(np.random.default_rng([seed, number, k]), TILE) for k in range(count)]
    return (255 * np.stack(pictures) + 0.5).astype(np.uint8)


def render_tiles(path: Path, pool: ProcessPoolExecutor, seed: int, materials: int, count: int) -> None:
    """Write `count` pictures of each material to `path` as (materials, count, TILE, TILE, 3), unless it is there."""
    if path.exists():
        return
    found = []
    for done, pictures in enumerate(pool.map(_render, [(seed, k, count) for k in range(materials)], chunksize=4), 1):
        found.append(pictures)
        if done % 100 == 0 or done == materials:
            print(f"materials rendered: {done} of {materials}", flush=True)
    write_atomically(path, lambda place: np.save(place.open("wb"), np.stack(found)))


@dataclass(frozen=True)
class CompactScene:
    """A `Scene` in less memory, for the way from the process that drew it."""

    image: NDArray[np.uint8]
    material: NDArray[np.int16]
    outline: NDArray[np.int16]
    flaw: NDArray[np.bool_]


def _scenes(task: tuple[Path, tuple[int, ...], int, int, str, int]) -> list[CompactScene]:
    path, key, count, size, objective, outlines = task
    tiles, rng = np.load(path, mmap_mode="r"), np.random.default_rng(key)
    shapes = [Outline(k) for k in range(outlines)]
    if objective != "odd":
        return [_compact(compose(rng, tiles, shapes, size, **OBJECTIVES[objective]["scenes"])) for _ in range(count)]
    found = []
    for _ in range(count // GROUP):
        product = Product(rng, len(tiles), outlines)
        flaws = [0] * GOOD + rng.integers(1, 3, SPOILT).tolist()
        found += [_compact(product.picture(rng, tiles, shapes, size, many)) for many in flaws]
    return found


def _compact(scene: Scene) -> CompactScene:
    image = (255 * scene.image + 0.5).astype(np.uint8)
    return CompactScene(image, scene.material.astype(np.int16), scene.outline.astype(np.int16), scene.flaw)


def epoch_of_scenes(
    path: Path, pool: ProcessPoolExecutor, args: argparse.Namespace, epoch: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (N, 3, n, n) uint8, materials, outlines (N, n, n) int16, flaws (N, n, n) bool: the same for a seed."""
    parts = args.scenes // 64
    tasks = [(path, (args.seed, epoch, part), 64, args.size, args.objective, args.outlines) for part in range(parts)]
    scenes = [scene for chunk in pool.map(_scenes, tasks) for scene in chunk]
    images = torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2).contiguous()
    material, outline, flaw = (
        torch.from_numpy(np.stack([getattr(s, name) for s in scenes])) for name in ("material", "outline", "flaw")
    )
    return images, material, outline, flaw


def expose(images: Tensor, generator: torch.Generator, same: int = 1) -> Tensor:
    """Images (B, 3, n, n) in 0..1 as different cameras would take them: gain, color, gamma, blur, noise.

    Each `same` images that follow one another are taken by one camera.
    """
    count = len(images) // same

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(*shape, generator=generator)).repeat_interleave(same, 0)

    images = images ** uniform(0.7, 1.4, count, 1, 1, 1) * uniform(0.7, 1.25, count, 1, 1, 1)
    images = images * uniform(0.9, 1.1, count, 3, 1, 1)
    gray = (uniform(0, 1, count, 1, 1, 1) < 0.25).float()
    images = gray * images.mean(1, keepdim=True) + (1 - gray) * images
    blur = uniform(-0.5, 1, count, 1, 1, 1).clamp_min(0)
    images = images + blur * (F.avg_pool2d(images, 3, 1, 1, count_include_pad=False) - images)
    noise = torch.randn(images.shape, generator=generator) * uniform(0, 0.04, count, 1, 1, 1)
    return (images + noise).clamp(0, 1)


def relight(images: Tensor, generator: torch.Generator, most: float = 0.2) -> Tensor:
    """Images (B, 3, n, n) of one camera each in light of its own: brighter or darker, and from some side."""
    slopes = most * (2 * torch.rand(len(images), 3, 1, 1, 1, generator=generator) - 1)
    ramp = torch.linspace(-1, 1, images.shape[-1])
    light = slopes[:, 0] + slopes[:, 1] * ramp + slopes[:, 2] * ramp[:, None]
    return (images * light.exp()).clamp(0, 1)


def magnify(
    images: Tensor, labels: list[Tensor], most: float, size: int, generator: torch.Generator
) -> tuple[Tensor, list[Tensor]]:
    """A window of images (B, 3, n, n) and labels (B, n, n), the same for all, brought to (size, size).

    Its side lies between n and n / `most`.
    """
    whole, (zoom, down, right) = images.shape[-1], torch.rand(3, generator=generator).tolist()
    side = round(whole / (1 + (most - 1) * zoom))
    top, left = round(down * (whole - side)), round(right * (whole - side))
    window = images[..., top : top + side, left : left + side]
    nearest = (torch.arange(size) * side) // size
    large = F.interpolate(window, (size, size), mode="bilinear")
    return large, [x[:, top + nearest][..., left + nearest] for x in labels]
