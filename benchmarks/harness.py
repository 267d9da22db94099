"""What every benchmark shares: the record and where it was made, both clocks, processes of their own, turns, tables.

Needs nothing but torch and this package. Two sides that are compared take turns (`in_turns`), so that what else the
machine does meets both, and their ratio is the median of the ratios of the turns. A record says on which machine, from
which git revision and on which day it was made (`provenance`), and is written whole or not at all.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch

from fastflow_lite.files import write_atomically
from fastflow_lite.machine import describe_machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
QUIET = {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
T = TypeVar("T")


def provenance(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Machine and versions (anomalib's where it is installed), git revision, day. No host, no path, no time of day."""
    machine = describe_machine(torch.device(device))
    with suppress(metadata.PackageNotFoundError):
        machine["versions"]["anomalib"] = metadata.version("anomalib")
    return {"machine": machine, "revision": revision(), "date": datetime.now(UTC).date().isoformat()}


def revision() -> str | None:
    """The commit of this tree, with "+" behind it where tracked files but records differ from it; None without git."""
    try:
        head = _git("rev-parse", "--short=7", "HEAD").strip()
        changed = _git("status", "--porcelain", "--untracked-files=no", ".", ":!benchmarks/results").strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def read_json(path: Path, default: Any = None) -> Any:
    """The content of a file of records; `default`, else an empty dict, where there is none."""
    if path.exists():
        return json.loads(path.read_text("utf-8"))
    return {} if default is None else default


def write_json(path: Path, records: Any) -> None:
    text = json.dumps(records, indent=1)
    write_atomically(path, lambda place: place.write_text(text + "\n", "utf-8"))


def keep(name: str, records: dict[str, Any]) -> None:
    """Add `records` to results/`name`.json, where new ones replace those of the same key."""
    path = RESULTS / f"{name}.json"
    write_json(path, read_json(path) | records)


class Fresh:
    """A process of its own, which keeps what is built in it: `Fresh()(function, *arguments)`."""

    def __init__(self, threads: int | None = None) -> None:
        os.environ.update(QUIET)
        context = multiprocessing.get_context("spawn")  # a forked process would start with its parent's peak memory
        self.pool = ProcessPoolExecutor(1, mp_context=context)
        if threads:
            self(torch.set_num_threads, threads)

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.submit(work, *arguments).result()

    def __enter__(self) -> Fresh:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()


def mark(device: torch.device) -> tuple[Any, float]:
    """A moment on two clocks: the wall's, or for a GPU an event in its queue; and the processor's."""
    if device.type != "cuda":
        return time.perf_counter(), time.process_time()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event, time.process_time()


def milliseconds(start: Any, processor_start: float, end: Any, processor_end: float) -> tuple[float, float]:
    """Time between two marks on either clock; waits for the GPU."""
    processor = 1000 * (processor_end - processor_start)
    if isinstance(start, float):
        return 1000 * (end - start), processor
    end.synchronize()
    return start.elapsed_time(end), processor


def in_turns(sides: Mapping[str, Callable[[], T]], repeats: int, warmup: int = 0) -> dict[str, list[T]]:
    """What each side returned, one entry a turn, after `warmup` turns that are dropped."""
    found: dict[str, list[T]] = {name: [] for name in sides}
    for turn in range(warmup + repeats):
        for name, once in sides.items():
            result = once()
            if turn >= warmup:
                found[name].append(result)
    return found


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """`spread` of theirs / ours of each turn: above 1 where ours takes less."""
    return spread(a / b for a, b in zip(theirs, ours, strict=True))


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    values = list(values)
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def shown(values: dict[str, float], digits: int = 1) -> str:
    """`spread` as text."""
    return f"{values['median']:.{digits}f} ({values['low']:.{digits}f} to {values['high']:.{digits}f})"


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table, one row a dict; the keys of the first are the heads."""
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
