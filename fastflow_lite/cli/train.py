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

from fastflow_lite.backbones import default_backbone
from fastflow_lite.cli.inspect_data import show
from fastflow_lite.course.parameters import check
from fastflow_lite.datasets import Data, open_dataset
from fastflow_lite.datasets.inspection import warn_of_data
from fastflow_lite.detection.detector import Detector
from fastflow_lite.detection.detector_evaluation import evaluate_detector
from fastflow_lite.detection.detector_training import cut, divide, normal_images, share_for
from fastflow_lite.detection.evaluation_report import decision_line, evaluation_record, metrics_line, write_json
from fastflow_lite.detection.ignored_region import read_ignored
from fastflow_lite.detection.tiling import Tiles
from fastflow_lite.errors import ArgumentError, DataError, FastFlowError
from fastflow_lite.evaluation.evaluator import evaluate
from fastflow_lite.evaluation.report import summary_line
from fastflow_lite.files import remove_leftovers
from fastflow_lite.flows import PRECISIONS
from fastflow_lite.machine import DEVICES
from fastflow_lite.model import FastFlow
from fastflow_lite.processes import join, local_device
from fastflow_lite.training import recipes
from fastflow_lite.training.history import History
from fastflow_lite.training.trainer import fit

CHECKED = ("backbone", "weights", "recipe", "seed")
RULES = ("conformal", "quantile")
RECORDED = ("category", "backbone", "weights", "recipe", "seed")
SUFFIX = ".safetensors"
Size = int | tuple[int, int]


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


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite train`."""
    parser.add_argument("folder", type=Path, nargs="*", help="where the images are: folders of any form, or a CSV file")
    parser.add_argument("--dataset", help="instead of a folder: toy, mvtec, btad, or a folder (default toy)")
    parser.add_argument("--category", help="of the data set; a folder may be one itself")
    parser.add_argument("--root", type=Path, help="where data sets lie (default: FASTFLOW_LITE_DATA, else data)")
    parser.add_argument("--backbone", help="a name of the paper or any of timm (default: see --weights)")
    parser.add_argument(
        "--weights",
        default="bundled",
        help="bundled (resnet18, the default), imagenet (tf_efficientnet_lite0, from the extra imagenet), timm, random "
        "or a file",
    )
    parser.add_argument("--recipe", choices=recipes.RECIPES, default="ours", help="settings (default ours)")
    parser.add_argument(
        "--image-size",
        type=_size,
        help="pixels a side, or height x width as 256x512 (default: the paper's for this backbone)",
    )
    parser.add_argument("--tile", type=_positive, help="judge large images in tiles of so many pixels a side")
    parser.add_argument("--overlap", type=int, help="pixels that tiles share (default: a quarter of them)")
    parser.add_argument(
        "--white-level", type=_positive, help="of 16-bit files, such as 4095 (default: found in the training images)"
    )
    parser.add_argument("--rule", type=_rule, default="conformal", help=f"{', '.join(RULES)} or a raw score: how the "
                        "threshold is set, by good images that are held out (default conformal)")  # fmt: skip
    parser.add_argument("--alpha", type=float, default=0.05, help="share of false alarms aimed at (default 0.05)")
    parser.add_argument("--ignore", type=Path, metavar="MASK", help="an image, bright where nothing is to be judged")
    parser.add_argument("--steps", type=_positive, help="flow steps (default: the paper's for this backbone)")
    parser.add_argument("--epochs", type=_positive, help="passes over the images (default: the recipe's)")
    parser.add_argument(
        "--batch-size", type=_positive, help="images a step, of all processes together (default: the recipe's)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and splits (default 0)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of the flow's products (default float32)"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default auto: a GPU, without one the CPU")
    parser.add_argument("--dry-run", action="store_true", help="print what is understood of the images, and end")
    parser.add_argument("--out", type=Path, help="part.safetensors, or a folder for model, record and checkpoint")


def run(args: argparse.Namespace) -> int:
    """Train on most normal images, set thresholds by the others, write the detector, then evaluate it.

    The exit status is 2 if it could not be evaluated because an image cannot be used; the detector is kept.
    """
    args.backbone = args.backbone or default_backbone(args.weights)
    if args.dry_run:
        _checked(args)
        show(lambda: _open(args, 256))
        return 0
    if args.out is None:
        raise ArgumentError("give --out part.safetensors, or --dry-run")
    with join(args.device) as group:
        device, places, tiles = local_device(args.device), Places.of(args.out), _checked(args)
        with group.first_alone():
            _make_room(args.out, places)
            size: Size = args.tile or args.image_size or recipes.image_size(args.backbone)
            model = _build(args).to(device)
            model.backbone.check_size((size, size) if isinstance(size, int) else size)
            data = _open(args, size)
        if group.is_first:
            warn_of_data(data)
        images = normal_images(data, size, args.white_level, tiles)
        normal, held_out = divide(images, share_for(len(images), args.alpha), args.seed)
        asked = {"epochs": args.epochs, "batch_size": args.batch_size}
        changes: Any = {name: value for name, value in asked.items() if value}
        changes |= {"seed": args.seed, "precision": args.precision}
        settings = replace(recipes.training_settings(args.recipe, data.category), **changes)
        train, watched = (part if tiles is None else cut(part, tiles) for part in (normal, held_out))
        history = fit(model, train, settings, held_out=watched, checkpoint=places.checkpoint, group=group)
    if not group.is_first:
        return 0
    detector = _calibrate(model, held_out, history, args, places)
    parameters = {name: getattr(args, name) for name in RECORDED} | {"processes": group.size}
    parameters |= {"dataset": args.dataset or " ".join(map(str, args.folder)) or "toy"}
    return _evaluate(detector, data, held_out, history, parameters, places)


def _checked(args: argparse.Namespace) -> Tiles | None:
    """Check what can be checked before anything is read, and return the tiles that were asked for."""
    if args.folder and args.dataset:
        raise ArgumentError(f"give {args.folder[0]} or --dataset {args.dataset}, not both")
    tiles = Tiles.checked(args.tile, args.overlap)
    if tiles is not None and args.image_size is not None:
        raise ArgumentError("give --tile or --image-size, not both: tiles are cut from images at their own size")
    given = {name: value for name in CHECKED if (value := getattr(args, name)) is not None}
    size = args.image_size or ()
    for side in (size,) if isinstance(size, int) else size:
        check(given | {"image_size": side})
    check(given)
    if not 0 < args.alpha < 1:
        raise ArgumentError(f"alpha must be between 0 and 1, got {args.alpha}")
    if args.ignore is not None:
        read_ignored(args.ignore, (1, 1))
    return tiles


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


def _build(args: argparse.Namespace) -> FastFlow:
    config = recipes.model_config(args.recipe, args.backbone)
    return FastFlow(weights=args.weights, config=config, steps=args.steps, seed=args.seed)


def _calibrate(model: FastFlow, held_out: Any, history: History, args: argparse.Namespace, places: Places) -> Detector:
    """Set the threshold and write the detector; the model is written before, so that no error loses it."""
    model.save(places.model)
    options = {"rule": args.rule, "alpha": args.alpha, "ignore": args.ignore, "tile": args.tile}
    detector = Detector.calibrate(model, held_out, overlap=args.overlap, train_sha256=history.train_sha256, **options)
    detector.save(places.model)
    if places.is_single:
        places.checkpoint.unlink(missing_ok=True)
    return detector


def _evaluate(
    detector: Detector, data: Data, held_out: Any, history: History, parameters: dict[str, Any], places: Places
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
    detector: Detector, data: Data, held_out: Any, history: History, parameters: dict[str, Any], record: Path
) -> list[str]:
    """Write the record of the test images and return two lines about it: metrics, and decisions of the threshold."""
    if detector.tile is not None or detector.ignore is not None:  # judged in tiles, or without a part of them
        found = evaluate_detector(detector, data.test)
        write_json(record, evaluation_record(detector, data.test, found, parameters))
        summary, labels, alarms = metrics_line(data.category, found.labels, found.metrics), found.labels, found.alarms
    else:
        result = evaluate(
            detector.model, data.test, normal=held_out, history=history, parameters=parameters,
            seed=history.settings.seed,
        )  # fmt: skip
        result.to_json(record)
        summary, labels = summary_line(result.record), result.labels
        alarms = detector.threshold.decide(result.scores)
    return [summary, decision_line(detector, labels, alarms)]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


def _size(text: str) -> Size:
    """Return `256` as a number, `256x512` as height and width."""
    sides = [_positive(side) for side in text.split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text} is no size, such as 256 or 256x512 (height x width)")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _rule(text: str) -> str | float:
    if text in RULES:
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is neither {' nor '.join(RULES)} nor a raw score") from None


if __name__ == "__main__":
    from fastflow_lite.cli.main import main

    sys.exit(main(["train", *sys.argv[1:]]))
