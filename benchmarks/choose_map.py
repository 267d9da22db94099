"""Which anomaly map, without one test label? Trained models judged on held-out normal images with pasted patches.

    python benchmarks/choose_map.py runs/mvtec

For each run of notebook 10 below the folder: its model, the tenth of train/good that it was not trained on, once as it
is and once with a piece of the image pasted elsewhere (CutPaste, arXiv 2104.04015). The mask is the patch. Every map
comes from the same latents. Records go to benchmarks/results/choose_map.json; prints the means over all runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.datasets import open_dataset
from fastflow_lite.files import write_atomically
from fastflow_lite.machine import describe_machine
from fastflow_lite.scoring import maps as scores
from fastflow_lite.scoring import metrics

RECORDS = Path(__file__).parent / "results" / "choose_map.json"
AREA, ASPECT = (0.002, 0.02), (0.3, 3.3)  # of a patch: its share of the image, its height over its width


def paste(image: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """`image` (3, H, W) with a piece of it, its colors changed a little, pasted elsewhere; the mask (H, W)."""
    _, height, width = image.shape
    area = height * width * np.exp(generator.uniform(*np.log(AREA)))
    aspect = np.exp(generator.uniform(*np.log(ASPECT)))
    h, w = (
        int(np.clip(side, 4, limit // 2))
        for side, limit in ((np.sqrt(area * aspect), height), (np.sqrt(area / aspect), width))
    )
    (y0, y1), (x0, x1) = generator.integers(0, height - h, 2), generator.integers(0, width - w, 2)
    changed, mask = image.clone(), torch.zeros(height, width, dtype=torch.bool)
    tint = torch.from_numpy(generator.uniform(0.9, 1.1, (3, 1, 1))).float()
    changed[:, y1 : y1 + h, x1 : x1 + w] = (image[:, y0 : y0 + h, x0 : x0 + w] * tint).clamp(0, 1)
    mask[y1 : y1 + h, x1 : x1 + w] = True
    return changed, mask


@torch.inference_mode()
def judge(folder: Path, root: str | None, rounds: int) -> list[dict[str, Any]]:
    """A row for each map of one run: image AUROC, pixel AUROC and AUPRO over `rounds` patches an image."""
    asked = json.loads((folder / "result.json").read_text())["parameters"]
    model = FastFlow.load(folder / "model.safetensors")
    data = open_dataset(asked["dataset"], asked["category"], root=root)
    _, held_out = data.train.split(0.1, seed=asked["seed"])
    generator = np.random.default_rng(asked["seed"])
    images = [held_out[k][0] for k in range(len(held_out))]
    pairs = [paste(image, generator) for _ in range(rounds) for image in images]
    everything = images + [image for image, _ in pairs]
    masks = torch.stack([torch.zeros_like(pairs[0][1])] * len(images) + [mask for _, mask in pairs]).numpy()
    labels = masks.any(axis=(1, 2))
    outputs = [model(torch.stack(everything[k : k + 8])) for k in range(0, len(everything), 8)]
    rows = []
    for kind in scores.MAPS:
        maps = torch.cat([model.anomaly_map(o, masks.shape[1:], kind) for o in outputs])[:, 0].numpy()
        found = metrics.pixel_metrics(masks, maps)
        found["image_auroc"] = metrics.auroc(labels, maps.max(axis=(1, 2)))
        kept = {name: found[name] for name in ("image_auroc", "pixel_auroc", "aupro")}
        rows.append({"category": asked["category"], "seed": asked["seed"], "map": kind} | kept)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="a folder with runs of notebook 10")
    parser.add_argument("--root", help="where data sets lie (default: FASTFLOW_LITE_DATA, else data)")
    parser.add_argument("--rounds", type=int, default=3, help="patches for each held-out image")
    args = parser.parse_args()
    folders = sorted(path.parent for path in args.runs.rglob("model.safetensors"))
    rows = [row for folder in folders for row in judge(folder, args.root, args.rounds)]
    text = json.dumps({"machine": describe_machine(torch.device("cpu")), "rounds": args.rounds, "rows": rows}, indent=1)
    write_atomically(RECORDS, lambda place: place.write_text(text + "\n"))
    table = pd.DataFrame(rows).drop(columns="seed")
    print(table.groupby(["category", "map"], sort=False).mean().round(3))
    print(table.drop(columns="category").groupby("map", sort=False).mean().round(3))


if __name__ == "__main__":
    main()
