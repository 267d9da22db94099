"""`fastflow-lite batch`: run a notebook over a grid of parameters.

fastflow-lite batch notebooks/07_fastflow.ipynb --set category=bottle,screw --set seed=0,1 --out runs/mvtec
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fastflow_lite.batch.grid import STATE, parse_settings, read_notebook
from fastflow_lite.batch.run import run_batch
from fastflow_lite.batch.view import short_error


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite batch` to `parser`."""
    parser.add_argument("notebook", type=Path, help="a notebook with a cell tagged `parameters`")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE,...",
        help="values of a parameter; several options make a grid",
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder that holds a folder for each run")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, help="processes on this machine (default: one per GPU, or one)")
    where.add_argument("--scheduler", metavar="ADDRESS", help="a dask scheduler, tcp://host:8786")
    parser.add_argument("--retries", type=int, default=1, help="how often a failed run is started again (default 1)")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="end a run that takes longer; it failed then")
    parser.add_argument("--threads", type=int, help="CPU threads of each run (default: cores / workers)")


def run(args: argparse.Namespace) -> int:
    """Run the batch and return the exit status: 0, 1 if some runs failed in the end, 130 if interrupted."""
    grid = parse_settings(args.set, read_notebook(args.notebook).texts)
    options = {"workers": args.workers, "scheduler": args.scheduler, "threads": args.threads, "timeout": args.timeout}
    try:
        states = run_batch(args.notebook, grid, args.out, retries=args.retries, **options)
    except KeyboardInterrupt:
        print("interrupted; finished runs are kept, and the same call continues")
        return 130
    failed = [state for state in states if state.get("state") != "done"]
    print(f"{len(states) - len(failed)} of {len(states)} runs done; fastflow-lite table {args.out}")
    for state in failed:
        print(f"failed: {state['name']}: {short_error(state)}")
        if (args.out / state["name"] / STATE).is_file():
            print(f"  traceback: {args.out / state['name'] / STATE}")
    return 1 if failed else 0
