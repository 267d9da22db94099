"""`fastflow-lite predict`: judge images by a detector.

    fastflow-lite predict part.safetensors new/ --csv scores.csv --heatmaps heat --report report.html
    fastflow-lite predict part.safetensors belt/ --watch --json-lines -

Exit status: 3 with --fail-on-alarm if there was an alarm, else 2 if an image could not be used, else 0; 130 for Ctrl-C,
which keeps what was written. Ctrl-C and SIGTERM are how a watch ends, so its status is as of the other runs.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fastflow_lite.errors import ArgumentError, DataError, printable
from fastflow_lite.machine import DEVICES, choose_device

if TYPE_CHECKING:
    from fastflow_lite.detection.detector import Detector
    from fastflow_lite.detection.finding import Finding
    from fastflow_lite.detection.outputs import Counts, Outputs

STANDARD_OUTPUT = "-"
INTERRUPTED = 130


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
    _check(args)
    from fastflow_lite.detection.detector import Detector
    from fastflow_lite.detection.outputs import Outputs

    detector = Detector.load(args.detector).to(choose_device(args.device))
    names = ("csv", "json_lines", "heatmaps", "report", "log")
    places = {name: value for name in names if (value := getattr(args, name)) is not None}
    images, began, interrupted = _listed(args), time.monotonic(), False
    facts = {"detector": args.detector.name, "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")}
    with Outputs(detector, args.images, facts=facts, append=args.watch, **places) as outputs:
        try:
            if args.watch:
                _watch(detector, args, outputs)
            else:
                _judge(detector, images, args, outputs)
        except KeyboardInterrupt:
            interrupted = True
    summary = _summary(outputs.counts, time.monotonic() - began, interrupted and not args.watch)
    print(summary, file=_messages(args), flush=True)
    return INTERRUPTED if interrupted and not args.watch else _status(outputs.counts, args.fail_on_alarm)


def _check(args: argparse.Namespace) -> None:
    """Check what can be checked before anything is loaded."""
    if args.csv == args.json_lines == STANDARD_OUTPUT:
        raise ArgumentError("--csv and --json-lines cannot both be standard output")
    for place in args.images:
        if not place.exists():
            raise DataError(f"{place} does not exist")
    if args.watch and (len(args.images) > 1 or not args.images[0].is_dir()):
        raise ArgumentError(f"--watch takes one folder, got {' '.join(map(str, args.images))}")
    if args.watch and args.report:
        raise ArgumentError("--report is written when all images are judged, and --watch does not end: leave one out")


def _listed(args: argparse.Namespace) -> list[Path]:
    from fastflow_lite.datasets.listing import list_images

    if args.watch:
        return []
    return [image for place in args.images for image in (list_images(place, True) if place.is_dir() else [place])]


def _judge(detector: Detector, images: list[Path], args: argparse.Namespace, outputs: Outputs) -> None:
    """Judge the images in order, write each finding at once, and name each image that cannot be used."""
    from fastflow_lite.progress import Count

    with Count(len(images)) as count:
        lines = _Lines(outputs, _messages(args), count.write)

        def fail(name: str, error: DataError) -> None:
            lines.fail(name, error)
            count.step()

        for finding in detector.findings(images, batch_size=args.batch_size, on_error=fail):
            try:
                lines.add(finding)
            except DataError as error:
                fail(finding.name, error)
            else:
                count.step()


def _watch(detector: Detector, args: argparse.Namespace, outputs: Outputs) -> None:
    """Judge what comes into the folder, until KeyboardInterrupt."""
    from fastflow_lite.detection.watching import FolderWatch, JudgedFiles, judge_new_files, record_path

    folder: Path = args.images[0]
    lines = _Lines(outputs, _messages(args), lambda line, file: print(line, file=file, flush=True))

    def add(finding: Finding) -> None:
        lines.add(finding)
        outputs.flush()

    with closing(JudgedFiles(record_path(folder, args.detector))) as judged, _terminated_as_interrupted():
        print(printable(f"watching {folder}: {len(judged.marks)} files judged before; Ctrl-C ends"), file=sys.stderr)
        judge_new_files(detector, FolderWatch(folder, judged), add, lines.fail, args.batch_size)


class _Lines:
    """Writes each finding to the outputs, and as a line for people where these go to standard output."""

    def __init__(self, outputs: Outputs, messages: TextIO, write: Callable[[str, TextIO], None]) -> None:
        self.outputs, self.messages, self.write = outputs, messages, write

    def add(self, finding: Finding) -> None:
        from fastflow_lite.detection.finding_rows import plain_row

        self.outputs.add(finding)
        if self.messages is sys.stdout:
            self.write(plain_row(finding), sys.stdout)

    def fail(self, name: str, error: DataError) -> None:
        self.outputs.fail(name, error)
        self.write(printable(f"fastflow-lite predict: {error}"), sys.stderr)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM too, with which services are stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _messages(args: argparse.Namespace) -> TextIO:
    """Return where lines for people go: not among the rows that go to standard output."""
    return sys.stderr if STANDARD_OUTPUT in (args.csv, args.json_lines) else sys.stdout


def _summary(counts: Counts, seconds: float, interrupted: bool) -> str:
    unusable = f", {counts.unusable} that cannot be used" if counts.unusable else ""
    rate = f"{counts.judged / max(seconds, 1e-9):.1f} images/s"
    end = "interrupted after " if interrupted else ""
    return f"{end}{counts.judged} images, {counts.alarms} alarms{unusable}; {seconds:.1f} s, {rate}"


def _status(counts: Counts, fail_on_alarm: bool) -> int:
    if fail_on_alarm and counts.alarms:
        return 3
    return 2 if counts.unusable else 0
