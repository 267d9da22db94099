"""Batches side by side: in order, with errors at their place, and torch's threads elsewhere as they were."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from fastflow_lite.devices.worker_threads import MOST_WORKERS, computed_ahead, worker_count
from fastflow_lite.errors import DataError


def slow_square(number: int) -> int:
    time.sleep(0.002 * (number % 3))
    return number**2


@pytest.mark.parametrize("workers", [1, 3])
def test_results_are_in_order(workers: int) -> None:
    assert list(computed_ahead(slow_square, range(20), workers)) == [k**2 for k in range(20)]
    assert list(computed_ahead(slow_square, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_after_the_results_before_it(workers: int) -> None:
    def items() -> Iterator[int]:
        yield from range(4)
        raise DataError("the fifth")

    found = computed_ahead(slow_square, items(), workers)
    assert [next(found) for _ in range(4)] == [0, 1, 4, 9]
    with pytest.raises(DataError, match="the fifth"):
        next(found)
    broken = computed_ahead(lambda number: 1 // (2 - number), range(9), workers)
    assert [next(broken), next(broken)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(broken)


def test_few_items_are_taken_ahead_and_none_after_the_end() -> None:
    taken: list[int] = []
    found = computed_ahead(slow_square, (taken.append(k) or k for k in range(100)), 2)
    for number in range(5):
        next(found)
        assert len(taken) <= number + 3
    found.close()
    assert len(taken) <= 8
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("computed_ahead")]


def test_threads_compute_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=5)
    assert len(list(computed_ahead(lambda _: meeting.wait(), range(4), 2))) == 4


@pytest.mark.cpu_only
def test_each_worker_has_its_share_of_threads_and_no_other_thread_is_changed() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        assert worker_count(torch.device("cpu")) == 4
        assert worker_count(torch.device("cuda")) == 1
        seen, elsewhere = [], []
        for threads in computed_ahead(lambda _: torch.get_num_threads(), range(6), 2):
            seen.append(threads)
            fresh = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
            fresh.start()
            fresh.join()
        assert seen == [2] * 6
        assert elsewhere == [4] * 6 and torch.get_num_threads() == 4
        torch.set_num_threads(100)
        assert worker_count(torch.device("cpu")) == MOST_WORKERS
    finally:
        torch.set_num_threads(before)
