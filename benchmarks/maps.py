"""Which map, normalization and kernels? One training each, every map from the same latents.

    FASTFLOW_LITE_DATA=... FASTFLOW_LITE_WEIGHTS=... python benchmarks/maps.py [--set mvtec] [--categories bottle screw]

Results go to benchmarks/results/maps.json; what is there is not run again. Prints a Markdown table.
Last epoch, never the best one; all of train/good is trained on.
"""

from __future__ import annotations

import argparse
import json
import os
from itertools import product
from pathlib import Path
from typing import Any

from fastflow_lite import FastFlow, evaluate, fit
from fastflow_lite.datasets import open_dataset
from fastflow_lite.files import write_atomically

RECORDS = Path(__file__).parent / "results" / "maps.json"
MAPS = ("tempered", "likelihood", "prob", "energy", "nll")
KEY = ("set", "category", "weights", "kernels", "normalize", "epochs", "seed")


def measure(run: dict[str, Any], weights: str) -> dict[str, Any]:
    """Train and evaluate one setting."""
    data = open_dataset(run["set"], run["category"], image_size=256)
    model = FastFlow("resnet18", weights, kernels=run["kernels"], normalize=run["normalize"], seed=run["seed"])
    history = fit(model, data.train, epochs=run["epochs"], seed=run["seed"])
    record = evaluate(model, data.test, history=history).record
    kept = ("variants", "weights", "machine", "seconds", "peak_memory_mib")
    return run | {"bits_per_dim": history.bits_per_dim[-1]} | {key: record[key] for key in kept}


def table(records: list[dict[str, Any]]) -> str:
    """Image / pixel AUROC of every map, a row a training."""
    head = ["data", "weights", "kernels", "normalize", "epochs", "seed", "bits/dim", "training s", *MAPS]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for r in sorted(records, key=lambda r: tuple(str(r[key]) for key in KEY)):
        cells = [r["category"], r["weights"]["source"], "-".join(map(str, r["kernels"])), r["normalize"]]
        cells += [str(r["epochs"]), str(r["seed"]), f"{r['bits_per_dim']:.3f}", f"{r['seconds']['training']:.0f}"]
        for kind in MAPS:
            metrics = r["variants"][kind]
            cells.append(f"{metrics['image_auroc']:.3f} / {metrics['pixel_auroc']:.3f}")
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="mvtec")
    parser.add_argument("--categories", nargs="+", default=["bottle", "screw"])
    parser.add_argument("--kernels", nargs="+", default=["3-1", "3"])
    parser.add_argument("--normalize", nargs="+", default=["layer"])
    parser.add_argument("--weights", default=os.environ.get("FASTFLOW_LITE_WEIGHTS", "bundled"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    records = json.loads(RECORDS.read_text()) if RECORDS.exists() else []
    source = args.weights if args.weights in ("bundled", "timm") else "file"
    for category, kernels, normalize, seed in product(args.categories, args.kernels, args.normalize, args.seeds):
        run = {"set": args.set, "category": category, "kernels": [int(k) for k in kernels.split("-")]}
        run |= {"normalize": normalize, "epochs": args.epochs, "seed": seed}
        if any(all(r[k] == v for k, v in run.items()) and r["weights"]["source"] == source for r in records):
            continue
        print(run, flush=True)
        records.append(measure(run, args.weights))
        text = json.dumps(records, indent=1)
        write_atomically(RECORDS, lambda place, text=text: place.write_text(text + "\n"))
    print(table(records))


if __name__ == "__main__":
    main()
