"""`fastflow-lite predict`: judge images by a detector.

    fastflow-lite predict part.safetensors new/ --csv scores.csv --heatmaps heat --report report.html
    fastflow-lite predict part.safetensors belt/ --watch --json-lines -

Exit status: 3 with --fail-on-alarm if there was an alarm, else 2 if an image could not be used, else 0; 130 for Ctrl-C,
which keeps what was written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fastflow_lite.errors import ArgumentError, DataError, printable
from fastflow_lite.machine import DEVICES, choose_device

if TYPE_CHECKING:
    from fastflow_lite.detection.detector import Detector
    from fastflow_lite.detection.outputs import Counts, Outputs

INTERRUPTED = 130
Write = Callable[[str, TextIO], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite predict`."""
    parser.add_argument("detector", type=Path, help="a file that `fastflow-lite train` or Detector.save wrote")
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="image", help="image files, and folders with their subfolders"
    )
    parser.add_argument("--csv", metavar="FILE", help="a row for each image; it replaces the file")
    parser.add_argument("--json-lines", metavar="FILE", help="an object for each image; - is standard output")
    parser.add_argument("--heatmaps", type=Path, metavar="DIR", help="each image with its map in colors, as PNG")
    parser.add_argument("--report", metavar="FILE", help="one HTML file with pictures, for people; needs no network")
    parser.add_argument("--log", metavar="FILE", help="add all scores to this SQLite file, for `fastflow-lite drift`")
    parser.add_argument(
        "--watch", action="store_true", help="judge what comes into one folder, until Ctrl-C; files are added to"
    )
    parser.add_argument("--fail-on-alarm", action="store_true", help="exit status 3 if there was an alarm")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default auto: a GPU, without one the CPU")
    parser.add_argument("--batch-size", type=int, default=8, help="images in a pass (default 8)")


def run(args: argparse.Namespace) -> int:
    """Judge the images and return the exit status."""
    if "-" == args.csv == args.json_lines:
        raise ArgumentError("--csv and --json-lines cannot both be standard output")
    for place in args.images:
        if not place.exists():
            raise DataError(f"{place} does not exist")
    from fastflow_lite.datasets.listing import list_images
    from fastflow_lite.detection.detector import Detector
    from fastflow_lite.detection.outputs import Outputs
    from fastflow_lite.progress import Count

    detector = Detector.load(args.detector).to(choose_device(args.device))
    images = [image for place in args.images for image in (list_images(place, True) if place.is_dir() else [place])]
    began, interrupted = time.monotonic(), False
    options = {name: getattr(args, name) for name in ("csv", "json_lines", "heatmaps", "report", "log")}
    facts = {"detector": args.detector.name, "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")}
    with Outputs(detector, args.images, facts=facts, **options) as outputs, Count(len(images)) as count:
        try:
            _judge(detector, images, args, outputs, count.write, count.step)
        except KeyboardInterrupt:
            interrupted = True
    print(_summary(outputs.counts, time.monotonic() - began, interrupted), file=_messages(args))
    return INTERRUPTED if interrupted else _status(outputs.counts, args.fail_on_alarm)


def _judge(
    detector: Detector,
    images: list[Path],
    args: argparse.Namespace,
    outputs: Outputs,
    write: Write,
    step: Callable[[], None],
) -> None:
    """Judge the images in order, write each finding at once, and name each image that cannot be used."""
    from fastflow_lite.detection.finding_rows import plain_row

    def fail(name: str, error: DataError) -> None:
        outputs.fail(name, error)
        write(printable(f"fastflow-lite predict: {error}"), sys.stderr)
        step()

    for finding in detector.findings(images, batch_size=args.batch_size, on_error=fail):
        try:
            outputs.add(finding)
        except DataError as error:
            fail(finding.name, error)
            continue
        if _messages(args) is sys.stdout:
            write(plain_row(finding), sys.stdout)
        step()


def _messages(args: argparse.Namespace) -> TextIO:
    """Return where lines for people go: not among the rows that go to standard output."""
    return sys.stderr if "-" in (args.csv, args.json_lines) else sys.stdout


def _summary(counts: Counts, seconds: float, interrupted: bool) -> str:
    unusable = f", {counts.unusable} that cannot be used" if counts.unusable else ""
    rate = f"{counts.judged / max(seconds, 1e-9):.1f} images/s"
    end = "interrupted after " if interrupted else ""
    return f"{end}{counts.judged} images, {counts.alarms} alarms{unusable}; {seconds:.1f} s, {rate}"


def _status(counts: Counts, fail_on_alarm: bool) -> int:
    if fail_on_alarm and counts.alarms:
        return 3
    return 2 if counts.unusable else 0
