"""`fastflow-lite evaluate`: judge the labeled images of a folder, and compare with what is known about them.

Where there is a test set, as in MVTec's layout, only that is judged. Without one, what `train` leaves for the test of
the same folder is judged, or every image with `--all`.

fastflow-lite evaluate part.safetensors parts/ --out result.json
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastflow_lite.errors import DataError, printable
from fastflow_lite.machine import DEVICES, choose_device

if TYPE_CHECKING:
    from fastflow_lite.datasets import Data


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite evaluate`."""
    parser.add_argument("detector", type=Path, help="a file that `fastflow-lite train` or Detector.save wrote")
    parser.add_argument("folder", type=Path, help="where the images are, in any form that `train` takes")
    parser.add_argument("--category", help="of the data set; a folder may be one itself")
    parser.add_argument(
        "--all",
        action="store_true",
        help="of a folder without a test set, judge all images: for a folder that the detector was not trained on",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write metrics and every decision to a JSON file")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default auto: a GPU, without one the CPU")


def run(args: argparse.Namespace) -> int:
    """Print metrics, what the threshold did, and which images it decided wrongly; return 0."""
    from fastflow_lite.detection.detector import Detector
    from fastflow_lite.detection.detector_evaluation import evaluate_detector
    from fastflow_lite.detection.evaluation_report import (
        decision_line,
        evaluation_record,
        metrics_line,
        write_json,
        wrong_decisions,
    )
    from fastflow_lite.detection.outputs import check_place
    from fastflow_lite.progress import Count

    detector = Detector.load(args.detector).to(choose_device(args.device))
    data = _opened(args, detector.size, detector.model.input_format.white_level)
    images = data.test
    if not len(images):
        raise DataError(f"{args.folder} holds no image for a test ({data.layout}): give --all to judge every image")
    if args.out is not None:
        check_place(args.out)
    with Count(len(images)) as count:
        found = evaluate_detector(detector, images, lambda _: count.step())
    print(printable(f"{images.category}: {data.layout}"))
    print(metrics_line(images.category, found.labels, found.metrics))
    print(decision_line(detector, found.labels, found.alarms))
    for line in wrong_decisions(found.names, found.labels, found.alarms):
        print(line)
    if args.out is not None:
        parameters = {"detector": str(args.detector), "dataset": str(args.folder), "category": images.category}
        write_json(args.out, evaluation_record(detector, images, found, parameters))
        print(f"record: {args.out}")
    return 0


def _opened(args: argparse.Namespace, size: tuple[int, int], level: int | None) -> Data:
    """Open the folder as `train` does, so that no image of a training is judged, or where that cannot be, to judge."""
    from fastflow_lite.datasets import open_dataset

    opened = partial(open_dataset, args.folder, args.category, image_size=size, white_level=level)
    if not args.all:
        with suppress(DataError):  # such as one without an image to train on
            return opened()
    return opened(to_train=False)
