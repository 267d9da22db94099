"""From image files to a trained, evaluated model: seconds by stage, and AUROC against seconds, beside anomalib's.

    python benchmarks/time_to_quality.py theirs --root mvtec --category bottle --weights resnet18.safetensors
    python benchmarks/time_to_quality.py ours --root mvtec --category bottle --weights resnet18.safetensors
    python benchmarks/time_to_quality.py table

anomalib trains by its own Engine, data module and defaults: batch 32, Adam 1e-3, 8 loader processes, image and pixel
AUROC of the test images after every epoch (that is its default), at most 500 epochs, early stopping with patience 3 on
the pixel AUROC, as its example configuration has it; the weights of its backbone are those of ours. --max-epochs caps
it, and the record says so. Its clock runs from the files to the end of each evaluation.

Ours is `fit` and `score_images` with default settings but for the number of epochs: every point is a whole run of its
own, from the files, since the learning rate's schedule needs its end. No epoch is chosen: each budget is a row.
anomalib's moment is the one from which both its AUROCs stay at or above their last values. Where other work disturbed
it, a record may have `seconds_an_epoch` of the undisturbed part, and then these count.
Records: results/time_to_quality.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import peer
from harness import markdown
from torch import Tensor

from fastflow_lite import FastFlow
from fastflow_lite.datasets import ImageSet, open_dataset
from fastflow_lite.evaluation import score_images
from fastflow_lite.scoring.metrics import auroc
from fastflow_lite.training import fit

SIZE = 256
AUROCS = ("image_auroc", "pixel_auroc")


class Timed(ImageSet):
    """An image set that counts the seconds of reading and resizing files, of all threads together."""

    seconds, lock = 0.0, threading.Lock()

    @classmethod
    def of(cls, images: ImageSet) -> Timed:
        return cls(images.samples, images.size, images.root, images.category)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        start = time.perf_counter()
        item = super().__getitem__(index)
        with self.lock:  # several threads read
            self.seconds += time.perf_counter() - start
        return item


def ours(args: argparse.Namespace, epochs: int, seed: int) -> dict[str, Any]:
    """One whole run. Decoding lies within "features" and "scoring", whose seconds are without it."""
    start, processor = time.perf_counter(), time.process_time()
    data = open_dataset(args.root / args.category, image_size=SIZE)
    train, test = Timed.of(data.train), Timed.of(data.test)
    model = FastFlow("resnet18", args.weights, seed=seed)
    built = time.perf_counter()
    history = fit(model, train, epochs=epochs, seed=seed, progress=False, **args.options)
    fitted = time.perf_counter()
    scored = score_images(model, test, (model.map,))
    judged = time.perf_counter()
    found = {
        "image_auroc": auroc(test.labels, scored.scores[model.map]),
        "pixel_auroc": auroc(scored.masks, scored.maps[model.map]),
    }
    end = time.perf_counter()
    stages = {"build": built - start, "decode": train.seconds + test.seconds}
    stages |= {"fit before training": fitted - built - history.seconds["training"]}
    stages |= {"training": history.seconds["training"], "scoring": judged - fitted, "metrics": end - judged}
    return (
        {"epochs": epochs, "seed": seed, "options": args.options, "seconds": end - start}
        | {"processor_seconds": time.process_time() - processor, "stages": stages}
        | found
    )


def theirs(args: argparse.Namespace, save: Callable[[dict[str, Any]], None]) -> None:
    """anomalib's own training; a point after each of its evaluations, saved at once, so that an end loses none."""
    start = time.perf_counter()
    peer.anomalib_version()
    from anomalib.data import MVTecAD
    from anomalib.engine import Engine
    from anomalib.models import Fastflow
    from lightning.pytorch import seed_everything
    from lightning.pytorch.callbacks import Callback, EarlyStopping

    points: list[dict[str, float]] = []
    stages = {"training": 0.0, "evaluation": 0.0}

    class Recorder(Callback):  # type: ignore[misc]  # lightning is installed for benchmarks alone
        mark = 0.0

        def on_train_epoch_start(self, *_: Any) -> None:
            self.mark = time.perf_counter()

        def on_validation_start(self, *_: Any) -> None:
            now = time.perf_counter()
            stages["training"] += now - self.mark
            self.mark = now

        def on_validation_end(self, trainer: Any, *_: Any) -> None:
            now = time.perf_counter()
            stages["evaluation"] += now - self.mark
            named = {name.lower(): float(value) for name, value in trainer.callback_metrics.items()}
            points.append({"seconds": now - start} | {name: named[name] for name in AUROCS})
            print(f"epoch {len(points)}: {points[-1]}", flush=True)
            save({"points": points, "stages": stages, "ended_by_itself": False})

    seed_everything(args.seed, workers=True)
    model = Fastflow(backbone="resnet18", pre_trained=False)
    peer.load_backbone(model.model, FastFlow("resnet18", args.weights, steps=1).backbone.network)
    stop = EarlyStopping(monitor="pixel_AUROC", mode="max", patience=3)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(callbacks=[stop, Recorder()], default_root_dir=folder, max_epochs=args.max_epochs or 500)
        imported = time.perf_counter()
        engine.fit(model, datamodule=MVTecAD(root=args.root, category=args.category))
    stages |= {"import and build": imported - start}
    stopped = args.max_epochs is None or len(points) < args.max_epochs
    save({"points": points, "stages": stages, "ended_by_itself": stopped})


