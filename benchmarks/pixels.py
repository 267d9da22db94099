"""Which pixels are defective, decided without a test label? Mean IoU at each threshold beside the best one's.

    fastflow-lite train --dataset mvtec --category bottle --out runs/bottle
    python benchmarks/pixels.py runs/bottle --dataset mvtec --category bottle

The model is that of `fastflow-lite train`, and the normal images that it held out set the thresholds, as in that
command (same --seed). Prints a Markdown row for each threshold: mean IoU of planted defects (the nine families of
choose.py, in the held-out images, so a choice without test labels) and of the defective test images, the share of
held-out normal, good test and defective test images with a marked pixel, and the marked area of good test images. Then
how the |z|^2 of held-out normal images spreads at single positions: its mean per channel and its standard deviation,
both in multiples of those of N(0, I).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from choose_parts.sets import make_planted, to_tensor
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.datasets import open_dataset
from fastflow_lite.detection.detector_training import divide, share_for
from fastflow_lite.scoring.false_alarms import lowest_log_nfa, marked_pixels
from fastflow_lite.scoring.pixel_iou import iou, mean_iou_oracle

ALPHA = 0.05  # the default of `fastflow-lite train`, which decides how many images are held out
QUANTILES = 0.99, 0.995, 0.998, 0.999, 0.9995, 1.0  # of the pixels of held-out normal maps
EACH = 10  # planted defects of each family
BATCH = 8


class Computed(NamedTuple):
    """Maps `(N, H, W)`, masks `(N, H, W)` bool, and z `(N, C, h, w)` of each scale."""

    maps: np.ndarray
    masks: np.ndarray
    latents: list[Tensor]


@torch.inference_mode()
def compute(model: FastFlow, batches: Iterable[tuple[Tensor, Tensor]]) -> Computed:
    """Compute what the thresholds need of all images."""
    maps, masks, latents = [], [], []
    for images, batch_masks in batches:
        outputs = model(images)
        maps.append(model.anomaly_map(outputs, images.shape[-2:])[:, 0])
        masks.append(batch_masks.reshape(maps[-1].shape))
        latents.append([z for z, _ in outputs])
    scales = [torch.cat(parts) for parts in zip(*latents, strict=True)]
    return Computed(torch.cat(maps).numpy(), torch.cat(masks).numpy().astype(bool), scales)


def planted_batches(held_out: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Plant defects of all families in the held-out images."""
    planted = make_planted(held_out, [0], EACH)
    for family, images in planted.images.items():
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            yield to_tensor(images[part]), torch.from_numpy(planted.masks[family][part])


def marked_by(parts: list[Computed]) -> dict[str, list[np.ndarray]]:
    """Return the marked pixels of each part, for each threshold; the first is held out, the last the test images."""
    normal, test = parts[0], parts[-1]
    levels = {f"quantile {share}": np.quantile(normal.maps, share) for share in QUANTILES}
    levels["oracle"] = mean_iou_oracle(test.masks, test.maps)[1]
    found = {name: [part.maps >= level for part in parts] for name, level in levels.items()}
    lowest = lowest_log_nfa(normal.latents, "by_area").min(axis=0).clip(max=0).tolist()
    for name, kind, of_scales in (
        ("NFA published", "published", None),
        ("NFA by_area", "by_area", None),
        ("NFA by_area, levels of normal images", "by_area", lowest),
    ):
        size = test.maps.shape[1:]
        found[name] = [marked_pixels(part.latents, size, kind, of_scales).numpy() for part in parts]
    return found


def overlap(marked: np.ndarray, masks: np.ndarray) -> float:
    """Return the mean IoU over the images with a defect."""
    return float(np.mean([iou(mask, found) for mask, found in zip(masks, marked, strict=True) if mask.any()]))


def row(name: str, marked: list[np.ndarray], parts: list[Computed], labels: np.ndarray) -> str:
    """Return the Markdown row of one threshold."""
    overlaps = " | ".join(
        f"{overlap(found, part.masks):.3f}" for found, part in zip(marked[1:], parts[1:], strict=True)
    )
    shown = marked[0], marked[-1][~labels], marked[-1][labels]
    alarms = " | ".join(f"{100 * found.any(axis=(1, 2)).mean():.0f} %" for found in shown)
    return f"| {name} | {overlaps} | {alarms} | {100 * shown[1].mean():.2f} % |"


def spread(normal: Computed) -> str:
    """Return mean and standard deviation of |z|^2 in multiples of those of chi-square, by scale."""
    found = []
    for z in normal.latents:
        channels, squares = z.shape[1], z.double().square().sum(dim=1)
        found.append(f"{float(squares.mean()) / channels:.2f} / {float(squares.std()) / (2 * channels) ** 0.5:.1f}")
    return "; ".join(found)


def main() -> None:
    """Print the table of one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a file or a folder that `fastflow-lite train` wrote")
    parser.add_argument("--dataset", default="mvtec", help="the images it was trained on (default mvtec)")
    parser.add_argument("--category", help="of the data set")
    parser.add_argument("--seed", type=int, default=0, help="that of the training (default 0)")
    args = parser.parse_args()
    model = FastFlow.load(args.model / "model.safetensors" if args.model.is_dir() else args.model)
    data = open_dataset(args.dataset, args.category, image_size=model.input_format.image_size or 256)
    _, held_out = divide(data.train, share_for(len(data.train), ALPHA), args.seed)
    batches = held_out.batches(BATCH), planted_batches(held_out), data.test.batches(BATCH)
    parts = [compute(model, part) for part in batches]
    print("| threshold | planted | test | held-out normal | good test | defective test | area of good test |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, marked in marked_by(parts).items():
        print(row(name, marked, parts, data.test.labels))
    print(f"\n{len(held_out)} held-out normal images. |z|^2, mean / deviation by scale: {spread(parts[0])}")


if __name__ == "__main__":
    main()
