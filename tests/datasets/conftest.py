"""A server for downloads, and data sets that it offers."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from local_server import Server

from fastflow_lite.datasets.sources import SOURCES

Offer = Callable[..., str]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("FASTFLOW_LITE_PLAIN", "1")
    for source in SOURCES.values():
        monkeypatch.delenv(source.variable, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def offer(server: Server, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Replace the address of a data set, its checksum and its sizes by those of `content` on the server."""

    def offer(name: str, content: bytes, *urls: str, unpacked: int = 2_000_000, entries: int = 10) -> str:
        url = server.put(name, content)
        sizes: dict[str, Any] = {"archive_bytes": len(content), "unpacked_bytes": unpacked, "entries": entries}
        sha256 = hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], urls=urls or (url,), sha256=sha256, **sizes))
        return url

    return offer
