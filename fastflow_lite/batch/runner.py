"""Execute one run on a worker: lock it, prepare its folder, start a child process, write its state."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from fastflow_lite.batch.grid import HIDDEN, OUT_DIR, Job, is_finished, read_state, same_run, write_state
from fastflow_lite.batch.lock import CAN_INHERIT, StoppedError, held
from fastflow_lite.batch.secrets import mask_notebook, masked, masked_text
from fastflow_lite.errors import FastFlowError
from fastflow_lite.files import remove_leftovers, write_atomically

LOG = "run.log"  # output of the child, kept when it failed
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

GRACE = 10.0  # seconds for a child to kill its kernel
TIMED_OUT = -1000  # no exit status: those are 0 to 255, and small negative numbers for signals

_one_run = threading.Lock()  # a worker executes one run at a time, also with several threads
_pipes: dict[str, IO[bytes]] = {}  # standard input of the child that runs, by batch
_stopped: set[str] = set()  # batches that were interrupted


def execute(job: Job) -> dict[str, Any]:
    """Execute the run unless it is done, and return its state: done, failed (with the error) or stopped.

    A folder that cannot be written makes this run fail, not the batch. While another process executes the same run,
    wait for it; a run that it finished is not executed twice.
    FastFlowError when the batch's folders do not exist on this machine.
    """
    for folder in (job.out / HIDDEN, job.cwd):
        if not folder.is_dir():
            raise FastFlowError(f"{socket.gethostname()} has no folder {folder}; workers need the same file system")
    try:
        with _one_run, held(job.lock, lambda: job.batch in _stopped) as lock:
            state = read_state(job.folder)
            return state if is_finished(job, state) else _attempt(job, state, lock)
    except StoppedError:
        return read_state(job.folder) | {"state": "stopped"}
    except Exception as error:  # a full disk, a file in the folder's place: dask would print a traceback
        return record_failure(job, error)


def stop(batch: str) -> None:
    """Stop the run of `batch` on this worker and start no further one. For `Client.run`."""
    _stopped.add(batch)
    pipe = _pipes.get(batch)
    if pipe is not None:
        pipe.close()  # the child exits when its standard input is closed


def record_failure(job: Job, error: BaseException) -> dict[str, Any]:
    """Return the state of a run whose worker could not write it, and write it where that is possible.

    It is not written while another process executes the run, nor on a full disk or into a folder that is none.
    """
    details = {"message": str(error), "traceback": "".join(traceback.format_exception(error))}
    details = {name: masked_text(text, job.parameters) for name, text in details.items()}
    failed = {"state": "failed", "error": {"type": type(error).__name__, **details}}
    with suppress(StoppedError, OSError), held(job.lock, lambda: True):
        found = read_state(job.folder)
        if is_finished(job, found):
            return found
        _prepare_folder(job, found)
        write_state(job.folder, _described(job) | (found if same_run(job, found) else {}) | failed)
    return _described(job) | failed


def _described(job: Job) -> dict[str, Any]:
    described = {"parameters": masked(job.parameters), "notebook": job.notebook.path.name}
    return described | job.identity | {"batch": job.batch, "attempts": 0}


def _attempt(job: Job, before: dict[str, Any], lock: int) -> dict[str, Any]:
    if job.batch in _stopped:
        raise StoppedError
    _prepare_folder(job, before)
    state = _described(job) | {"state": "running", "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}
    state |= {"started": datetime.now(UTC).isoformat(timespec="seconds"), "host": socket.gethostname()}
    state["attempts"] = (_attempts(before) if same_run(job, before) else 0) + 1
    write_state(job.folder, state)
    began = time.monotonic()
    status = _in_child(job, lock)
    state["seconds"] = round(time.monotonic() - began, 2)
    state |= _succeeded(job) if status == 0 else _failed(job, status)
    write_state(job.folder, state)
    return state


def _attempts(state: Mapping[str, Any]) -> int:
    made = state.get("attempts")
    return made if isinstance(made, int) else 0


def _succeeded(job: Job) -> dict[str, Any]:
    _publish(job, job.executed)
    _failed_notebook(job).unlink(missing_ok=True)
    (job.folder / LOG).unlink(missing_ok=True)
    return {"state": "done"}


def _failed(job: Job, status: int) -> dict[str, Any]:
    if job.batch in _stopped:
        return {"state": "stopped"}
    error = {name: masked_text(text, job.parameters) for name, text in _error(job, status).items()}
    with suppress(OSError, ValueError, KeyError):  # the child may have died while it wrote
        _publish(job, _failed_notebook(job))
    return {"state": "failed", "error": error}


def _prepare_folder(job: Job, before: dict[str, Any]) -> None:
    """Make the run's folder. Files of an earlier attempt stay, so that the run continues from its checkpoint.

    A run of another version of the notebook, finished or not, is moved to the first free of `job.previous` and the
    same name with a number. Nothing is deleted but temporary files of processes that were killed.
    """
    if before and not same_run(job, before):
        place, number = job.previous, 1
        while place.exists():
            number += 1
            place = job.previous.with_name(f"{job.name}~{number}")
        place.parent.mkdir(parents=True, exist_ok=True)
        job.folder.rename(place)
    job.folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(job.folder, 0)


def _in_child(job: Job, lock: int) -> int:
    """Execute the notebook in a child process, which exits with this one; return its exit status."""
    _running_notebook(job).write_text(job.notebook.content, encoding="utf-8")
    with (job.folder / LOG).open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("execute.py"))],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=job.cwd,
            env=_environment(job),
            pass_fds=[lock] if CAN_INHERIT else [],
            start_new_session=True,  # Ctrl-C in the terminal must reach only the caller
        )
    pipe = cast(IO[bytes], child.stdin)
    _pipes[job.batch] = pipe  # from here on `stop` can close it
    try:
        with suppress(BrokenPipeError, ValueError):  # the child died, or `stop` has closed the pipe
            pipe.write(json.dumps(_task(job)).encode() + b"\n")
            pipe.flush()
        if job.batch in _stopped:
            pipe.close()
        return _wait(child, pipe, job.timeout)
    finally:
        del _pipes[job.batch]
        pipe.close()


def _wait(child: subprocess.Popen[bytes], pipe: IO[bytes], timeout: float | None) -> int:
    """Return the exit status of the child, TIMED_OUT if it was ended because `timeout` seconds had passed."""
    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired:
        pipe.close()  # the child kills its kernel and exits
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
        child.kill()  # no effect if it has exited
        child.wait()
        return TIMED_OUT


def _task(job: Job) -> dict[str, Any]:
    """Return what `execute.py` reads from its standard input."""
    out_dir = {OUT_DIR: job.shown.as_posix()} if OUT_DIR in job.notebook.parameters else {}
    notebook = job.shown / _running_notebook(job).name
    return {"notebook": notebook.as_posix(), "parameters": job.parameters | out_dir}


def _environment(job: Job) -> dict[str, str]:
    """Return this process's environment, with the number of threads and without what dask set for its workers."""
    environment = dict(os.environ)
    if environment.get("MALLOC_TRIM_THRESHOLD_") == "65536":
        del environment["MALLOC_TRIM_THRESHOLD_"]  # with it torch would request the pages of every tensor again
    if job.threads is not None:
        environment |= dict.fromkeys(THREADS, str(job.threads))
    return environment


