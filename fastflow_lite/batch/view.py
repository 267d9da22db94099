"""The progress of a batch: a line for each run that ends, the number of runs left and an estimate of the time."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastflow_lite.batch.grid import Job
from fastflow_lite.progress import is_live

STATUS_INTERVAL = 600  # seconds after which plain output repeats the status line
MAIN = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC"}


class BatchView:
    """Progress of `total` runs: a bar in a terminal or notebook, lines elsewhere, nothing with `show=False`."""

    def __init__(self, total: int, done: int, show: bool = True) -> None:
        self.total, self.done, self.failed, self.show = total, done, 0, show
        self.seconds: list[float] = []
        self.running: dict[str, float] = {}  # start time by task key
        self.workers, self.printed_at, self.bar = 0, time.monotonic(), None
        if show and is_live():
            from tqdm import tqdm

            form = "{bar:20} {desc}"
            self.bar = tqdm(total=total, initial=done, file=sys.stdout, leave=False, bar_format=form)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()

    def update(self, processing: Mapping[str, Sequence[str]], ours: set[str]) -> None:
        """Take over the tasks of each worker from `Client.processing`: the first one runs, the others wait."""
        first = [next((key for key in keys if key in ours), None) for keys in processing.values()]
        now = time.monotonic()
        self.workers = len(processing)
        self.running = {key: self.running.get(key, now) for key in first if key is not None}
        if self.bar is not None:
            self.bar.set_description_str(self.status())
        elif now - self.printed_at > STATUS_INTERVAL:
            self.print_line(self.status())

    def end_run(self, job: Job, state: Mapping[str, Any], again: bool) -> None:
        """Count and print a run that ended; `again` when it failed and is started again."""
        if state["state"] == "done":
            self.done += 1
            took = ""
            seconds = state.get("seconds")  # missing where a user changed the file of a finished run
            if isinstance(seconds, int | float) and 0 <= seconds < math.inf:
                self.seconds.append(seconds)
                took = f"  {duration(seconds)}"
            self.print_line(f"{job.name}{took}{main_metrics(job.folder)}")
        else:
            self.failed += not again
            self.print_line(f"{job.name}  {'failed, runs again' if again else 'FAILED'}: {short_error(state)}")
        if self.bar is not None:
            self.bar.n = self.done + self.failed
            self.bar.set_description_str(self.status())
        else:
            self.print_line(self.status())

    def status(self) -> str:
        """Return the counts and the estimate in one line."""
        left = self.seconds_left()
        parts = [f"{self.done}/{self.total} done"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{len(self.running)} running" if self.workers else "no worker yet"]
        return ", ".join(parts + ([] if left is None else [f"about {duration(left)} left"]))

    def seconds_left(self) -> float | None:
        """Estimate the seconds left from the mean of the runs that ended and the number of workers."""
        waiting = self.total - self.done - self.failed
        if not self.seconds or not self.workers or not waiting:
            return None
        mean, now = sum(self.seconds) / len(self.seconds), time.monotonic()
        spent = sum(min(mean, now - since) for since in self.running.values())
        return max(0.0, mean * waiting - spent) / min(self.workers, waiting)

    def print_line(self, text: str) -> None:
        """Print a line above the bar."""
        self.printed_at = time.monotonic()
        if self.bar is not None:
            self.bar.write(text, file=sys.stdout)
        elif self.show:
            print(text, flush=True)


def duration(seconds: float) -> str:
    """Format seconds in one unit, rounded as an estimate.

    >>> [duration(seconds) for seconds in (7.4, 300, 9000)]
    ['7 s', '5 min', '2.5 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def short_error(state: Mapping[str, Any]) -> str:
    """Return the type and the last line of the error that a failed run raised."""
    error = state.get("error")
    error = error if isinstance(error, dict) else {}
    message = str(error.get("message", "")).strip().splitlines()
    return f"{error.get('type', state.get('state', 'unknown'))}{': ' + message[-1] if message else ''}"


def main_metrics(folder: Path) -> str:
    """Format the AUROCs of the run's record; empty when there are none."""
    try:
        metrics = json.loads((folder / "result.json").read_text(encoding="utf-8"))["metrics"]
        found = {name: metrics[key] for key, name in MAIN.items() if isinstance(metrics.get(key), int | float)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return "".join(f"  {name} {value:.3f}" for name, value in found.items() if 0 <= value <= 1)
