"""Pixel AUROC and AUPRO of whole test sets: ours beside anomalib's, scikit-learn's and slow references.

    python benchmarks/metrics.py [--sizes 256 900] [--images 83 167]

Maps are smooth noise, higher on blobs that are the defects, with ties as of a float16 model. Each implementation runs
in a process of its own, whose peak memory is counted from what it held before. References: scikit-learn's AUROC; AUPRO
in float64 from one argsort of all pixels; and, on six maps of 32 pixels, AUPRO by its definition, one threshold after
another. anomalib's metrics are those of its extra `bench`. Records: results/metrics.json.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import numpy as np
import peer
import torch
from harness import in_turns, markdown
from scipy.ndimage import gaussian_filter, label

from fastflow_lite.machine import peak_memory_mib
from fastflow_lite.scoring.metrics import aupro, auroc, pixel_metrics

LIMIT = 0.3
EIGHT = np.ones((3, 3), int)
SMALL = (6, 32)  # images and pixels a side for the reference by definition


def draw(images: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks `(N, H, W)` uint8 and maps float32. A quarter is normal, the others have 1 to 3 blobs."""
    rng = np.random.default_rng(0)
    masks, maps = np.zeros((images, side, side), np.uint8), np.empty((images, side, side), np.float32)
    rows, columns = np.ogrid[:side, :side]
    for index, mask in enumerate(masks):
        for _ in range(rng.integers(1, 4) if index % 4 else 0):
            (row, column), radius = rng.integers(side, size=2), side * rng.uniform(0.02, 0.08)
            mask[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 1
        noise = rng.standard_normal((side // 4, side // 4), np.float32).repeat(4, 0).repeat(4, 1)
        maps[index] = gaussian_filter(noise + 1.5 * mask, side / 100).astype(np.float16)
    return masks, maps


def of_ours(masks: np.ndarray, maps: np.ndarray) -> dict[str, Callable[[], Any]]:
    return {
        "AUROC": lambda: auroc(masks, maps),
        "AUPRO": lambda: aupro(masks, maps, LIMIT),
        "all four of a record": lambda: pixel_metrics(masks, maps)["aupro"],
    }


def of_anomalib(masks: np.ndarray, maps: np.ndarray) -> dict[str, Callable[[], Any]]:
    peer.anomalib_version()
    from anomalib.metrics.aupro import _AUPRO
    from torchmetrics.classification import BinaryAUROC  # what anomalib's AUROC is built on

    def by(metric: Any) -> float:
        metric.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
        return float(metric.compute())

    return {"AUROC": lambda: by(BinaryAUROC()), "AUPRO": lambda: by(_AUPRO(fpr_limit=LIMIT))}


def of_references(masks: np.ndarray, maps: np.ndarray) -> dict[str, Callable[[], Any]]:
    from sklearn.metrics import roc_auc_score

    return {
        "AUROC": lambda: float(roc_auc_score(masks.ravel(), maps.ravel())),
        "AUPRO": lambda: aupro_by_argsort(masks, maps),
    }


def aupro_by_argsort(masks: np.ndarray, maps: np.ndarray) -> float:
    """All pixels sorted with their indices, float64 throughout."""
    weights, regions = np.zeros(masks.shape), 0
    for mask, weight in zip(masks, weights, strict=True):
        found, count = label(mask, structure=EIGHT)
        weight[mask > 0] = (1 / np.maximum(np.bincount(found.ravel()), 1))[found[mask > 0]]
        regions += count
    order = np.argsort(-maps.ravel(), kind="stable")
    last = np.append(np.diff(maps.ravel()[order]) != 0, True)
    normal = masks.ravel()[order] == 0
    fpr, pro = np.cumsum(normal)[last] / normal.sum(), np.cumsum(weights.ravel()[order])[last] / regions
    return area(np.append(0, fpr), np.append(0, pro))


def aupro_by_definition(masks: np.ndarray, maps: np.ndarray) -> float:
    """At each distinct score: the share of normal pixels at or above it, and of each region."""
    regions = [(m, labels == k) for m, (labels, n) in ((m, label(m, EIGHT)) for m in masks) for k in range(1, n + 1)]
    owners = [index for index, mask in enumerate(masks) for _ in range(label(mask, EIGHT)[1])]
    fpr, pro = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        above = maps >= threshold
        fpr.append((above & (masks == 0)).sum() / (masks == 0).sum())
        pro.append(np.mean([above[i][r].mean() for i, (_, r) in zip(owners, regions, strict=True)]))
    return area(np.array(fpr), np.array(pro))


def area(fpr: np.ndarray, pro: np.ndarray) -> float:
    """Up to the limit, by trapezoids, divided by it."""
    inside = fpr <= LIMIT
    x, y = np.append(fpr[inside], LIMIT), np.append(pro[inside], np.interp(LIMIT, fpr, pro))
    return float(np.trapezoid(y, x)) / LIMIT


SIDES = {"ours": of_ours, "anomalib": of_anomalib, "reference": of_references}
_here: dict[str, Any] = {}


def begin(side: str, images: int, size: int) -> None:
    _here["work"] = SIDES[side](*draw(images, size))
    small = {name: work() for name, work in SIDES[side](*draw(2, 64)).items()}  # imports and warm-up
    assert all(0 < value <= 1 for value in small.values())


def run(metric: str) -> dict[str, float]:
    """Value, seconds by both clocks, and by how much the process's peak memory grew."""
    gc.collect()
    before, start, processor = peak_memory_mib()["host"], time.perf_counter(), time.process_time()
    value = _here["work"][metric]()
    taken = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}
    return {"value": value} | taken | {"grew_mib": peak_memory_mib()["host"] - before}


def measure(images: int, size: int, repeats: int) -> dict[str, dict[str, Any]]:
    """By metric and side; the sides take turns. Memory is that of the first run, after which a peak shows no more."""
    pools = {side: harness.Fresh() for side in SIDES}
    for side, fresh in pools.items():
        fresh(begin, side, images, size)
    found: dict[str, dict[str, Any]] = {}
    for metric in ("AUROC", "AUPRO", "all four of a record"):
        able = [side for side in SIDES if metric != "all four of a record" or side == "ours"]
        runs = in_turns({side: partial(pools[side], run, metric) for side in able}, repeats)
        found[metric] = {
            side: {"value": taken[0]["value"], "grew_mib": taken[0]["grew_mib"]}
            | {clock: harness.spread(r[clock] for r in taken) for clock in ("seconds", "processor_seconds")}
            for side, taken in runs.items()
        }
    for fresh in pools.values():
        fresh.pool.shutdown()
    return found


def rows(name: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for metric, sides in record.items():
        ours = sides["ours"]
        row = {"maps": name, "metric": metric, "value": f"{ours['value']:.6f}"}
        for side in ("anomalib", "reference"):
            other = sides.get(side)
            row |= {
                f"{side} differs by": f"{abs(other['value'] - ours['value']):.0e}" if other else "",
                f"{side}, s": harness.shown(other["seconds"], 2) if other else "",
                f"ratio to {side}": f"{other['seconds']['median'] / ours['seconds']['median']:.1f}" if other else "",
            }
        row |= {"ours, s": harness.shown(ours["seconds"], 2)}
        row["peak grew, MiB (ours / anomalib / reference)"] = " / ".join(
            f"{sides[side]['grew_mib']:.0f}" for side in SIDES if side in sides
        )
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 900])
    parser.add_argument("--images", type=int, nargs="+", default=[83, 167])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    small = draw(*SMALL)
    difference = abs(aupro_by_definition(*small) - aupro(*small, LIMIT))
    print(f"AUPRO by its definition on {SMALL[0]} maps of {SMALL[1]}: differs by {difference:.1e}")
    lines = []
    for size in args.sizes:
        for images in args.images:
            name = f"{images} maps of {size}"
            record = measure(images, size, args.repeats)
            harness.keep("metrics", {name: harness.provenance() | {"metrics": record, "by_definition": difference}})
            lines += rows(name, record)
            print(name, flush=True)
    print(markdown(lines))


if __name__ == "__main__":
    main()
