"""Locks of runs: one holder, no file left behind."""

import os
import threading
from pathlib import Path

import pytest

from fastflow_lite.batch.lock import StoppedError, held, remove_unused

fcntl = pytest.importorskip("fcntl")


def test_one_holds_and_no_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "run"
    with held(path, lambda: False), pytest.raises(StoppedError), held(path, lambda: True):
        pass
    assert not list(path.parent.iterdir())


def test_waiting_processes_never_hold_it_together(tmp_path: Path) -> None:
    inside, most, path = [0], [0], tmp_path / "run"

    def work() -> None:
        for _ in range(20):
            with held(path, lambda: False):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and not path.exists()


def test_a_lock_whose_file_was_deleted_is_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def replaced() -> bool:
        """The holder ends, and a third process makes the file anew."""
        path.unlink()
        path.touch()
        os.close(first)
        return False

    first = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(first, fcntl.LOCK_EX)
    with held(path, replaced) as handle:
        assert os.path.samestat(os.fstat(handle), path.stat())


def test_only_files_that_nobody_holds_are_removed(tmp_path: Path) -> None:
    (tmp_path / "killed").touch()
    with held(tmp_path / "used", lambda: False):
        remove_unused(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["used"]
