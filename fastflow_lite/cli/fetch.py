"""`fastflow-lite fetch`: download a data set, check its sha256, unpack it below the data root."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastflow_lite.datasets.download import fetch
from fastflow_lite.datasets.sources import SOURCES


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite fetch` to `parser`."""
    parser.add_argument("name", choices=list(SOURCES))
    parser.add_argument("--root", type=Path, help="where data sets lie (default: FASTFLOW_LITE_DATA, else data)")
    parser.add_argument("--accept-license", action="store_true", help="you have read the license and accept it")
    parser.add_argument("--url", action="append", help="use this address instead; may be given several times")
    parser.add_argument("--sha256", help="the archive's checksum, if it is another one than the usual")
    parser.add_argument("--archive", type=Path, help="an archive downloaded by hand; nothing is downloaded then")


def run(args: argparse.Namespace) -> int:
    """Fetch one data set and return 0. Raise DataError as `fetch` does."""
    fetch(
        args.name,
        args.root,
        accept_license=args.accept_license,
        urls=args.url,
        sha256=args.sha256,
        archive=args.archive,
    )
    return 0
