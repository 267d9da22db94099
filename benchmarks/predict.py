"""From image files to a table of scores: decoder, network, both together, and anomalib's predict on the same files.

    python benchmarks/predict.py [--count 100] [--formats png jpg] [--rounds 3] [--folder FOLDER]

The files are drawn once: the toy part at 900 x 900 pixels with the noise of a sensor in each, as PNG and as JPEG
(quality 92). Both sides have ResNet-18, 8 flow steps with 3x3 and 1x1 kernels in turn and 256 pixels, weights that one
batch has started (scores mean nothing here, and cost the same), each in a process of its own, in turns. "Decoder": read
and resize all files, "network": score images that are in memory at 256 pixels, both with all cores. One core cannot do
both at once, so "both at best" is what the two leave of each other: 1 / (1 / decoder + 1 / network). "Whole": from the
folder to a CSV file. anomalib's Engine.predict runs as it is by default (batches of one, no loader processes) and with
batches of 8 and a loader process a core; without its pictures of results. Its clock begins before the Engine's start,
ours before the listing of the folder; models are built before. "First result": a new process of `fastflow-lite predict`
until its first row, median. Needs the extra `bench`; --alone leaves anomalib out. Records: results/predict.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import harness
import numpy as np
import peer
import torch
from harness import markdown
from PIL import Image

from fastflow_lite import FastFlow
from fastflow_lite.datasets.image_inputs import read_input, resized
from fastflow_lite.datasets.input_format import InputFormat
from fastflow_lite.datasets.listing import list_images
from fastflow_lite.datasets.read_ahead import reader_threads
from fastflow_lite.detection import Detector
from fastflow_lite.synthetic.toy import render

SIDE, SIZE = 900, (256, 256)
SCENES = 4  # drawn; the files of one scene differ by noise
WAYS: dict[str, dict[str, Any]] = {"as it is": {}, "batches of 8": {"batch_size": 8, "num_workers": os.cpu_count()}}


def draw(folder: Path, count: int, form: str) -> Path:
    """Write the files that are not there yet, and return their folder."""
    place = folder / f"{form}-{count}"
    place.mkdir(parents=True, exist_ok=True)
    scenes: list[np.ndarray] = []
    for index in range(count):
        path = place / f"{index:05}.{form}"
        if not path.exists():
            scenes = scenes or [render("part", np.random.default_rng(k), SIDE)[0] for k in range(SCENES)]
            noise = np.random.default_rng(index).normal(0, 2, (SIDE, SIDE, 3))
            picture = np.clip(scenes[index % SCENES] + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(path, quality=92)
    return place


class Ours:
    """Our detector, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        model = FastFlow("resnet18", "bundled", steps=8)
        images = torch.stack([resized(read_input(str(path), path), SIZE) for path in list_images(folder)[:8]])
        with torch.no_grad():
            model.train()(images)
        model.input_format = InputFormat(SIZE)
        self.images, self.folder = images, folder
        self.detector = Detector.calibrate(model.eval(), images, rule="quantile")

    def save(self, path: Path) -> None:
        self.detector.save(path)

    def decoder(self) -> int:
        paths = list_images(self.folder)
        with ThreadPoolExecutor(reader_threads()) as pool:
            return sum(1 for _ in pool.map(lambda path: resized(read_input(str(path), path), SIZE).sum(), paths))

    def network(self) -> int:
        return sum(1 for _ in self.detector.scorer([self.images[k % 8] for k in range(len(list_images(self.folder)))]))

    def whole(self) -> int:
        with tempfile.NamedTemporaryFile("w", newline="") as file:
            rows, count = csv.writer(file), 0
            for finding in self.detector.findings(self.folder):
                rows.writerow([finding.name, finding.score, finding.raw_score, finding.alarm])
                count += 1
        return count


