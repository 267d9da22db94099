"""`fastflow-lite table`: the result records below a folder as one table.

fastflow-lite table runs/mvtec --by category,backbone --csv mvtec.csv
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastflow_lite.batch.records import FACTS, SEED, read_records
from fastflow_lite.batch.table import frame, markdown, means, parameter_names, to_csv, varying, with_spread
from fastflow_lite.errors import DataError, printable
from fastflow_lite.files import METRIC_TITLES

if TYPE_CHECKING:
    import pandas as pd


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite table` to `parser`."""
    parser.add_argument("folder", type=Path, help="a folder with runs at any depth")
    parser.add_argument("--by", metavar="NAME,...", help="means over runs that agree in these parameters")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write every run, unrounded, to FILE")


def run(args: argparse.Namespace) -> int:
    """Print the tables as Markdown, failed runs below them, unreadable files on standard error; return 0."""
    records = read_records(args.folder)
    runs = frame(records)
    for problem in records.unreadable:
        print(printable(f"left out: {problem}"), file=sys.stderr)
    if args.csv is not None:
        _write_csv(runs, args.csv)
    if len(runs):
        _print_runs(runs, [name.strip() for name in (args.by or "").split(",") if name.strip()])
    for failure in records.failed:
        print(printable(f"failed: {failure['run']}: {failure['error']} (attempts: {failure['attempts']})"))
    if records.unfinished:
        print(printable(f"unfinished: {', '.join(records.unfinished)}"))
    return 0


def _write_csv(runs: pd.DataFrame, path: Path) -> None:
    try:
        to_csv(runs, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def _print_runs(runs: pd.DataFrame, by: list[str]) -> None:
    named, differ = parameter_names(runs), varying(runs)
    if unknown := [name for name in by if name not in named]:
        raise DataError(f"no run has a parameter {', '.join(unknown)}; there are {', '.join(named)}")
    who = differ if differ and not runs[differ].astype(str).duplicated().any() else ["run", *differ]
    print(markdown(runs[[*who, *METRIC_TITLES, *FACTS]]), end="\n\n")
    if same := [f"{name}={runs[name].iloc[0]}" for name in named if name not in differ]:
        print(printable(f"The same in all runs: {', '.join(same)}.\n"))
    if by or SEED in differ:
        groups = by or [name for name in differ if name != SEED]
        print(printable(f"Mean ± standard deviation{' for each ' if groups else ''}{', '.join(groups)}:\n"))
        print(markdown(with_spread(means(runs, groups))), end="\n\n")
