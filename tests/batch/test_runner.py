"""One run on a worker: its files, its failures, its end."""

import json
import shutil
import time

import psutil
import pytest
from lab import Lab, gone, wait_until

from fastflow_lite.batch import plan, run_batch, runner
from fastflow_lite.batch.grid import read_state, write_state
from fastflow_lite.batch.lock import held
from fastflow_lite.errors import FastFlowError
from fastflow_lite.files import unfinished_path


def test_the_executed_notebook_names_no_path_of_this_machine(lab: Lab) -> None:
    (job,) = plan(lab.notebook, {"seed": [3]}, lab.out, 1)
    assert runner.execute(job)["state"] == "done"
    pages = json.loads(job.executed.read_text())
    noted = pages["metadata"]["papermill"]
    assert (noted["input_path"], noted["output_path"]) == ("probe.ipynb", "runs/seed=3/probe.ipynb")
    assert noted["parameters"] == {"seed": 3, "out_dir": "runs/seed=3"}
    assert sorted(path.name for path in job.folder.iterdir()) == ["probe.ipynb", "result.json", "run.json"]


def test_a_kernel_that_dies_is_a_failure_with_a_reason(lab: Lab) -> None:
    (job,) = plan(lab.notebook, {"kind": ["deadly"]}, lab.out, 1)
    state = runner.execute(job)
    assert state["state"] == "failed" and "Kernel died" in state["error"]["traceback"]


def test_a_failure_that_only_the_client_saw_is_recorded(lab: Lab) -> None:
    (job,) = plan(lab.notebook, {"kind": ["quick"]}, lab.out, 1)
    with held(job.lock, lambda: False):
        runner.record_failure(job, RuntimeError("four workers died"))
        assert read_state(job.folder) == {}  # somebody works on it
    runner.record_failure(job, RuntimeError("four workers died"))
    assert read_state(job.folder)["error"]["message"] == "four workers died"
    write_state(job.folder, read_state(job.folder) | {"state": "done", "notebook_sha256": "an older one"})
    runner.record_failure(job, RuntimeError("four workers died"))
    assert (read_state(job.folder)["state"], read_state(job.previous)["state"]) == ("failed", "done")


def test_a_run_on_a_machine_without_the_folder_is_an_error(lab: Lab) -> None:
    (job,) = plan(lab.notebook, {}, lab.out, 1)
    shutil.rmtree(lab.out)
    with pytest.raises(FastFlowError, match="has no folder"):
        runner.execute(job)


@pytest.mark.long
def test_a_run_that_hangs_is_ended(lab: Lab) -> None:
    (job,) = plan(lab.notebook, {"kind": ["slow"]}, lab.out, 1, timeout=3)
    began = time.monotonic()
    state = runner.execute(job)
    assert time.monotonic() - began < 20
    assert (state["state"], state["error"]["type"]) == ("failed", "Timeout")
    assert "not done after 3 seconds" in state["error"]["message"]
    if lab.lines():
        wait_until(lambda: not psutil.pid_exists(int(lab.lines()[-1].split()[-1])) or gone(lab.kernel()), 10)
    lab.open_gate()
    assert runner.execute(job)["state"] == "done"


def test_what_killed_processes_left_is_removed(lab: Lab) -> None:
    lab.out.mkdir()
    (job,) = plan(lab.notebook, {"seed": [0]}, lab.out, 1)
    job.folder.mkdir()
    unfinished_path(job.folder / "training.ckpt").touch()
    unfinished_path(job.folder / "run.json").touch()
    (job.folder / ".mine").touch()
    assert runner.execute(job)["state"] == "done"
    names = {path.name for path in job.folder.iterdir()}
    assert names == {".mine", "probe.ipynb", "result.json", "run.json"}
    assert not list((lab.out / ".batch" / "locks").iterdir())
    (lab.out / ".batch" / "locks" / "seed=9").touch()  # of a run that is in no batch any more
    run_batch(lab.notebook, {"seed": [0]}, lab.out, show=False)
    assert not list((lab.out / ".batch" / "locks").iterdir())
