"""Long runs in one process: what grows with each image or each notebook would show here.

    python benchmarks/soak.py images [--count 10000] [--size 128]
    python benchmarks/soak.py notebooks

"images": a detector with ResNet-18, 8 flow steps and the bundled weights judges a folder of `--count` files, from the
listing to the score and the map of the last; resident memory is read every 500 images. It moves by some MiB with what
is computed and read at that moment, so halves are compared: median and largest value of the second half may exceed
those of the first by 8 MiB. The maps alone of 5000 images of 128 pixels are 312 MiB. The files are links to 64 pictures
of the toy part, 256 pixels a side, PNG. "notebooks": papermill executes each notebook of the course in its short form,
one after another; resident memory, open files and child processes of the process that starts them are read after each.
Memory may grow by 5 % beyond that of the fifth, and no file or process may stay behind. The first tenth of the images
and the first five notebooks are left out of the judgment: they import and fill caches. Exit status 1 if memory grew
more. Records: results/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from PIL import Image

from fastflow_lite import FastFlow
from fastflow_lite.datasets.image_inputs import read_input, resized
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.datasets.listing import list_images
from fastflow_lite.detection import Detector
from fastflow_lite.synthetic.toy import render

PICTURES, SIDE = 64, 256
EVERY, MIB = 500, 8.0  # images between two readings, and by how much memory may grow from half to half
WARM_NOTEBOOKS, SHARE = 5, 0.05


def resident_mib() -> float:
    """Return the memory of this process that is in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def draw(folder: Path, count: int) -> list[Path]:
    """Write the pictures and the links to them, and return all paths."""
    kept = folder / "pictures"
    kept.mkdir()
    (folder / "parts").mkdir()
    for k in range(PICTURES):
        Image.fromarray(render("part", np.random.default_rng(k), SIDE)[0]).save(kept / f"{k}.png")
    for k in range(count):
        os.link(kept / f"{k % PICTURES}.png", folder / "parts" / f"{k:06}.png")
    return list_images(folder / "parts")


def make_detector(paths: list[Path], size: int) -> Detector:
    """Return a detector whose flows one batch has started: its scores mean nothing, and cost the same."""
    model = FastFlow("resnet18", "bundled", steps=8)
    images = torch.stack([resized(read_input(str(path), path), (size, size)) for path in paths[:8]])
    with torch.no_grad():
        model.train()(images)
    model.input_format = InputFormat((size, size))
    return Detector.calibrate(model.eval(), images, rule="quantile")


def run_images(count: int, size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        paths = draw(Path(place), count)
        detector = make_detector(paths, size)
        findings: Iterator[Any] = iter(detector.findings(Path(place) / "parts"))
        memory, began = [], time.monotonic()
        while sum(1 for _ in islice(findings, EVERY)):
            memory.append(round(resident_mib(), 1))
            print(f"{EVERY * len(memory):6} images  {memory[-1]:.1f} MiB", flush=True)
        seconds = round(time.monotonic() - began, 1)
    return {"count": count, "size": size, "seconds": seconds, "mib": memory} | judged(memory)


def judged(memory: list[float]) -> dict[str, Any]:
    """Return by how much memory grew, and whether that is little; without the first tenth of the readings."""
    after = memory[len(memory) // 10 :]
    first, second = after[: len(after) // 2], after[len(after) // 2 :]
    grown = max(statistics.median(second) - statistics.median(first), max(second) - max(first))
    return {"grown_mib": round(grown, 1), "is_flat": grown <= MIB}


def run_notebooks() -> dict[str, Any]:
    import papermill
    import psutil

    os.environ["FASTFLOW_LITE_FAST"] = "1"
    me = psutil.Process()
    rows: list[dict[str, Any]] = []
    for path in sorted((harness.ROOT / "notebooks").glob("*.ipynb")):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / path.name
            papermill.execute_notebook(path, out, cwd=place, kernel_name="python3", progress_bar=False)
        children = len(me.children(recursive=True))
        row: dict[str, Any] = {
            "notebook": path.stem,
            "seconds": round(time.monotonic() - began, 1),
            "mib": round(resident_mib(), 1),
        }
        rows.append(row | {"open_files": me.num_fds(), "children": children})
        print(json.dumps(rows[-1]), flush=True)
    last, after = rows[WARM_NOTEBOOKS - 1], rows[WARM_NOTEBOOKS:]
    is_flat = max(row["mib"] for row in after) <= (1 + SHARE) * last["mib"]
    left = any(row["children"] for row in rows) or after[-1]["open_files"] > last["open_files"]
    return {"rows": rows, "is_flat": is_flat and not left}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["images", "notebooks"])
    parser.add_argument("--count", type=int, default=10_000, help="images (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="pixels a side to which they are resized")
    args = parser.parse_args()
    found = run_images(args.count, args.size) if args.what == "images" else run_notebooks()
    harness.keep("soak", {args.what: found | harness.provenance()})
    print("memory is flat" if found["is_flat"] else "memory, files or processes stay behind")
    return 0 if found["is_flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
