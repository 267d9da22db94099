"""A lab, and a scheduler with two worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from lab import Lab

from fastflow_lite.batch.cluster import start_local


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    """A scheduler and two workers that are assigned a GPU each."""
    with start_local(2, ["GPU-one", "GPU-two"], None) as client:
        yield client


@pytest.fixture
def address(cluster: Client) -> str:
    scheduler = cluster.scheduler
    assert scheduler is not None
    return str(scheduler.address)


@pytest.fixture
def beside(lab: Lab) -> Iterator[Callable[..., Future[Any]]]:
    """Call something in another thread; it ends also when the test fails."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit
        lab.open_gate()
