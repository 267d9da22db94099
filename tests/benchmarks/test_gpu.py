"""The GPU benchmark's command, at tiny sizes on a processor: all parts, a kill, a failure, a limit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_parts import command
from gpu_parts.run import DONE, FAILED, RUNNING, STOPPED, Run, read

from fastflow_lite.machine import describe_machine

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
# What the machine that the command is for may lack. pytest is there for part e.
HIDDEN = (
    "IPython", "anomalib", "dask", "distributed", "hypothesis", "ipywidgets", "jupyterlab", "lightning", "matplotlib",
    "nbformat", "nbval", "onnx", "onnxruntime", "pandas", "papermill", "pooch", "tabulate", "xdist",
)  # fmt: skip
HOOK = f"""
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {HIDDEN} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""


def arguments(out: Path, *more: str) -> list[str]:
    return [sys.executable, str(SCRIPT), "--tiny", "--device", "cpu", "--out", str(out), *more]


def environment(folder: Path) -> dict[str, str]:
    """Hide the packages of `HIDDEN` in every process, and the package itself but for the script's own tree."""
    (folder / "sitecustomize.py").write_text(HOOK)
    return os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture
def facts() -> dict[str, Any]:
    return {"machine": describe_machine(torch.device("cpu")), "tiny": True, "minutes": 1.0}


@pytest.mark.long
def test_all_parts_run_with_few_packages(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        arguments(out, "--minutes", "9"), env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    records = read(out)
    assert {part: record["state"] for part, record in records.items()} == dict.fromkeys("abcde", DONE)
    text = json.dumps(records)
    assert '"error"' not in text, text
    assert all(row["ok"] for row in records["a"]["rows"] if "path" in row)
    assert {row["training"]["recipe"] for row in records["b"]["rows"]} == {"ours", "paper", "paper, features kept"}
    assert len(records["c"]["rows"]) == 2 * 4 * 2  # backbones, works, precisions
    assert sum("backbone" in row for row in records["d"]["rows"]) == 2 * 2 * 2
    assert records["e"]["rows"][0]["counts"]["passed"] > 3
    shown = subprocess.run(arguments(out, "--show"), env=environment(tmp_path), capture_output=True, text=True)
    for title in command.TITLES.values():
        assert f"### {title}" in done.stdout and f"### {title}" in shown.stdout
    assert shown.stdout.strip() in done.stdout  # the tables come from the records alone


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.long
def test_a_killed_command_keeps_its_rows_and_leaves_no_process(tmp_path: Path) -> None:
    command_process = subprocess.Popen(arguments(tmp_path, "--parts", "a", "b"), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(read(tmp_path).get("a", {}).get("rows", [])) < 3:
        time.sleep(0.02)
    started = children(command_process.pid)
    command_process.send_signal(signal.SIGKILL)
    command_process.wait()
    deadline = time.monotonic() + 10  # the part itself would go on for longer
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in started):
        time.sleep(0.05)
    assert started and not any(Path(f"/proc/{pid}").exists() for pid in started)
    record = read(tmp_path)["a"]
    assert len(record["rows"]) >= 3
    assert record["state"] == RUNNING  # it did not go on to its end
    assert "### Correctness" in command.report(tmp_path)


def test_a_part_that_fails_keeps_its_rows_and_its_error(tmp_path: Path, facts: dict[str, Any]) -> None:
    run = Run("cpu", tmp_path, time.time() + 300, weights="missing.safetensors", tiny=True)
    command.run_part("a", run, facts)
    record = read(tmp_path)["a"]
    assert record["state"] == FAILED
    assert "missing.safetensors" in record["error"]
    assert any("path" in row for row in record["rows"])
    assert "missing.safetensors" in command.report(tmp_path)


def test_a_part_is_ended_at_its_limit(tmp_path: Path, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "GRACE", 0.1)
    began = time.monotonic()
    command.run_part("b", Run("cpu", tmp_path, time.time() + 2, tiny=True), facts)
    assert time.monotonic() - began < 20
    assert read(tmp_path)["b"]["state"] == STOPPED
    assert "stopped at its time limit" in command.report(tmp_path)
