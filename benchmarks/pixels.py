"""Which pixels are defective, decided without a test label? Mean IoU at each threshold beside the best one's.

    fastflow-lite train --dataset mvtec --category bottle --weights resnet18.safetensors --epochs 3 --out runs/bottle
    python benchmarks/pixels.py runs/bottle --dataset mvtec --category bottle

The model is that of `fastflow-lite train`, and the normal images that it held out set the thresholds, as in that
command (same --seed). Prints a Markdown row for each threshold: mean IoU of the defective test images, the share of
held-out normal, good test and defective test images with a marked pixel, and the marked area of good test images. Then
how the |z|^2 of held-out normal images spreads at single positions: its mean per channel and its standard deviation,
both in multiples of those of N(0, I).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.datasets.in_memory import TensorSet
from fastflow_lite.detection.detector_training import divide, share_for
from fastflow_lite.evaluation.evaluator import NORMAL_PIXELS
from fastflow_lite.scoring.false_alarms import lowest_log_nfa, marked_pixels
from fastflow_lite.scoring.pixel_iou import iou, mean_iou_oracle

ALPHA = 0.05  # the default of `fastflow-lite train`, which decides how many images are held out


class Computed(NamedTuple):
    """Maps `(N, H, W)`, masks `(N, H, W)` bool, and z `(N, C, h, w)` of each scale."""

    maps: np.ndarray
    masks: np.ndarray
    latents: list[Tensor]


@torch.inference_mode()
def compute(model: FastFlow, images: ImageSet | TensorSet) -> Computed:
    """Compute what the thresholds need of all images."""
    maps, masks, latents = [], [], []
    for batch, batch_masks in images.batches(8):
        outputs = model(batch)
        maps.append(model.anomaly_map(outputs, images.size)[:, 0])
        masks.append(batch_masks)
        latents.append([z for z, _ in outputs])
    scales = [torch.cat(parts) for parts in zip(*latents, strict=True)]
    shape = (len(images), *images.size)
    return Computed(torch.cat(maps).numpy(), torch.cat(masks).numpy().astype(bool).reshape(shape), scales)


def marked_by(normal: Computed, test: Computed) -> dict[str, tuple[np.ndarray, ...]]:
    """Return the marked pixels of the held-out normal and of the test images, for each threshold."""
    size = test.maps.shape[1:]
    found: dict[str, tuple[np.ndarray, ...]] = {}
    for name, share in ((f"quantile {NORMAL_PIXELS}", NORMAL_PIXELS), ("highest normal pixel", 1.0)):
        level = np.quantile(normal.maps, share)
        found[name] = (normal.maps >= level, test.maps >= level)
    for kind in ("published", "by_area"):
        found[f"NFA {kind}"] = tuple(marked_pixels(part.latents, size, kind).numpy() for part in (normal, test))
    levels = lowest_log_nfa(normal.latents, "by_area").min(axis=0).clip(max=0).tolist()
    found["NFA by_area, levels of normal images"] = tuple(
        marked_pixels(part.latents, size, "by_area", levels).numpy() for part in (normal, test)
    )
    oracle = mean_iou_oracle(test.masks, test.maps)[1]
    return found | {"oracle": (normal.maps >= oracle, test.maps >= oracle)}


def row(name: str, marked: tuple[np.ndarray, ...], masks: np.ndarray, labels: np.ndarray) -> str:
    """Return the Markdown row of one threshold."""
    normal, test = marked
    overlap = np.mean([iou(mask, found) for mask, found in zip(masks, test, strict=True) if mask.any()])
    alarms = [part.any(axis=(1, 2)).mean() for part in (normal, test[~labels], test[labels])]
    shares = " | ".join(f"{100 * share:.0f} %" for share in alarms)
    return f"| {name} | {overlap:.3f} | {shares} | {100 * test[~labels].mean():.2f} % |"


def spread(normal: Computed) -> str:
    """Return mean and standard deviation of |z|^2 in multiples of those of chi-square, by scale."""
    parts = []
    for z in normal.latents:
        channels, squares = z.shape[1], z.double().square().sum(dim=1)
        parts.append(f"{float(squares.mean()) / channels:.2f} / {float(squares.std()) / (2 * channels) ** 0.5:.1f}")
    return "; ".join(parts)


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
    normal, test = compute(model, held_out), compute(model, data.test)
    print("| threshold | mean IoU | held-out normal | good test | defective test | area of good test |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, marked in marked_by(normal, test).items():
        print(row(name, marked, test.masks, data.test.labels))
    print(f"\n{len(held_out)} held-out normal images. |z|^2, mean / deviation by scale: {spread(normal)}")


if __name__ == "__main__":
    main()
