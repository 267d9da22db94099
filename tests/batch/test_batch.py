"""Batches on a real scheduler with two worker processes: what is finished is neither lost nor run twice.

The notebooks here train nothing. They write a line to a log when they start and when they end, so that a run
that happened twice is seen, and the slow one waits for a gate, so that it is surely under way when something
is killed.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psutil
import pytest
from distributed import Client
from lab import Lab, gone, wait_until

from fastflow_lite.batch import plan, run_batch, runner, table
from fastflow_lite.batch.grid import read_state
from fastflow_lite.cli import main as cli
from fastflow_lite.errors import ArgumentError, DataError


def test_a_killed_worker_loses_only_its_run(lab: Lab, address: str, beside: Callable[..., Future]) -> None:
    batch = beside(lab.batch, address, kind=["slow"], seed=[0, 1])
    wait_until(lambda: lab.log("start").total() == 2)
    kernel = lab.kernel()
    kernel.parent().parent().kill()  # kernel, the run's own process, worker
    wait_until(lambda: gone(kernel), 10)  # the gate is closed: it was taken down
    lab.open_gate()
    states = batch.result(timeout=120)
    assert [state["state"] for state in states] == ["done", "done"]
    assert sorted(state["attempts"] for state in states) == [1, 2]
    assert lab.log("end") == {"slow 0": 1, "slow 1": 1}
    assert lab.log("start").total() == 3
    assert table(lab.out)["image_auroc"].tolist() == [0.5, 0.6]


def test_a_notebook_that_raises_is_kept_and_retried(lab: Lab, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["batch", str(lab.notebook), "--set", "kind=flaky,bad", "--out", "runs", "--retries", "1"]
    assert cli.main([*command, "--scheduler", address]) == 1
    assert lab.log("start") == {"flaky 0": 2, "bad 0": 2}
    assert lab.log("end") == {"flaky 0": 1}
    state = read_state(lab.out / "kind=bad")
    assert (state["state"], state["attempts"], state["error"]["type"]) == ("failed", 2, "ValueError")
    assert "raise ValueError('so')" in state["error"]["traceback"] and "\x1b" not in state["error"]["traceback"]
    assert (lab.out / "kind=bad" / "probe.failed.ipynb").exists() and not (
        lab.out / "kind=bad" / "probe.ipynb"
    ).exists()
    printed = capsys.readouterr().out
    assert "kind=bad  failed, runs again: ValueError: so" in printed
    assert "1/2 done, 1 failed" in printed and "traceback: runs/kind=bad/run.json" in printed
    assert "kind=flaky" in printed and "image AUROC 0.500" in printed

    (lab.place / "repaired").touch()
    assert cli.main([*command, "--scheduler", address]) == 0
    assert lab.log("start") == {"flaky 0": 2, "bad 0": 3}
    assert not (lab.out / "kind=bad" / "probe.failed.ipynb").exists()
    assert "error" not in read_state(lab.out / "kind=bad")
    assert len(table(lab.out)) == 2
    before = lab.lines()
    assert cli.main([*command, "--scheduler", "tcp://127.0.0.1:1"]) == 0  # no run left, so no connection is made
    assert lab.lines() == before


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_an_interrupted_batch_goes_on(lab: Lab, address: str, how: signal.Signals) -> None:
    first = lab.command("--set", "kind=quick,slow")  # one worker, which runs the quick one first
    wait_until(lambda: read_state(lab.out / "kind=quick").get("state") == "done" and lab.log("start")["slow 0"])
    kernel = next(psutil.Process(int(line.split()[-1])) for line in lab.lines() if line.startswith("start slow"))
    if how == signal.SIGINT:
        os.killpg(first.pid, how)  # as Ctrl-C does, to the workers too
        printed = first.communicate(timeout=60)[0].splitlines()
        assert printed[-1].startswith("interrupted")
        assert not [line for line in printed[1:-1] if "kind=" not in line and "done" not in line]
    else:
        first.kill()
    assert first.wait(timeout=30) == (130 if how == signal.SIGINT else -how)
    wait_until(lambda: gone(kernel), 15)
    assert read_state(lab.out / "kind=slow")["state"] == ("stopped" if how == signal.SIGINT else "running")
    lab.open_gate()
    assert [state["state"] for state in lab.batch(address, kind=["quick", "slow"])] == ["done", "done"]
    assert lab.log("start") == {"quick 0": 1, "slow 0": 2}
    assert lab.log("end") == {"quick 0": 1, "slow 0": 1}
    assert len(table(lab.out)) == 2


@pytest.mark.long
def test_a_lost_client_leaves_a_run_that_the_next_one_awaits(
    lab: Lab, address: str, beside: Callable[..., Future]
) -> None:
    first = lab.command("--set", "kind=slow", "--scheduler", address)
    wait_until(lambda: lab.log("start"))
    first.kill()
    first.wait()
    second = beside(lab.batch, address, kind=["slow"])
    time.sleep(2)  # long enough to begin, if nothing held it back
    lab.open_gate()
    assert [state["state"] for state in second.result(timeout=120)] == ["done"]
    assert lab.log("start") == lab.log("end") == {"slow 0": 1}


def test_two_batches_at_once_share_the_work(
    lab: Lab, cluster: Client, address: str, beside: Callable[..., Future]
) -> None:
    lab.open_gate()
    batches = [beside(lab.batch, address, kind=["slow"], seed=[0, 1]) for _ in range(2)]
    for batch in batches:
        assert [state["state"] for state in batch.result(timeout=120)] == ["done", "done"]
    assert lab.log("start") == {"slow 0": 1, "slow 1": 1}
    devices = cluster.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
    assert sorted(devices.values()) == ["GPU-one", "GPU-two"]
    assert {read_state(folder)["gpus"] for folder in lab.out.glob("kind=*")} <= set(devices.values())


def test_what_changed_runs_anew_and_what_was_finished_is_kept(lab: Lab, address: str) -> None:
    lab.batch(address, seed=[0])
    lab.write(prose="The same code, told otherwise.")
    lab.batch(address, seed=[1, 0])
    assert lab.log("start") == {"quick 0": 1, "quick 1": 1}

    kept = (lab.out / "seed=0" / "result.json").read_bytes()
    lab.write("raise KeyError('new')")
    (state,) = lab.batch(address, seed=[0])
    assert state["state"] == "failed" and state["attempts"] == 1
    assert len(table(lab.out)) == 1  # seed 1; seed 0 belongs to an earlier notebook
    previous = lab.out / ".batch" / "previous" / "seed=0"
    assert (previous / "result.json").read_bytes() == kept and (previous / "probe.ipynb").exists()
    (lab.out / "seed=0" / "training.ckpt").write_text("ten hours")
    lab.write("print('mended')")
    (state,) = lab.batch(address, seed=[0])
    assert state["state"] == "done" and (previous / "result.json").exists()
    assert (previous.with_name("seed=0~2") / "training.ckpt").read_text() == "ten hours"
    assert "mended" in (lab.out / "seed=0" / "probe.ipynb").read_text()


def test_what_cannot_run_is_refused_first(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    for settings, why in [
        ("sed=1", "no parameter sed; its parameters are kind, seed"),
        ("out_dir=x", "use --out"),
        ("seed=", "empty value"),
        ("seed=1,,2", "empty value"),
        ("seed=1,2,1", "a value twice"),
        ("seed", "must look like"),
        ("kind='a", "a quote that is not closed"),
    ]:
        assert cli.main(["batch", "probe.ipynb", "--out", "runs", "--set", settings]) == 2
        assert why in capsys.readouterr().err
    assert cli.main(["batch", "probe.ipynb", "--out", "runs", "--set", "seed=1", "--set", "seed=2"]) == 2
    assert "set twice" in capsys.readouterr().err
    assert cli.main(["batch", "log", "--out", "runs"]) == 2
    assert cli.main(["batch", "probe.ipynb", "--out", "runs", "--workers", "0"]) == 2
    assert cli.main(["batch", "probe.ipynb", "--out", "probe.ipynb"]) == 2
    assert not lab.lines()


def test_one_folder_that_cannot_be_used_fails_alone(lab: Lab, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    lab.out.mkdir()
    (lab.out / "seed=1").touch()
    (lab.out / "seed=2").mkdir()
    (lab.out / "seed=2" / "run.json").write_text('{"state": ["done"], "notebook": 5, "seconds": "long"}')
    command = ["batch", "probe.ipynb", "--out", "runs", "--set", "seed=1,2", "--scheduler", address]
    assert cli.main(command) == 1
    printed = capsys.readouterr().out.splitlines()
    assert "1 of 2 runs done; fastflow-lite table runs" in printed
    assert next(line for line in printed if line.startswith("failed:")).startswith("failed: seed=1: FileExistsError")
    assert not any("run.json" in line for line in printed)  # there is none
    assert len(table(lab.out)) == 1
    (lab.out / "seed=2" / "run.json").write_text(
        json.dumps({k: v for k, v in read_state(lab.out / "seed=2").items() if k != "seconds"})
    )
    (lab.out / "seed=1").unlink()
    assert cli.main(command) == 0


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "60"])
def test_a_timeout_is_a_time(lab: Lab, timeout: Any) -> None:
    with pytest.raises(DataError, match="timeout must be a finite number of seconds above 0"):
        run_batch(lab.notebook, {}, lab.out, timeout=timeout)


def test_another_notebook_does_not_take_the_place_of_a_run(lab: Lab) -> None:
    (job,) = plan(lab.notebook, {"seed": [0]}, lab.out, 1)
    runner.record_failure(job, RuntimeError())
    with pytest.raises(DataError, match=r"holds a run of probe\.ipynb"):
        plan(lab.notebook.rename("other.ipynb"), {"seed": [0]}, lab.out, 1)


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ({"workers": "2"}, "workers must be a whole number of at least 1, got '2'"),
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"threads": 0.5}, "threads must be a whole number of at least 1"),
        ({"retries": -1}, "retries must be a whole number of at least 0"),
    ],
)
def test_a_wrong_number_is_named(numbers: Any, why: str, lab: Lab) -> None:
    with pytest.raises(ArgumentError, match=why):
        run_batch(lab.notebook, {}, lab.out, **numbers)