def _running_notebook(job: Job) -> Path:
    return job.executed.with_suffix(".running.ipynb")


def _failed_notebook(job: Job) -> Path:
    return job.executed.with_suffix(".failed.ipynb")


def _publish(job: Job, target: Path) -> None:
    """Move the executed notebook to `target`, with the caller's paths in the metadata of papermill."""
    notebook = json.loads(_running_notebook(job).read_text(encoding="utf-8"))
    metadata = notebook["metadata"].setdefault("papermill", {})
    mask_notebook(notebook, job.parameters)
    metadata |= {"input_path": job.notebook.path.as_posix(), "output_path": (job.shown / target.name).as_posix()}
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    write_atomically(target, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    _running_notebook(job).unlink()


def _error(job: Job, status: int) -> dict[str, str]:
    """Return the error of the first cell that raised; where none did (the kernel died), that of the child."""
    if status == TIMED_OUT:
        message = f"the run was not done after {job.timeout:g} seconds (timeout)"
        return {"type": "Timeout", "message": message, "traceback": message}
    with suppress(OSError, ValueError, KeyError):
        cells = json.loads(_running_notebook(job).read_text(encoding="utf-8"))["cells"]
        for item in (item for cell in cells for item in cell.get("outputs", [])):
            if item["output_type"] == "error":
                lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(item["traceback"]))
                return {"type": item["ename"], "message": item["evalue"], "traceback": lines}
    output = (job.folder / LOG).read_text(encoding="utf-8", errors="replace").strip()
    ended = f"the process of the run ended with status {status}"
    last = re.fullmatch(r"(?:\w+\.)*(\w+): (.+)", (output.splitlines() or [""])[-1]) if status > 0 else None
    kind, message = last.groups() if last else ("RunEnded", ended)
    return {"type": kind, "message": message, "traceback": output or ended}
