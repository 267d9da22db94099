"""Runs written by hand, as a batch and a notebook leave them: nothing is executed."""

import json
from pathlib import Path
from typing import Any

SET = [(category, seed) for category in ("bottle", "screw") for seed in (0, 1, 10)]


def record(folder: Path, auroc: float | None, **more: Any) -> None:
    """A result as the notebooks write it, shortened."""
    metrics = {"image_auroc": auroc, "pixel_auroc": None, "aupro": 0.5, "image_ap": 0.75, "pixel_ap": 0.25}
    content = {"metrics": metrics, "seconds": {"training": 2.5, "scoring": 1.5}, "epochs": 8} | more
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(content))


def state(folder: Path, state: str, parameters: dict[str, Any], **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"state": state, "parameters": parameters, "seconds": 9.0, "attempts": 2} | more
    (folder / "run.json").write_text(json.dumps(content))


def write_six_runs(root: Path) -> Path:
    """Write six runs; bottle has image AUROC 0.8, 0.9, 1.0, screw 0.5, undefined, 0.7."""
    aurocs = iter((0.8, 0.9, 1.0, 0.5, None, 0.7))
    for category, seed in SET:
        folder = root / "runs" / f"category={category},seed={seed}"
        state(folder, "done", {"category": category, "seed": seed, "epochs": 8})
        record(folder, next(aurocs), parameters={"seed": -1}, weights={"description": "a file"})
    return root / "runs"
