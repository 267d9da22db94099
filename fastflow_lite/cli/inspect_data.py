"""Print what is understood of a folder of images, and what in it may spoil a training or a test.

    fastflow-lite inspect-data parts/
    fastflow-lite inspect-data line1/good line2/good line2/bad

The exit status is 0 if the images can be used, with or without warnings, and 2 if not.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastflow_lite.datasets import Data


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite inspect-data`."""
    parser.add_argument("folder", nargs="+", type=Path, help="a folder or a CSV file; several are joined")
    parser.add_argument("--category", help="of the data set, a folder in it")


def run(args: argparse.Namespace) -> int:
    """Open the data set as `train` does, and print facts and warnings."""
    from fastflow_lite.datasets import open_dataset

    show(lambda: open_dataset(args.folder if len(args.folder) > 1 else args.folder[0], args.category))
    return 0


def show(opened: Callable[[], Data]) -> None:
    """Print facts and warnings about the data set that a call opens, with the warnings of that call."""
    from fastflow_lite.datasets import inspect_data
    from fastflow_lite.errors import printable

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        found = inspect_data(opened())
    for line in found.lines():
        print(printable(line))
    for warning in dict.fromkeys([*(str(one.message) for one in told), *found.warnings]):
        print(printable(f"warning: {warning}"))
