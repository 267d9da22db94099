"""What every part is given, and the record that it writes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from harness import read_json, write_json

FILE = "gpu.json"
RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped at its time limit"
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The arguments of one part. `deadline` is a value of `time.time()`, the same clock in every process."""

    device: str
    out: Path
    deadline: float
    data: Path | None = None
    weights: str = "bundled"
    tiny: bool = False

    @property
    def seconds_left(self) -> float:
        """Seconds until this part is stopped."""
        return self.deadline - time.time()

    @property
    def compiling(self) -> tuple[bool, ...]:
        """Not compiled first, then compiled; a processor would compile for minutes."""
        return (False,) if self.device == "cpu" else (False, True)

    @property
    def place(self) -> torch.device:
        """The device as torch has it."""
        return torch.device(self.device)


class Record:
    """The record of one part in the file of all parts. Every change is on the disk, whole, when the call returns.

    One process writes at a time: the part's own while it runs, the command's before and after.
    """

    def __init__(self, folder: Path, part: str) -> None:
        self.path, self.part = folder / FILE, part
        self.facts: dict[str, Any] = read(folder).get(part, {})

    def begin(self, **facts: Any) -> None:
        """Start anew: an earlier record of this part is replaced."""
        self.facts = {"state": RUNNING, **facts, "rows": []}
        self._write()

    def set(self, **facts: Any) -> None:
        """Add or replace facts about the part."""
        self.facts.update(facts)
        self._write()

    def add(self, row: Row) -> None:
        """Add one row."""
        self.facts.setdefault("rows", []).append(row)
        self._write()
        print(f"  {self.part}: {_in_short(row)}", flush=True)

    def _write(self) -> None:
        write_json(self.path, read(self.path.parent) | {self.part: self.facts})


def read(folder: Path) -> dict[str, Any]:
    """Return the records of all parts in `folder`."""
    found: dict[str, Any] = read_json(folder / FILE)
    return found


def _in_short(row: Row) -> str:
    shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items() if not isinstance(v, dict | list)}
    return ", ".join(f"{k} {v}" for k, v in shown.items())
