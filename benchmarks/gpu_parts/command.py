"""The command of `benchmarks/gpu.py`: a process for each part, a limit for each process, tables from the records."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from harness import RESULTS, provenance

from fastflow_lite.machine import choose_device
from gpu_parts import data, goals
from gpu_parts.run import DONE, FAILED, RUNNING, STOPPED, Record, Run, read

MODULES = {"a": "correctness", "b": "training", "c": "speed", "d": "table5", "e": "suite"}
TITLES = {
    "a": "Correctness",
    "b": "Training, from files to result",
    "c": "Training step and inference at real size",
    "d": "The paper's table 5",
    "e": "The fast tests on the device",
}
SHARES = {"a": 4.0, "b": 4.0, "c": 5.0, "d": 2.0, "e": 2.0}  # of the time that is left for a part and those behind it
GRACE = 3.0  # seconds between a part's deadline, which it knows, and its end by force
KEPT_CHARACTERS = 4000  # of a traceback


def time_limit(part: str, later: list[str], seconds: float) -> float:
    """Seconds that `part` gets when `seconds` are left for it and the parts `later`."""
    return max(seconds, 0.0) * SHARES[part] / (SHARES[part] + sum(SHARES[name] for name in later))


def run_part(part: str, run: Run, facts: dict[str, Any]) -> None:
    """Run one part in a process of its own. Whatever happens to it, its record tells."""
    Record(run.out, part).begin(**facts)
    began = time.time()
    process = multiprocessing.get_context("spawn").Process(target=in_child, args=(part, run))
    process.start()
    try:
        process.join(run.seconds_left + GRACE)
        stopped = process.is_alive()
    finally:
        end(process)
    record = Record(run.out, part)  # as the process left it
    if record.facts["state"] == RUNNING:
        ended = {"state": FAILED, "error": f"the process ended with status {process.exitcode}"}
        record.set(**({"state": STOPPED} if stopped else ended))
    record.set(seconds=time.time() - began)


def in_child(part: str, run: Run) -> None:
    """Measure one part; runs in the part's own process and group of processes."""
    os.setsid()
    threading.Thread(target=end_with_parent, daemon=True).start()
    record = Record(run.out, part)
    try:
        import_module(f"gpu_parts.{MODULES[part]}").measure(run, record)
    except Exception:
        record.set(state=FAILED, error=traceback.format_exc()[-KEPT_CHARACTERS:])
        raise
    record.set(state=DONE)


def end_with_parent() -> None:
    """Wait for the end of the command's process, then end this one and those that it started."""
    parent = multiprocessing.parent_process()
    if parent:
        wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)


def end(process: BaseProcess) -> None:
    """End a part's process and all that it started, also when a kernel on the card hangs."""
    if process.pid and process.is_alive():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.join(10)


def report(folder: Path) -> str:
    """Return every table that there are records for, as Markdown."""
    records, texts = read(folder), []
    for part, title in TITLES.items():
        if not (record := records.get(part)):
            continue
        texts += [f"### {title}", about(record)]
        try:
            texts += import_module(f"gpu_parts.{MODULES[part]}").tables(record) if record["rows"] else []
        except (KeyError, IndexError) as error:  # a part that was stopped before its first facts
            texts.append(f"The record is incomplete: {error!r}")
    if texts and not all(record["tiny"] for record in records.values()):
        texts += ["### Goals", goals.table(records)]
    return "\n\n".join(texts) if texts else f"There are no records in {folder}."


def about(record: dict[str, Any]) -> str:
    """Return the machine, the state and the seconds of one part in a line, and its error."""
    machine = record["machine"]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("torch", "timm"))
    seconds = f"{record['seconds']:.0f} s" if "seconds" in record else "never ended"
    size = " at tiny sizes, which measure nothing" if record["tiny"] else ""
    error = f"\n\n```\n{record['error']}\n```" if "error" in record else ""
    return f"{machine['device']}, {versions}; {record['state']}, {seconds}{size}.{error}"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=list(MODULES), default=list(MODULES))
    parser.add_argument("--data", type=Path, help="a folder with mvtec/bottle and mvtec/screw; without it the toy set")
    parser.add_argument("--weights", default="bundled", help="a file for ResNet-18; default: those of the package")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where gpu.json is written")
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to test the command itself on a processor")
    parser.add_argument("--show", action="store_true", help="print the tables of the records in --out, run nothing")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="write bottle and screw, small, there; run nothing")
    return parser.parse_args()


def main() -> None:
    """Run the chosen parts, print the tables."""
    began, args = time.time(), arguments()
    if args.pack:
        weights = Path(args.weights) if args.weights != "bundled" else None
        print(f"{args.pack}: {data.pack(args.pack, weights) / 1e6:.1f} MB")
        return
    if not args.show:
        device = choose_device(args.device)
        facts = provenance(device) | {"minutes": args.minutes, "tiny": args.tiny}
        for k, part in enumerate(args.parts):
            left = 60 * args.minutes - (time.time() - began)
            limit = time_limit(part, args.parts[k + 1 :], left)
            print(f"{part}: {TITLES[part]}, {limit:.0f} s at most", flush=True)
            deadline = time.time() + limit - GRACE
            run_part(part, Run(str(device), args.out, deadline, args.data, args.weights, args.tiny), facts)
    print(report(args.out))
