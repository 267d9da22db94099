"""How much of the image score is the border's? Trained models, judged with and without it.

    python benchmarks/border.py runs/bottle runs/screw

For each run of notebook 07 or 10: the image AUROC of the largest value of each map, that of the largest away from the
border (`image_score="inside"`), and the share of good test images whose largest value lies at the border. Records:
results/border.json; what is there of other data stays.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import harness
import torch
from harness import markdown

from fastflow_lite import FastFlow
from fastflow_lite.datasets import open_dataset
from fastflow_lite.evaluation import score_images
from fastflow_lite.scoring import metrics
from fastflow_lite.scoring.maps import image_score

MAPS = ("tempered", "likelihood", "exp_energy")


def judge(folder: Path, root: str | None) -> list[dict[str, Any]]:
    """A row for each map of one run."""
    record = json.loads((folder / "result.json").read_text())
    asked, size = record["parameters"], record["data"]["image_size"][0]
    model = FastFlow.load(folder / "model.safetensors")
    test = open_dataset(asked["dataset"], asked["category"], root=root, image_size=size).test
    found, rows = score_images(model, test, MAPS).maps, []
    for kind in MAPS:
        maps = torch.from_numpy(found[kind])[:, None]
        whole, inside = image_score(maps).numpy(), image_score(maps, "inside").numpy()
        rows.append(
            {
                "data": f"{asked['dataset']} {asked['category']}",
                "weights": record["weights"]["source"],
                "map": kind,
                "whole map": round(metrics.auroc(test.labels, whole), 3),
                "inside": round(metrics.auroc(test.labels, inside), 3),
                "good images with their largest value at the border": f"{(whole > inside)[~test.labels].mean():.0%}",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders with model.safetensors and result.json")
    parser.add_argument("--root", help="where data sets lie (default: FASTFLOW_LITE_DATA, else data)")
    args = parser.parse_args()
    runs = {str(rows[0]["data"]): rows for rows in (judge(folder, args.root) for folder in args.runs)}
    harness.keep("border", {data: harness.provenance() | {"rows": rows} for data, rows in runs.items()})
    print(markdown([row for rows in runs.values() for row in rows]))


if __name__ == "__main__":
    main()
