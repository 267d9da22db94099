"""One notebook run twenty times from one process leaves no process, no open file and no memory behind.

`make test-runs` runs this alone: it takes minutes.
"""

from __future__ import annotations

from pathlib import Path

import papermill
import psutil
import pytest

pytestmark = pytest.mark.runs
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "03_a_coupling_layer_by_hand.ipynb"
RUNS, WARM = 20, 5  # the first runs import and cache


def test_twenty_runs_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTFLOW_LITE_FAST", "1")
    me, memory, handles = psutil.Process(), [], []
    for _ in range(RUNS):
        papermill.execute_notebook(
            NOTEBOOK, tmp_path / "out.ipynb", {"out_dir": str(tmp_path)}, kernel_name="python3", progress_bar=False
        )
        memory.append(me.memory_info().rss / 2**20)
        handles.append(me.num_fds())
        assert not me.children(recursive=True), "a kernel goes on"
    print("MiB", [round(m) for m in memory], "open files", handles)
    assert max(memory[WARM:]) < 1.05 * memory[WARM - 1], memory
    assert handles[-1] <= handles[WARM - 1], handles
