"""A lock on a run: a file that the processes of the run keep open."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: there, two batches must not use the same folder at once
    fcntl = None  # type: ignore[assignment]

CAN_INHERIT = fcntl is not None  # whether a child can hold the lock of its parent


class StoppedError(Exception):
    """The batch was interrupted before this run began, or another process executes the run."""


# Not filelock: an exception in the worker unlocks its file although the child that inherited it is still at work.
@contextmanager
def held(path: Path, give_up: Callable[[], bool]) -> Iterator[int]:
    """Hold the lock file `path` and yield it open; wait while others hold it, or raise StoppedError on `give_up()`.

    The lock lasts until every process that has this file open has closed it or died. So a child that inherits the
    open file keeps the run locked until it exits. The file is deleted when the block ends without an exception;
    after one, a child may still be at work.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _open_locked(path, give_up)
    try:
        yield handle
        with suppress(OSError):  # Windows deletes no file that is open
            path.unlink()
    finally:
        os.close(handle)


def remove_unused(folder: Path) -> None:
    """Delete the lock files in `folder` that no process holds: processes that were killed left them."""
    for path in folder.glob("*"):
        with suppress(StoppedError, OSError), held(path, lambda: True):
            pass


def _open_locked(path: Path, give_up: Callable[[], bool]) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            while not _locks(handle):
                if give_up():
                    raise StoppedError
                time.sleep(0.2)
            if _is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the holder before deleted this file, so another process may hold a new one


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


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
