"""Write a detector as a program that runs without this package, and compare both.

fastflow-lite export part.safetensors --format onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fastflow_lite.errors import ArgumentError

FORMATS = ("onnx", "torch", "openvino")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite export`."""
    parser.add_argument("detector", type=Path, help="the file that `fastflow-lite train` wrote")
    parser.add_argument("--format", choices=FORMATS, required=True, help="of the program: .onnx, .pt2 or .xml")
    parser.add_argument("--out", type=Path, help="the file (default: beside the detector, with the format's suffix)")


def run(args: argparse.Namespace) -> int:
    """Export, and print what was written."""
    from fastflow_lite.detection.detector import Detector
    from fastflow_lite.detection.export import export_detector
    from fastflow_lite.detection.export_formats import format_named

    form = format_named(args.format)
    out = args.out or args.detector.with_suffix(form.suffix)
    if out.suffix.lower() != form.suffix:
        raise ArgumentError(f"--out must end in {form.suffix} for --format {form.name}, got {out}")
    try:
        form.require_packages()
    except ImportError as error:
        raise ArgumentError(str(error)) from None
    detector = Detector.load(args.detector)
    difference = export_detector(detector, out)
    weights = out.with_suffix(".bin") if form.name == "openvino" else None
    places = [out, *([weights] if weights else [])]
    size = sum(place.stat().st_size for place in places) / 1e6
    height, width = detector.size
    print(
        f"{' and '.join(map(str, places))}: {size:.1f} MB, images of {height} x {width} pixels (height x width), "
        f"differs from the detector by at most {difference:.0e} on drawn images"
    )
    return 0
