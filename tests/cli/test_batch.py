"""What `fastflow-lite batch` hands on, and how it ends. The runs themselves are tested in batch/test_batch.py."""

from pathlib import Path
from typing import Any

import pytest

from fastflow_lite.cli import batch
from fastflow_lite.cli import main as cli

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "07_fastflow.ipynb"


def test_options_reach_the_runs_and_a_failed_one_gives_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}

    def runs(notebook: Path, grid: dict[str, Any], out: Path, **options: Any) -> list[dict[str, Any]]:
        given.update(options, grid=grid, out=out)
        return [{"name": "seed=0", "state": "done"}, {"name": "seed=1", "state": "failed", "error": {"type": "E"}}]

    monkeypatch.setattr(batch, "run_batch", runs)
    monkeypatch.setattr(batch, "short_error", lambda state: state["error"]["type"])
    options = ["--set", "seed=0,1", "--out", str(tmp_path), "--workers", "2", "--threads", "3", "--timeout", "4.5"]
    assert cli.main(["batch", str(NOTEBOOK), *options, "--retries", "0"]) == 1
    assert given == {"grid": {"seed": [0, 1]}, "out": tmp_path, "workers": 2, "scheduler": None, "threads": 3,
                     "timeout": 4.5, "retries": 0}  # fmt: skip
    assert "1 of 2 runs done" in (printed := capsys.readouterr().out) and "failed: seed=1: E" in printed
