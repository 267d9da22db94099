"""A folder with a notebook that trains nothing: it logs its start and its end, and the slow one waits for a gate."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import psutil

from fastflow_lite.batch import run_batch

PARAMETERS = 'kind: str = "quick"  # quick, slow, flaky, bad or deadly\nseed: int = 0\nout_dir: str = "."'
BODY = [
    "import json, os, time\nfrom pathlib import Path\nplace = Path({place!r})",
    "log = place / 'log'\nseen = log.exists() and f'start {{kind}} {{seed}} ' in log.read_text()",
    "with log.open('a') as file:\n    file.write(f'start {{kind}} {{seed}} {{os.getpid()}}\\n')",
    "while kind == 'slow' and not (place / 'gate').exists():\n    time.sleep(0.05)",
    "if kind == 'deadly':\n    os.kill(os.getpid(), 9)",
    "broken = kind == 'bad' and not (place / 'repaired').exists() or kind == 'flaky' and not seen",
    "if broken:\n    raise ValueError('so')",
    "Path(out_dir, 'result.json').write_text(json.dumps({{'metrics': {{'image_auroc': 0.5 + seed / 10}}}}))",
    "with log.open('a') as file:\n    file.write(f'end {{kind}} {{seed}} {{os.getpid()}}\\n')",
]


class Lab:
    """A folder with a notebook, its log and its gate; runs go to `runs/`, which is relative on purpose."""

    def __init__(self, place: Path) -> None:
        self.place, self.notebook, self.out = place, Path("probe.ipynb"), Path("runs")
        self.write()

    def write(self, *more: str, prose: str = "A probe.") -> None:
        """The notebook, with further cells before its last two."""
        parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
        body = [source.format(place=str(self.place)) for source in BODY]
        cells = [nbformat.v4.new_code_cell(source) for source in [*body[:-2], *more, *body[-2:]]]
        nbformat.write(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(prose), parameters, *cells]), self.notebook
        )

    def log(self, word: str) -> Counter[str]:
        """How often each "kind seed" started or ended."""
        lines = [line.split() for line in self.lines() if line.startswith(word)]
        return Counter(f"{kind} {seed}" for _, kind, seed, _ in lines)

    def lines(self) -> list[str]:
        log = self.place / "log"
        return log.read_text().splitlines() if log.exists() else []

    def kernel(self) -> psutil.Process:
        """The process that started last."""
        return psutil.Process(int(self.lines()[-1].split()[-1]))

    def open_gate(self) -> None:
        (self.place / "gate").touch()

    def batch(self, scheduler: str, retries: int = 0, **grid: list[Any]) -> list[dict[str, Any]]:
        return run_batch(self.notebook, grid, self.out, scheduler=scheduler, retries=retries)

    def command(self, *options: str) -> subprocess.Popen[str]:
        """`fastflow-lite batch` in a terminal of its own, where Ctrl-C counts even below a shell's `&`."""
        line = [
            sys.executable,
            "-m",
            "fastflow_lite.cli",
            "batch",
            str(self.notebook),
            "--out",
            str(self.out),
            *options,
        ]
        return subprocess.Popen(
            line,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` has it ignored
        )


def wait_until(what: Callable[[], Any], seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.05)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
