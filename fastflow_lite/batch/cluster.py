"""Where the runs of a batch go: workers on this machine, one a GPU, or any dask scheduler."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastflow_lite.errors import FastFlowError

if TYPE_CHECKING:
    from distributed import Client, Security

CONNECT_TIMEOUT = 10  # seconds for a scheduler to answer
LOOPBACK = "127.0.0.1"


def gpus() -> list[str]:
    """Return the names that CUDA_VISIBLE_DEVICES accepts on this machine, found without a CUDA context.

    A slice of a GPU (MIG) counts as a GPU. Where the variable is set already, its own names are returned.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    found: list[str] = []
    for name in re.findall(r"UUID: ((?:GPU|MIG)-[^)\s]+)", listed):
        if name.startswith("MIG") and found and found[-1].startswith("GPU"):
            found.pop()  # a GPU that is cut into slices is not used whole
        found.append(name)
    return found


def threads_each(workers: int) -> int | None:
    """Return the CPU threads for each of several runs on this machine; None where OMP_NUM_THREADS is set."""
    from dask.system import CPU_COUNT

    return None if os.environ.get("OMP_NUM_THREADS") else max(1, CPU_COUNT // workers)


@contextmanager
def connect(scheduler: str | None, workers: int, devices: list[str]) -> Iterator[Client]:
    """Yield a client of the scheduler at that address, or of `workers` new processes on loopback; close it at the end.

    New worker k has GPU k to itself; more workers than GPUs share them. FastFlowError when no scheduler answers.
    """
    if scheduler is None:
        with start_local(workers, devices, _own_security()) as client:
            yield client
        return
    from distributed import Client
    from distributed.comm.addressing import resolve_address

    try:
        resolve_address(scheduler)  # Client would repeat an address that no attempt can reach
        client = Client(scheduler, timeout=CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise FastFlowError(
            f"no dask scheduler answers at {scheduler!r} ({why}); an address looks like tcp://host:8786"
        ) from error
    with client:
        yield client


@contextmanager
def start_local(workers: int, devices: list[str], security: Security | None) -> Iterator[Client]:
    """Start `workers` processes on loopback and yield their client; stop them at the end.

    With `security` only its owner can connect. Without it, every user of this machine can run code in the workers.
    """
    import dask
    from distributed import Client, Nanny, Scheduler, SpecCluster

    # Not LocalCluster: its workers all have the same environment, here each has its own GPU. No memory limit:
    # the notebooks use the memory, in processes that dask does not measure. No pages: every user could read them.
    protocol = "tcp://" if security is None else "tls://"
    quiet = {"dashboard": False, "host": LOOPBACK, "protocol": protocol, "security": security}
    quiet |= {"dashboard_address": f"{LOOPBACK}:0"}  # a free port instead of 8787
    own = [{"CUDA_VISIBLE_DEVICES": devices[k % len(devices)]} if devices else {} for k in range(workers)]
    nanny = quiet | {"nthreads": 1, "memory_limit": 0, "silence_logs": "ERROR"}
    spec = {k: {"cls": Nanny, "options": nanny | {"env": env}} for k, env in enumerate(own)}
    main = {"cls": Scheduler, "options": quiet | {"port": 0}}
    no_pages: dict[str, list[str]] = {f"distributed.{who}.http.routes": [] for who in ("scheduler", "worker")}
    with (
        dask.config.set(no_pages),
        SpecCluster(spec, main, silence_logs="ERROR", security=security) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.run(_ignore_interrupt)
        yield client


def _own_security() -> Security:
    """Return a new key and certificate, kept in memory, which scheduler, workers and client show each other."""
    from distributed import Security

    try:
        return Security.temporary()
    except ImportError as error:
        raise FastFlowError(
            "workers on this machine need the package cryptography: pip install cryptography"
        ) from error


def _ignore_interrupt() -> None:
    """Ignore Ctrl-C, which a terminal sends to all its processes: the client handles it and stops the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
