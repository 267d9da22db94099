"""What a worker does with a run: its lock, its folder, a child process that executes it, its state on disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from fastflow_lite.batch.grid import HIDDEN, OUT_DIR, Job, is_finished, read_state, same_run, write_state
from fastflow_lite.errors import FastFlowError
from fastflow_lite.files import write_atomically

try:
    import fcntl
except ImportError:  # Windows: two batches at once on the same folder are not kept apart there
    fcntl = None  # type: ignore[assignment]

LOG = "run.log"  # what the child said, kept when it failed
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_turn = threading.Lock()  # one run at a time on a worker, however many threads it was started with
_pipes: dict[str, IO[bytes]] = {}  # to the child that runs, by batch
_stopped: set[str] = set()  # batches that were interrupted


class Stopped(Exception):
    """The batch was interrupted before this run began."""


def execute(job: Job) -> dict[str, Any]:
    """Do the run unless it is done, and return its state: done, failed (with the error) or stopped.

    Whoever else works on the same run, here or elsewhere, is waited for; what it finished is not run twice.
    FastFlowError when this machine does not see the batch's folders.
    """
    for place in (job.out / HIDDEN, job.cwd):
        if not place.is_dir():
            raise FastFlowError(f"{socket.gethostname()} does not see {place}; workers need the same file system")
    try:
        with _turn, held(job.lock, lambda: job.batch in _stopped) as lock:
            state = read_state(job.folder)
            return state if is_finished(job, state) else _attempt(job, state, lock)
    except Stopped:
        return read_state(job.folder) | {"state": "stopped"}


def stop(batch: str) -> None:
    """End the run of `batch` on this worker, and let none begin. For `Client.run`."""
    _stopped.add(batch)
    pipe = _pipes.get(batch)
    if pipe is not None:
        pipe.close()  # the child takes that as the worker's death


def record_failure(job: Job, error: BaseException) -> dict[str, Any]:
    """The state of a run whose worker could not write it: the client does, unless somebody is running it."""
    said = {"message": str(error), "traceback": "".join(traceback.format_exception(error))}
    failed = {"state": "failed", "error": {"type": type(error).__name__, **said}}
    with suppress(Stopped), held(job.lock, lambda: True):
        found = read_state(job.folder)
        if is_finished(job, found):
            return found
        _make_room(job, found)
        write_state(job.folder, _described(job) | (found if same_run(job, found) else {}) | failed)
    return _described(job) | failed


def _described(job: Job) -> dict[str, Any]:
    known = {"parameters": job.parameters, "notebook": job.notebook.path.name}
    return known | job.identity | {"batch": job.batch, "attempts": 0}


@contextmanager
def held(path: Path, give_up: Callable[[], bool]) -> Iterator[int]:
    """Hold the lock file `path` and yield it open; wait while others hold it, or raise Stopped on `give_up()`.

    The lock lasts until every process that has this file open has closed it or died. So a child that gets it
    keeps the run locked until it is gone too, and there is no stale lock to clean up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not _locks(handle):
            if give_up():
                raise Stopped
            time.sleep(0.2)
        yield handle
    finally:
        os.close(handle)


def _locks(handle: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: as on Windows
        return True
    return True


def _attempt(job: Job, before: dict[str, Any], lock: int) -> dict[str, Any]:
    if job.batch in _stopped:
        raise Stopped
    _make_room(job, before)
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
    _failed_pages(job).unlink(missing_ok=True)
    (job.folder / LOG).unlink(missing_ok=True)
    return {"state": "done"}


def _failed(job: Job, status: int) -> dict[str, Any]:
    if job.batch in _stopped:
        return {"state": "stopped"}
    error = _error(job, status)
    with suppress(OSError, ValueError):  # the child may have died while it wrote
        _publish(job, _failed_pages(job))
    return {"state": "failed", "error": error}


def _make_room(job: Job, before: dict[str, Any]) -> None:
    """A folder for this attempt. What an earlier one of the same run left stays: a checkpoint lets it go on.

    What another version of the notebook finished moves aside whole, in one step, and stays there until another
    finished run takes its place; what it left unfinished goes.
    """
    if before and not same_run(job, before):
        if before.get("state") == "done":
            job.previous.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(job.previous, ignore_errors=True)
            job.folder.rename(job.previous)
        else:
            shutil.rmtree(job.folder)
    job.folder.mkdir(parents=True, exist_ok=True)


def _in_child(job: Job, lock: int) -> int:
    """Execute the notebook in a process of its own, which dies with this one; its exit status."""
    _running_pages(job).write_text(job.notebook.content, encoding="utf-8")
    pages = job.shown / _running_pages(job).name
    out_dir = {OUT_DIR: job.shown.as_posix()} if OUT_DIR in job.notebook.parameters else {}
    task = {"notebook": pages.as_posix(), "parameters": job.parameters | out_dir}
    environment = dict(os.environ)
    if environment.get("MALLOC_TRIM_THRESHOLD_") == "65536":
        del environment["MALLOC_TRIM_THRESHOLD_"]  # dask's own; torch would page every tensor in anew
    if job.threads is not None:
        environment |= dict.fromkeys(THREADS, str(job.threads))
    with (job.folder / LOG).open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("execute.py"))],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=job.cwd,
            env=environment,
            pass_fds=[lock] if fcntl else [],
            start_new_session=True,  # Ctrl-C at the caller's terminal is the caller's to answer
        )
    pipe = cast(IO[bytes], child.stdin)
    _pipes[job.batch] = pipe
    try:
        with suppress(BrokenPipeError, ValueError):  # it died, or was stopped, that early
            pipe.write(json.dumps(task).encode() + b"\n")
            pipe.flush()
        if job.batch in _stopped:
            pipe.close()
        return child.wait()
    finally:
        del _pipes[job.batch]
        pipe.close()


def _running_pages(job: Job) -> Path:
    return job.executed.with_suffix(".running.ipynb")


def _failed_pages(job: Job) -> Path:
    return job.executed.with_suffix(".failed.ipynb")


def _publish(job: Job, place: Path) -> None:
    """Put the executed notebook at `place`, with the paths a reader knows in what papermill notes."""
    pages = json.loads(_running_pages(job).read_text(encoding="utf-8"))
    noted = pages["metadata"].setdefault("papermill", {})
    noted |= {"input_path": job.notebook.path.as_posix(), "output_path": (job.shown / place.name).as_posix()}
    text = json.dumps(pages, indent=1, ensure_ascii=False) + "\n"
    write_atomically(place, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    _running_pages(job).unlink()


def _error(job: Job, status: int) -> dict[str, str]:
    """Of the first cell that raised; where none did (a kernel that died, say), of the child itself."""
    with suppress(OSError, ValueError, KeyError):
        cells = json.loads(_running_pages(job).read_text(encoding="utf-8"))["cells"]
        for output in (output for cell in cells for output in cell.get("outputs", [])):
            if output["output_type"] == "error":
                lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output["traceback"]))
                return {"type": output["ename"], "message": output["evalue"], "traceback": lines}
    said = (job.folder / LOG).read_text(encoding="utf-8", errors="replace").strip()
    ended = f"the process of the run ended with status {status}"
    last = re.fullmatch(r"(?:\w+\.)*(\w+): (.+)", (said.splitlines() or [""])[-1]) if status > 0 else None
    kind, message = last.groups() if last else ("RunEnded", ended)
    return {"type": kind, "message": message, "traceback": said or ended}
