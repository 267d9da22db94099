"""The peak is that of the block, also where the memory was freed before its end."""

import time

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
