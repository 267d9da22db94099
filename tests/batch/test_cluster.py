"""The GPUs that workers get, and who can reach the workers."""

import gc
import os
import socket
import time
from pathlib import Path

import pytest
from distributed import Client

from fastflow_lite.batch import cluster
from fastflow_lite.batch.cluster import connect, gpus
from fastflow_lite.errors import FastFlowError


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a script stands in for nvidia-smi")
def test_every_gpu_or_slice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = "  MIG 1g Device 0: (UUID: MIG-2)\n  MIG 1g Device 1: (UUID: MIG-3)"
    listed = f"GPU 0: A (UUID: GPU-1)\n{slices}\nGPU 1: A (UUID: GPU-4)"
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<END\n{listed}\nEND\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == ["MIG-2", "MIG-3", "GPU-4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 3")
    assert gpus() == ["1", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []


@pytest.mark.slow
def test_only_its_owner_reaches_the_workers() -> None:
    with connect(None, 1, []) as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert all(worker.startswith("tls://127.0.0.1:") for worker in client.scheduler_info()["workers"])
        for wrong in (address, address.replace("tls", "tcp")):
            with pytest.raises((OSError, ValueError, TypeError)):
                Client(wrong, timeout=2, set_as_default=False)
            gc.collect()  # a failed client that is collected while the next one starts waits for its lock for ever
        assert client.submit(os.getpid).result() != os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize("address", ["foo", "tcp://no.such.host.invalid:8786", "http://localhost:1", "tcp://x:y", ""])
def test_an_address_that_cannot_be_one_is_refused_at_once(address: str) -> None:
    began = time.monotonic()
    says = pytest.raises(FastFlowError, match=r"no dask scheduler answers at '.*looks like tcp://host:8786")
    with says as caught, connect(address, 1, []):
        pass
    assert "\n" not in str(caught.value) and time.monotonic() - began < 8


@pytest.mark.slow
def test_a_port_where_nobody_listens_is_an_error_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster.CONNECT_TIMEOUT < 20
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(FastFlowError, match="no dask scheduler answers"), connect(address, 1, []):
            pass
        assert time.monotonic() - began < 20
