"""Long runs in one process: what grows with each image or each notebook would show here.

    python benchmarks/soak.py images [--count 10000] [--size 128]
    python benchmarks/soak.py notebooks

"images": a detector with ResNet-18, 8 flow steps and the bundled weights judges a folder of `--count` files, from the
listing to the score and the map of the last; resident memory is read every 500 images. The files are links to 64
pictures of the toy part, 256 pixels a side, PNG. "notebooks": papermill executes each notebook of the course in its
short form, one after another; resident memory, open files and child processes of the process that starts them are read
after each. The first tenth of the images and the first five notebooks are left out of the judgment: they import and
fill caches. Exit status 1 if the largest value after them exceeds the last of them by more than 8 MiB (images) or 5 %
(notebooks), or if a file or a process stays behind. Records: results/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fastflow_lite import FastFlow
from fastflow_lite.datasets.image_inputs import read_input, resized
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.datasets.listing import list_images
from fastflow_lite.detection import Detector
from fastflow_lite.files import write_atomically
from fastflow_lite.machine import describe_machine
from fastflow_lite.synthetic.toy import render

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benchmarks" / "results" / "soak.json"
PICTURES, SIDE = 64, 256
EVERY, MIB = 500, 8.0  # images between two readings, and by how much memory may grow
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
    after = memory[max(1, len(memory) // 10) - 1 :]
    slope = float(np.polyfit(np.arange(len(after)), after, 1)[0]) * 1000 / EVERY
    grown = max(after) - after[0]
    return {
        "count": count,
        "size": size,
        "seconds": seconds,
        "mib": memory,
        "grown_mib": round(grown, 1),
        "mib_per_1000_images": round(slope, 3),
        "is_flat": grown <= MIB,
    }


def run_notebooks() -> dict[str, Any]:
    import papermill
    import psutil

    os.environ["FASTFLOW_LITE_FAST"] = "1"
    me, rows = psutil.Process(), []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / path.name
            papermill.execute_notebook(path, out, cwd=place, kernel_name="python3", progress_bar=False)
        children = len(me.children(recursive=True))
        row = {"notebook": path.stem, "seconds": round(time.monotonic() - began, 1), "mib": round(resident_mib(), 1)}
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
    found["machine"] = describe_machine(torch.device("cpu"))
    records = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    text = json.dumps(records | {args.what: found}, indent=1) + "\n"
    write_atomically(RECORD, lambda place: place.write_text(text, "utf-8"))
    print("memory is flat" if found["is_flat"] else "memory, files or processes stay behind")
    return 0 if found["is_flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
