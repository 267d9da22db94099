"""The options of `fastflow-lite train`, their types, and what is refused before anything is read."""

from __future__ import annotations

import argparse
import math
from contextlib import suppress
from pathlib import Path

from fastflow_lite.backbones import default_backbone, default_weights
from fastflow_lite.baselines import BASELINES
from fastflow_lite.course.parameters import check
from fastflow_lite.detection.ignored_region import read_ignored
from fastflow_lite.detection.tiling import Tiles
from fastflow_lite.errors import ArgumentError
from fastflow_lite.flows import PRECISIONS
from fastflow_lite.machine import DEVICES
from fastflow_lite.training import recipes

CHECKED = ("backbone", "weights", "recipe", "seed")
FLOW = "fastflow"
METHODS = (FLOW, *BASELINES)
FLOW_DEFAULTS = {"recipe": "ours", "steps": None, "epochs": None, "updates": None}
FLOW_DEFAULTS |= {"batch_size": None, "precision": "float32"}
RULES = ("conformal", "quantile")
Size = int | tuple[int, int]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite train`."""
    parser.add_argument("folder", type=Path, nargs="*", help="where the images are: folders of any form, or a CSV file")
    parser.add_argument("--dataset", help="instead of a folder: toy, mvtec, btad, or a folder (default toy)")
    parser.add_argument("--category", help="of the data set; a folder may be one itself")
    parser.add_argument("--root", type=Path, help="where data sets lie (default: FASTFLOW_LITE_DATA, else data)")
    parser.add_argument("--backbone", help="a name of the paper or any of timm (default: see --weights)")
    parser.add_argument(
        "--weights",
        help="imagenet (tf_efficientnet_lite0; the default where the extra imagenet is installed), bundled (resnet18; "
        "else the default), timm, random or a file",
    )
    parser.add_argument("--method", choices=METHODS, default=FLOW, help="what is trained (default fastflow)")
    parser.add_argument("--recipe", choices=recipes.RECIPES, help="settings (default ours)")
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
    parser.add_argument("--updates", type=_positive, help="steps of the optimizer, in place of --epochs")
    parser.add_argument(
        "--batch-size", type=_positive, help="images a step, of all processes together (default: the recipe's)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and splits (default 0)")
    parser.add_argument("--precision", choices=PRECISIONS, help="of the flow's products (default float32)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default auto: a GPU, without one the CPU")
    parser.add_argument("--dry-run", action="store_true", help="print what is understood of the images, and end")
    parser.add_argument("--out", type=Path, help="part.safetensors, or a folder for model, record and checkpoint")


def checked(args: argparse.Namespace) -> Tiles | None:
    """Check what can be checked before anything is read, set the defaults, and return the tiles that were asked for."""
    args.weights = args.weights or default_weights(args.backbone)
    args.backbone = args.backbone or default_backbone(args.weights)
    _set_defaults(args)
    if args.folder and args.dataset:
        raise ArgumentError(f"give {args.folder[0]} or --dataset {args.dataset}, not both")
    if args.epochs and args.updates:
        raise ArgumentError(f"give --epochs {args.epochs} or --updates {args.updates}, not both")
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


def _set_defaults(args: argparse.Namespace) -> None:
    """Set the defaults of the options that only a flow has. ArgumentError for one of them beside another method."""
    given = [name for name in FLOW_DEFAULTS if getattr(args, name) is not None]
    if args.method != FLOW and given:
        option = given[0].replace("_", "-")
        raise ArgumentError(f"--{option} is for --method {FLOW}: leave it out with --method {args.method}")
    for name, value in FLOW_DEFAULTS.items():
        setattr(args, name, value if getattr(args, name) is None else getattr(args, name))


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
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    raise argparse.ArgumentTypeError(f"{text} is neither {' nor '.join(RULES)} nor a raw score")
