"""The peak is that of the block, also where the memory was freed before its end."""

import mmap
import platform
import sys
import time
from pathlib import Path

import pytest

from fastflow_lite.course.peak_memory import PeakMemory


def test_memory_that_is_freed_inside_the_block_counts() -> None:
    with PeakMemory() as peak:
        block = bytearray(200 * 2**20)
        time.sleep(0.1)
        del block
    assert 150 < peak.mib < 400


def test_a_block_that_takes_nothing_has_no_peak_and_errors_pass_through() -> None:
    with pytest.raises(KeyError), PeakMemory() as peak:
        time.sleep(0.02)
        raise KeyError
    assert peak.mib < 50


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which pages are those of files")
def test_pages_of_files_that_the_system_takes_back_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(100 * 2**20))
    with open(tmp_path / "weights", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        assert sum(pages[:: mmap.PAGESIZE]) == 0  # all are resident now
        with PeakMemory() as peak:
            pages.madvise(mmap.MADV_DONTNEED)  # as the system does when it wants memory
            block = bytearray(64 * 2**20)
    assert 48 < peak.mib < 128 and block


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives kept memory back when asked")
def test_memory_that_the_process_has_freed_and_kept_hides_nothing() -> None:
    small = [bytearray(2**16) for _ in range(1600)]  # 100 MiB in pieces that glibc keeps when they are free
    last = bytearray(2**16)  # it lies above them
    del small
    with PeakMemory() as peak:
        blocks = [bytearray(2**16) for _ in range(1000)]
    assert peak.mib > 48 and blocks and last
