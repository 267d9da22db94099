"""Run a notebook over a grid of parameters: papermill on a dask cluster, each run in its own folder.

    fastflow-lite batch notebooks/07_fastflow.ipynb --set category=bottle,screw --set seed=0,1 --out runs/mvtec

The same call again runs only what is missing, failed, or changed.
"""

from __future__ import annotations

import math
import queue
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastflow_lite.batch import runner
from fastflow_lite.batch.cluster import connect, gpus, threads_each
from fastflow_lite.batch.grid import (
    HIDDEN,
    LOCKS,
    Job,
    expand,
    is_finished,
    read_notebook,
    read_state,
    run_name,
)
from fastflow_lite.batch.lock import remove_unused
from fastflow_lite.batch.view import BatchView
from fastflow_lite.errors import DataError, FastFlowError, check_whole

if TYPE_CHECKING:
    from distributed import Client, Future

POLL_INTERVAL = 2.0  # seconds between two updates of the view


def run_batch(
    notebook: str | Path,
    grid: Mapping[str, Sequence[Any]],
    out: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    retries: int = 1,
    threads: int | None = None,
    timeout: float | None = None,
    show: bool = True,
) -> list[dict[str, Any]]:
    """Run `notebook` once for every combination of `grid`, each in a folder below `out`; return their states.

    The runs go to `workers` processes on this machine (default: one per GPU, or one), or to the workers of the dask
    `scheduler` at that address. A failed run is started again up to `retries` times; a run whose worker dies, as
    often as the scheduler allows. `threads` is the number of CPU threads of each run; by default the cores are
    divided among the workers. A run that is not done after `timeout` seconds is ended and counts as failed.
    The states are in the grid's order; each is the content of the run's `run.json`, or that of a failure that could
    not be written there.

    Raises:
        ArgumentError: `workers`, `threads` or `retries` is no number that it can be.
        DataError: Before any run, when the notebook, the parameters or the folders do not fit.
        FastFlowError: When the scheduler does not answer or its connection is lost.
    """
    if workers is not None and scheduler is not None:
        raise DataError("workers and scheduler exclude each other: a scheduler has its own workers")
    check_whole("retries", retries, 0)
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None:
            check_whole(name, number, 1)
    if timeout is not None and not (isinstance(timeout, int | float) and 0 < timeout < math.inf):
        raise DataError(f"timeout must be a finite number of seconds above 0, got {timeout}")
    devices = gpus() if scheduler is None else []
    count = workers or max(1, len(devices))
    if threads is None and scheduler is None:
        threads = threads_each(count)
    jobs = plan(Path(notebook), grid, Path(out), threads, timeout)
    remove_unused(Path(out) / HIDDEN / LOCKS)
    ended: dict[str, dict[str, Any]] = {}
    todo = [job for job in jobs if not is_finished(job, read_state(job.folder))]
    with closing(BatchView(len(jobs), len(jobs) - len(todo), show)) as view:
        view.print_line(f"{len(jobs)} runs: {len(jobs) - len(todo)} finished before, {len(todo)} to do")
        if todo:
            with connect(scheduler, count, devices) as client:
                ended = _run_all(client, todo, retries, view)
    return [ended.get(job.name, read_state(job.folder)) | {"name": job.name} for job in jobs]


def plan(
    notebook: Path,
    grid: Mapping[str, Sequence[Any]],
    out: Path,
    threads: int | None,
    timeout: float | None = None,
) -> list[Job]:
    """Return the runs of a batch in the grid's order, and make the folder that they share. DataError as `run_batch`."""
    source = read_notebook(notebook)
    points = expand(grid, source.parameters)
    try:
        (out / HIDDEN).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out} cannot hold runs: {error}") from error
    batch, jobs = uuid.uuid4().hex, []
    for point in points:
        name = run_name(point, source.parameters)
        jobs.append(Job(name, point, source, out.absolute(), out / name, Path.cwd(), threads, batch, timeout))
        other = read_state(out / name).get("notebook")
        if isinstance(other, str) and other != notebook.name:
            raise DataError(f"{out / name} holds a run of {other}; give each notebook its own --out")
    return jobs


def _run_all(client: Client, todo: Sequence[Job], retries: int, view: BatchView) -> dict[str, dict[str, Any]]:
    """Submit the runs, and failed ones again, until none is left; return the last state of each by its name.

    On an exception stop the runs that were started.
    """
    states: dict[str, dict[str, Any]] = {}
    ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    left: dict[Any, tuple[Future[Any], Job, int]] = {}

    def start(job: Job, tries: int) -> None:
        future = client.submit(runner.execute, job, pure=False)
        left[future.key] = future, job, tries
        future.add_done_callback(ended.put)

    try:
        for job in todo:
            start(job, retries)
        while left:
            future = _next(ended)
            with suppress(OSError):  # a lost scheduler also cancels the futures, and _state_of raises for that
                view.update(client.processing(), set(left))
            if future is None:
                continue
            _, job, tries = left.pop(future.key)
            state = states[job.name] = _state_of(future, job)
            again = state["state"] == "failed" and tries > 0
            if again:
                start(job, tries - 1)
            view.end_run(job, state, again)
        return states
    except BaseException:
        with suppress(Exception):  # the caller gets the exception that ended the batch
            client.cancel([future for future, _, _ in left.values()])
            client.run(runner.stop, todo[0].batch, on_error="ignore")
        raise


def _next(ended: queue.SimpleQueue[Future[Any]]) -> Future[Any] | None:
    with suppress(queue.Empty):
        return ended.get(timeout=POLL_INTERVAL)
    return None


def _state_of(future: Future[Any], job: Job) -> dict[str, Any]:
    if future.cancelled():
        raise FastFlowError(
            "the connection to the scheduler is lost; finished runs are kept, and the same call continues"
        )
    error = future.exception()
    return future.result() if error is None else runner.record_failure(job, error)
