"""How much memory a block of code needs at its highest, by sampling the process's resident memory."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from typing import Self

INTERVAL = 0.005  # seconds between two samples


class PeakMemory:
    """Measure how far the resident memory of this process grows inside a `with` block, in MiB.

    On Linux pages of files do not count, since the system takes them back when it likes, and memory that the process
    has freed and kept is given back first: the block would take it again unseen. What the block frees and takes again
    within `INTERVAL` is missed: read it as a lower bound. On a GPU it measures the host alone.

    >>> with PeakMemory() as peak:
    ...     block = bytearray(64 * 2**20)
    >>> peak.mib > 32
    True
    """

    mib = 0.0

    def __enter__(self) -> Self:
        """Start to sample."""
        import psutil  # ipykernel requires it, so it is there in every notebook

        gc.collect()
        give_back_free_memory()
        self._process, self._over = psutil.Process(), threading.Event()
        self._before = self._resident()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the last sample and stop."""
        self._over.set()
        self._thread.join()
        self._take()

    def _sample(self) -> None:
        while not self._over.wait(INTERVAL):
            self._take()

    def _take(self) -> None:
        self.mib = max(self.mib, (self._resident() - self._before) / 2**20)

    def _resident(self) -> int:
        """Return bytes; what psutil calls shared on Linux are the pages of files."""
        memory = self._process.memory_info()
        return memory.rss - getattr(memory, "shared", 0)


def give_back_free_memory() -> None:
    """Return to the system what the C library of Linux (glibc) keeps for later; do nothing elsewhere."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