def reached(run: dict[str, Any]) -> float:
    """Seconds at which both AUROCs of anomalib are at their last values or above and stay there."""
    points = run["points"]
    below = [k for k, point in enumerate(points) if any(point[name] < points[-1][name] for name in AUROCS)]
    first = below[-1] + 1 if below else 0
    return (first + 1) * run["seconds_an_epoch"] if "seconds_an_epoch" in run else points[first]["seconds"]


def rows(name: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    """anomalib's last point, then every run of ours; ratios are to the moment anomalib reached its last values."""
    other = record["anomalib"]
    last, when = other["points"][-1], reached(other)
    found = [row(name, f"anomalib, {len(other['points'])} epochs", when, last, "")]
    for run in record.get("ours", []):
        good = all(run[k] >= last[k] for k in AUROCS)
        label = f"ours, {run['epochs']} epochs, seed {run['seed']}" + "".join(
            f", {k} {v}" for k, v in run["options"].items()
        )
        found.append(row(name, label, run["seconds"], run, f"{when / run['seconds']:.1f}" if good else "not reached"))
    return found


def row(category: str, who: str, seconds: float, values: dict[str, float], ratio: str) -> dict[str, Any]:
    aurocs = {name: f"{values[name]:.4f}" for name in AUROCS}
    return {"category": category, "run": who, "seconds": f"{seconds:.0f}"} | aurocs | {"times sooner": ratio}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["ours", "theirs", "table"])
    parser.add_argument("--root", type=Path, help="the folder that holds categories in MVTec layout")
    parser.add_argument("--category", default="bottle")
    parser.add_argument("--weights", help="of ResNet-18, a file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 4, 8], help="budgets of ours, a run each")
    parser.add_argument(
        "--options", type=json.loads, default={}, help='more arguments of fit, as JSON: {"batch_size": 4}'
    )
    parser.add_argument("--max-epochs", type=int, help="anomalib's, instead of 500")
    args = parser.parse_args()
    if args.side != "table" and not (args.root and args.weights):
        parser.error("--root and --weights are needed")
    return args


def main() -> None:
    place = harness.RESULTS / "time_to_quality.json"
    args, found = arguments(), harness.read_json(place)
    if args.side != "table":
        record = found.setdefault(args.category, {})
        record |= harness.provenance() | {"image_size": SIZE}
        if args.side == "theirs":

            def save(run: dict[str, Any]) -> None:
                harness.keep("time_to_quality", {args.category: record | {"anomalib": run}})

            theirs(args, save)
        else:
            new = [ours(args, epochs, args.seed) for epochs in args.epochs]
            same = [(r["epochs"], r["seed"], r["options"]) for r in new]
            kept = [r for r in record.get("ours", []) if (r["epochs"], r["seed"], r["options"]) not in same]
            record["ours"] = sorted(kept + new, key=lambda r: (str(r["options"]), r["epochs"], r["seed"]))
            harness.keep("time_to_quality", {args.category: record})
    both = {name: record for name, record in harness.read_json(place).items() if "anomalib" in record}
    print(markdown([r for name, record in both.items() for r in rows(name, record)]))


if __name__ == "__main__":
    main()
