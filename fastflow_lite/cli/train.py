"""Train one FastFlow on a category and evaluate it, in one process or, with torchrun, in several that share each batch.

    fastflow-lite train --category weave --out runs/weave
    torchrun --nproc-per-node 2 -m fastflow_lite.cli.train --category weave --out runs/weave

The same command again goes on where it stopped, with as many processes as one likes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastflow_lite.course.parameters import check
from fastflow_lite.datasets import Data, ImageSet, open_dataset
from fastflow_lite.errors import DataError
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

CHECKED = ("backbone", "weights", "recipe", "image_size", "seed")
MODEL, RECORD, CHECKPOINT = "model.safetensors", "result.json", "training.ckpt"
RECORDED = ("dataset", "category", "backbone", "weights", "recipe", "seed")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite train`."""
    parser.add_argument("--dataset", default="toy", help="toy, mvtec, btad, or a folder in MVTec layout (default toy)")
    parser.add_argument("--category", help="of the data set; a folder may be one itself")
    parser.add_argument("--root", type=Path, help="where data sets lie (default: FASTFLOW_LITE_DATA, else data)")
    parser.add_argument("--backbone", default="resnet18", help="a name of the paper or any of timm (default resnet18)")
    parser.add_argument("--weights", default="bundled", help="bundled (resnet18), timm, random or a file")
    parser.add_argument("--recipe", choices=recipes.RECIPES, default="ours", help="settings (default ours)")
    parser.add_argument("--image-size", type=_positive, help="pixels a side (default: the paper's for this backbone)")
    parser.add_argument(
        "--white-level", type=_positive, help="of 16-bit files, such as 4095 (default: found in the training images)"
    )
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
    parser.add_argument("--out", type=Path, required=True, help="the folder for model, record and checkpoint")


def run(args: argparse.Namespace) -> int:
    """Train on 90 % of the normal images, set thresholds by the others, write the model and its record."""
    with join(args.device) as group:
        device = local_device(args.device)
        check({name: value for name in CHECKED if (value := getattr(args, name)) is not None})
        with group.first_alone():
            _make_folder(args.out)
            size, model = args.image_size or recipes.image_size(args.backbone), _build(args).to(device)
            model.backbone.check_size((size, size))
            data = open_dataset(
                args.dataset, args.category, root=args.root, image_size=size, white_level=args.white_level
            )
        train, held_out = data.train.split(0.1, seed=args.seed)
        asked = {"epochs": args.epochs, "batch_size": args.batch_size}
        changes: Any = {name: value for name, value in asked.items() if value}
        changes |= {"seed": args.seed, "precision": args.precision}
        settings = replace(recipes.training_settings(args.recipe, data.category), **changes)
        history = fit(model, train, settings, held_out=held_out, checkpoint=args.out / CHECKPOINT, group=group)
    if group.is_first:
        parameters = {name: getattr(args, name) for name in RECORDED} | {"processes": group.size}
        _evaluate(model, data, held_out, history, parameters, args.out)
    return 0


def _make_folder(out: Path) -> None:
    """Make the folder and write a file in it: a DataError now, not after the training."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as file:
            file.write(b"0")
    except OSError as error:
        raise DataError(f"--out {out} cannot hold a model: {error.strerror or error}") from error
    for name in (MODEL, RECORD, CHECKPOINT):
        if (out / name).is_dir():
            raise DataError(f"--out {out} cannot hold a model: {name} is a folder there")
    remove_leftovers(out)


def _build(args: argparse.Namespace) -> FastFlow:
    config = recipes.model_config(args.recipe, args.backbone)
    return FastFlow(weights=args.weights, config=config, steps=args.steps, seed=args.seed)


def _evaluate(
    model: FastFlow, data: Data, held_out: ImageSet, history: History, parameters: dict[str, Any], out: Path
) -> None:
    model.save(out / MODEL)
    seed = history.settings.seed
    result = evaluate(model, data.test, normal=held_out, history=history, parameters=parameters, seed=seed)
    result.to_json(out / RECORD)
    print(f"{summary_line(result.record)}\nmodel and record: {out}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


if __name__ == "__main__":
    from fastflow_lite.cli.main import main

    sys.exit(main(["train", *sys.argv[1:]]))