def theirs(folder: Path, way: str) -> dict[str, float]:
    """anomalib's Engine over all files, and how many cores were at work, its loader processes included."""
    peer.anomalib_version()
    for name in ("lightning", "lightning.pytorch", "anomalib"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from anomalib.data import PredictDataset
    from anomalib.engine import Engine
    from anomalib.models import Fastflow
    from torch.utils.data import DataLoader

    model, work = Fastflow("resnet18", False, 8, visualizer=False), tempfile.mkdtemp()
    began, used = time.perf_counter(), processor_seconds()
    engine = Engine(default_root_dir=work, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)
    images = PredictDataset(path=folder)
    loader = DataLoader(images, collate_fn=images.collate_fn, **WAYS[way])
    with tempfile.NamedTemporaryFile("w", newline="") as file:
        rows, count = csv.writer(file), 0
        for batch in engine.predict(model=model, dataloaders=loader, return_predictions=True):
            for path, score in zip(batch.image_path, batch.pred_score.flatten().tolist(), strict=True):
                rows.writerow([path, score])
                count += 1
    del loader
    return rates(count, time.perf_counter() - began, processor_seconds() - used)


def rates(count: int, seconds: float, processor: float) -> dict[str, float]:
    """Images a second, processor time of an image (other programs stretch it less), and how many cores were at work."""
    return {"rate": count / seconds, "processor_ms": 1000 * processor / count, "cores": processor / seconds}


def processor_seconds() -> float:
    """Of this process and its ended children."""
    return sum(os.times()[:4])


def run_theirs(folder: Path, way: str) -> dict[str, float]:
    """`theirs` in a new process: loader processes that a process pool's child forks were killed now and then."""
    code = (
        "import json, pathlib, sys, predict; print(json.dumps(predict.theirs(pathlib.Path(sys.argv[1]), sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(folder), way]
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | harness.QUIET | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"anomalib's predict failed: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


_side: list[Ours] = []  # of this process


def build(folder: Path) -> None:
    _side[:] = [Ours(folder)]


def call(name: str, *arguments: Any) -> Any:
    return getattr(_side[0], name)(*arguments)


def timed(name: str) -> dict[str, float]:
    """The rates of one method."""
    began, used = time.perf_counter(), processor_seconds()
    count = call(name)
    return rates(count, time.perf_counter() - began, processor_seconds() - used)


def first_result(detector: Path, folder: Path) -> float:
    """Seconds from the start of the command to its first row."""
    command = [sys.executable, "-m", "fastflow_lite.cli", "predict", str(detector), str(folder), "--json-lines", "-"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        line = process.stdout.readline() if process.stdout else b""
        seconds = time.perf_counter() - began
        process.kill()
    if not line:
        raise SystemExit("fastflow-lite predict printed nothing")
    return seconds


def measure(args: argparse.Namespace, folder: Path, form: str) -> dict[str, Any]:
    """All rates of one format, in turns."""
    place = draw(folder, args.count, form)
    found: dict[str, list[dict[str, float]]] = {}
    starts: dict[str, list[float]] = {"one file": [], "a folder": []}
    ours = harness.Fresh()
    ours(build, place)
    ours(call, "save", folder / "part.safetensors")
    for _ in range(args.rounds):
        for name in ("decoder", "network", "whole"):
            note(found, name, ours(timed, name))
        for way in () if args.alone else WAYS:
            note(found, f"anomalib, {way}", run_theirs(place, way))
        starts["one file"].append(first_result(folder / "part.safetensors", list_images(place)[0]))
        starts["a folder"].append(first_result(folder / "part.safetensors", place))
    ours.pool.shutdown()
    rows = {name: {key: harness.spread(row[key] for row in rows) for key in rows[0]} for name, rows in found.items()}
    return {"count": args.count, "rounds": args.rounds, "rows": rows, "first_result": starts}


def note(found: dict[str, list[dict[str, float]]], name: str, row: dict[str, float]) -> None:
    """Keep a row and show it, since a round takes minutes."""
    found.setdefault(name, []).append(row)
    print(
        f"{name}: {row['rate']:.1f} images/s, {row['processor_ms']:.0f} ms, {row['cores']:.2f} cores", file=sys.stderr
    )


def show(form: str, record: dict[str, Any]) -> None:
    rows = {name: row["rate"]["median"] for name, row in record["rows"].items()}
    best = 1 / (1 / rows["decoder"] + 1 / rows["network"])
    table: list[dict[str, Any]] = []
    for name, row in record["rows"].items():
        share = f"{rows[name] / best:.2f}" if name == "whole" or name.startswith("anomalib") else ""
        cells = {
            "files": form,
            "work": name,
            "images/s": harness.shown(row["rate"]),
            "processor ms an image": harness.shown(row["processor_ms"], 0),
            "cores at work": harness.shown(row["cores"]),
        }
        table.append(cells | {"of both at best": share})
    table.insert(2, dict.fromkeys(table[0], "") | {"files": form, "work": "both at best", "images/s": f"{best:.1f}"})
    print(markdown(table))
    for what, seconds in record["first_result"].items():
        print(f"\nfirst result of fastflow-lite predict, {what}: {harness.shown(harness.spread(seconds), 2)} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="image files of each format")
    parser.add_argument("--formats", nargs="+", default=["png", "jpg"], choices=("png", "jpg"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files are drawn, and kept (default: a temporary one)")
    parser.add_argument("--alone", action="store_true", help="without anomalib")
    parser.add_argument("--no-record", action="store_true", help="print the tables alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for form in args.formats:
            record = measure(args, args.folder or Path(temporary), form)
            show(form, record)
            if not args.no_record:
                harness.keep("predict", {f"{form} {args.count}": record | harness.provenance()})


if __name__ == "__main__":
    main()
