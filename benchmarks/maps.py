"""Which weights, map, normalization and kernels? One training each, every map from the same latents.

    FASTFLOW_LITE_DATA=... FASTFLOW_LITE_WEIGHTS=... python benchmarks/maps.py mvtec/bottle mvtec/screw toy/weave

Results go to benchmarks/results/maps.json; what is there is not run again. Prints a Markdown table.
Last epoch, never the best one; all of train/good is trained on unless --images says fewer.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from harness import RESULTS, provenance, read_json, write_json

from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.datasets import open_dataset
from fastflow_lite.training import Settings

RECORDS = RESULTS / "maps.json"
MAPS = ("tempered", "likelihood", "exp_energy", "energy", "nll")
KEY = ("data", "label", "kernels", "normalize", "steps", "images", "epochs", "batch", "lr", "seed")


def measure(run: dict[str, Any], weights: str) -> dict[str, Any]:
    """Train and evaluate one setting."""
    data = open_dataset(*run["data"].rsplit("/", 1), image_size=256)
    count = min(run["images"] or len(data.train), len(data.train))
    train = data.train.subset([i * len(data.train) // count for i in range(count)])
    model = FastFlow(
        "resnet18", weights, kernels=run["kernels"], normalize=run["normalize"], steps=run["steps"], seed=run["seed"]
    )
    history = fit(
        model, train, epochs=run["epochs"], batch_size=run["batch"], lr=run["lr"], seed=run["seed"], progress=False
    )
    record: Mapping[str, Any] = evaluate(model, data.test, history=history).record
    kept = ("variants", "weights", "seconds", "peak_memory_mib")
    return run | provenance() | {"bits_per_dim": history.bits_per_dim[-1]} | {key: record[key] for key in kept}


def table(records: list[dict[str, Any]]) -> str:
    """Image / pixel AUROC of every map, a row a training."""
    head = ["data", "weights", "kernels", "normalize", "steps", "images", "epochs", "batch", "lr", "seed"]
    head += ["training s", *MAPS]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for r in sorted(records, key=lambda r: tuple(str(r[key]) for key in KEY)):
        cells = [r["data"], r["label"], "-".join(map(str, r["kernels"])), r["normalize"], str(r["steps"])]
        cells += [str(r["images"] or "all"), str(r["epochs"]), str(r["batch"]), f"{r['lr']:g}", str(r["seed"])]
        cells += [f"{r['seconds']['training']:.0f}"]
        for kind in MAPS:
            metrics = r["variants"][kind]
            cells.append(f"{metrics['image_auroc']:.3f} / {metrics['pixel_auroc']:.3f}")
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def label_of(weights: str) -> str:
    """How a table calls some weights: a word as it is, a file by its name without the suffix."""
    return Path(weights).stem


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=["mvtec/bottle", "mvtec/screw"], help="set/category")
    parser.add_argument("--kernels", nargs="+", default=["3-1", "3"])
    parser.add_argument("--normalize", nargs="+", default=["layer"])
    parser.add_argument("--weights", nargs="+", default=[os.environ.get("FASTFLOW_LITE_WEIGHTS", "bundled")])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--images", type=int, default=0, help="training images, evenly spread; 0: all")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=Settings.batch_size)
    parser.add_argument("--lr", type=float, default=Settings.lr)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--records", type=Path, default=RECORDS)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    records = read_json(args.records, [])
    for weights, data, kernels, normalize, seed in product(
        args.weights, args.data, args.kernels, args.normalize, args.seeds
    ):
        run = {"data": data, "label": label_of(weights), "kernels": [int(k) for k in kernels.split("-")]}
        run |= {"normalize": normalize, "steps": args.steps, "images": args.images, "epochs": args.epochs}
        run |= {"batch": args.batch, "lr": args.lr, "seed": seed}
        if any(all(r[k] == v for k, v in run.items()) for r in records):
            continue
        records.append(measure(run, weights))
        print(table(records[-1:]).splitlines()[-1], flush=True)
        write_json(args.records, records)
    print(table(records))


if __name__ == "__main__":
    main()
