"""Train a detector and evaluate it, in one process or, with torchrun, in several that share each batch.

    fastflow-lite train parts/ --out part.safetensors
    torchrun --nproc-per-node 2 -m fastflow_lite.cli.train --category weave --out runs/weave

The same command again goes on where it stopped, with as many processes as one likes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fastflow_lite.baselines import BASELINES, Baseline, FitHistory, PaDiM, PatchCore
from fastflow_lite.cli.inspect_data import show
from fastflow_lite.cli.train_options import FLOW, Size, arguments, checked
from fastflow_lite.datasets import Data, open_dataset
from fastflow_lite.datasets.inspection import warn_of_data
from fastflow_lite.detection.detector import Detector
from fastflow_lite.detection.detector_evaluation import evaluate_detector
from fastflow_lite.detection.detector_training import cut, divide, normal_images, share_for
from fastflow_lite.detection.evaluation_report import decision_line, evaluation_record, metrics_line, write_json
from fastflow_lite.errors import ArgumentError, DataError, FastFlowError
from fastflow_lite.evaluation.anomaly_model import TrainingHistory
from fastflow_lite.evaluation.evaluator import evaluate
from fastflow_lite.evaluation.report import summary_line
from fastflow_lite.files import remove_leftovers
from fastflow_lite.model import FastFlow
from fastflow_lite.processes import join, local_device
from fastflow_lite.training import recipes
from fastflow_lite.training.history import History
from fastflow_lite.training.settings import Settings
from fastflow_lite.training.trainer import fit

RECORDED = ("method", "category", "backbone", "weights", "recipe", "seed")
SUFFIX = ".safetensors"


__all__ = ["arguments", "run"]  # what a subcommand has


class Places(NamedTuple):
    """The files that a training writes; the checkpoint of a single file is removed in the end."""

    model: Path
    record: Path
    checkpoint: Path
    is_single: bool

    @classmethod
    def of(cls, out: Path) -> Places:
        """Return the files for `--out`: one file and what lies beside it, or a folder."""
        if out.suffix == SUFFIX and not out.is_dir():
            return cls(out, out.with_suffix(".json"), out.with_suffix(".ckpt"), True)
        return cls(out / "model.safetensors", out / "result.json", out / "training.ckpt", False)


def run(args: argparse.Namespace) -> int:
    """Train on most normal images, set thresholds by the others, write the detector, then evaluate it.

    The exit status is 2 if it could not be evaluated because an image cannot be used; the detector is kept.
    """
    tiles = checked(args)
    if args.dry_run:
        show(lambda: _open(args, 256))
        return 0
    if args.out is None:
        raise ArgumentError("give --out part.safetensors, or --dry-run")
    with join(args.device) as group:
        if args.method != FLOW and group.size > 1:
            raise ArgumentError(f"--method {args.method} is fitted in one process: run it without torchrun")
        device, places = local_device(args.device), Places.of(args.out)
        with group.first_alone():
            _make_room(args.out, places)
            size: Size = args.tile or args.image_size or recipes.image_size(args.backbone)
            model = _build(args).to(device)
            model.backbone.check_size((size, size) if isinstance(size, int) else size)
            data = _open(args, size)
        if group.is_first:
            print(f"{args.backbone}, weights {args.weights}: {model.backbone.weights_info.description}")
            warn_of_data(data)
        images = normal_images(data, size, args.white_level, tiles)
        normal, held_out = divide(images, share_for(len(images), args.alpha), args.seed)
        train, watched = (part if tiles is None else cut(part, tiles) for part in (normal, held_out))
        history: History | FitHistory
        if isinstance(model, Baseline):
            history = model.fit(train)
        else:
            settings = _settings(args, data.category)
            history = fit(model, train, settings, held_out=watched, checkpoint=places.checkpoint, group=group)
    if not group.is_first:
        return 0
    detector = _calibrate(model, held_out, history.train_sha256, args, places)
    parameters = {name: getattr(args, name) for name in RECORDED if name != "recipe" or args.method == FLOW}
    parameters |= {"processes": group.size}
    parameters |= {"dataset": args.dataset or " ".join(map(str, args.folder)) or "toy"}
    return _evaluate(detector, data, held_out, history, parameters, places)


def _open(args: argparse.Namespace, size: Size) -> Data:
    """Open the data set by its name, a path, or several paths."""
    source = args.folder[0] if len(args.folder) == 1 else args.folder or args.dataset or "toy"
    return open_dataset(source, args.category, root=args.root, image_size=size, white_level=args.white_level)


def _make_room(out: Path, places: Places) -> None:
    """Make the folder and write a file in it: a DataError now, not after the training."""
    folder = places.model.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        raise DataError(f"--out {out} cannot hold a model: {error.strerror or error}") from error
    for path in places[:3]:
        if path.is_dir():
            raise DataError(f"--out {out} cannot hold a model: {path.name} is a folder there")
    remove_leftovers(folder)


def _build(args: argparse.Namespace) -> FastFlow | PatchCore | PaDiM:
    if args.method != FLOW:
        return BASELINES[args.method](args.backbone, args.weights, seed=args.seed)
    config = replace(recipes.model_config(args.recipe, args.backbone), seed=args.seed)
    return FastFlow(weights=args.weights, config=replace(config, steps=args.steps) if args.steps else config)


def _settings(args: argparse.Namespace, category: str) -> Settings:
    asked = {"epochs": args.epochs, "updates": args.updates, "batch_size": args.batch_size}
    changes: Any = {name: value for name, value in asked.items() if value}
    changes |= {"seed": args.seed, "precision": args.precision}
    return recipes.training_settings(args.recipe, category).changed(**changes)


def _calibrate(
    model: FastFlow | PatchCore | PaDiM, held_out: Any, train_sha256: str, args: argparse.Namespace, places: Places
) -> Detector:
    """Set the threshold and write the detector; the model is written before, so that no error loses it."""
    model.save(places.model)
    options = {"rule": args.rule, "alpha": args.alpha, "ignore": args.ignore, "tile": args.tile}
    detector = Detector.calibrate(model, held_out, overlap=args.overlap, train_sha256=train_sha256, **options)
    detector.save(places.model)
    if places.is_single:
        places.checkpoint.unlink(missing_ok=True)
    return detector


def _evaluate(
    detector: Detector, data: Data, held_out: Any, history: TrainingHistory, parameters: dict[str, Any], places: Places
) -> int:
    """Judge the test images, write the record and print what came of it; whatever fails, the detector is there."""
    place = places.model if places.is_single else places.model.parent
    if not len(data.test):
        print(f"not evaluated, since there are no test images\nmodel: {place}")
        return 0
    try:
        for line in _judge(detector, data, held_out, history, parameters, places.record):
            print(line)
    except FastFlowError as error:
        print(f"not evaluated: {error}", file=sys.stderr)
        print(f"model: {place}")
        return 2
    print(f"model and record: {place}")
    return 0


def _judge(
    detector: Detector, data: Data, held_out: Any, history: TrainingHistory, parameters: dict[str, Any], record: Path
) -> list[str]:
    """Write the record of the test images and return two lines about it: metrics, and decisions of the threshold."""
    if detector.tile is not None or detector.ignore is not None:  # judged in tiles, or without a part of them
        found = evaluate_detector(detector, data.test)
        write_json(record, evaluation_record(detector, data.test, found, parameters))
        summary, labels, alarms = metrics_line(data.category, found.labels, found.metrics), found.labels, found.alarms
    else:
        result = evaluate(
            detector.model, data.test, normal=held_out, history=history, parameters=parameters,
            seed=parameters["seed"],
        )  # fmt: skip
        result.to_json(record)
        summary, labels = summary_line(result.record), result.labels
        alarms = detector.threshold.decide(result.scores)
    return [summary, decision_line(detector, labels, alarms)]


if __name__ == "__main__":
    from fastflow_lite.cli.main import main

    sys.exit(main(["train", *sys.argv[1:]]))
