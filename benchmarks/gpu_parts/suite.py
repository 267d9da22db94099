"""Part e: the fast tests of the flows, the scores, the training and the model on the device."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from harness import markdown

from gpu_parts.run import Record, Row, Run

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/flows", "tests/scoring", "tests/training", "tests/test_model.py")
TINY_TESTS = ("tests/flows/test_steps.py",)
WANTED = "not slow and not cpu_only"
TAIL = 6000  # characters of the output that are kept


def measure(run: Run, record: Record) -> None:
    """Run pytest in a process of its own, and count. Without pytest say so."""
    if importlib.util.find_spec("pytest") is None:
        record.add({"tests": "not run: pytest is not installed here"})
        return
    for tests in [TINY_TESTS] if run.tiny else [(test,) for test in TESTS]:
        record.add({"tests": " ".join(tests)} | run_tests(tests, run.device, run.seconds_left))


def run_tests(tests: tuple[str, ...], device: str, seconds: float) -> Row:
    """Return how many tests of each outcome there were, and the end of pytest's output unless all passed."""
    command = [sys.executable, "-m", "pytest", *tests, "-q", "--device", device, "-m", WANTED, "-p", "no:cacheprovider"]
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=max(seconds - 2, 1)
        )
    except subprocess.TimeoutExpired as error:
        return {"state": "stopped: no time was left", "output": _text(error.stdout)[-TAIL:]}
    counts = outcomes(done.stdout)
    row: Row = {"state": "passed" if done.returncode == 0 else f"pytest ended with {done.returncode}", "counts": counts}
    return row if done.returncode == 0 else row | {"output": (done.stdout + done.stderr)[-TAIL:]}


def outcomes(output: str) -> dict[str, int]:
    """Read the counts of pytest's last line, such as `3 failed, 120 passed, 2 skipped in 4.05s`."""
    lines = [line for line in output.splitlines() if re.search(r" in [\d.]+s", line)]
    return {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", lines[-1].split(" in ")[0])} if lines else {}


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def tables(record: Row) -> list[str]:
    """One row for each folder of tests."""
    names = ("passed", "failed", "error", "errors", "skipped", "deselected")
    rows = [
        {"tests": row["tests"], "state": row.get("state", "")}
        | {
            name: row.get("counts", {}).get(name, "")
            for name in names
            if any(name in r.get("counts", {}) for r in record["rows"])
        }
        for row in record["rows"]
    ]
    return [markdown(rows)]
