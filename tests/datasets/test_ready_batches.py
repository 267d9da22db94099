"""Batches of what is ready: order, full batches of a known number, prompt ones of a stream, errors, and the end."""

import threading
import time
from collections.abc import Iterator

import pytest

from fastflow_lite.datasets.read_ahead import BATCHES_AHEAD, reader_threads
from fastflow_lite.datasets.ready_batches import ready_batches


def doubled(number: int) -> int:
    time.sleep(0.001 * (number % 3))
    return 2 * number


def test_known_numbers_come_in_order_and_full_batches() -> None:
    batches = list(ready_batches(doubled, range(11), 4))
    assert [[item for item, _ in batch] for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert [future.result() for batch in batches for _, future in batch] == [2 * k for k in range(11)]
    assert list(ready_batches(doubled, [], 4)) == []


def test_an_item_of_a_stream_does_not_wait_for_the_next_one() -> None:
    go_on = threading.Event()

    def frames() -> Iterator[int]:
        yield 1
        assert go_on.wait(10)
        yield 2

    batches = ready_batches(doubled, frames(), 8)
    assert [future.result() for _, future in next(batches)] == [2]
    go_on.set()
    assert [future.result() for _, future in next(batches)] == [4]
    assert list(batches) == []


def test_an_error_of_the_stream_comes_after_its_items_and_one_of_an_item_in_its_future() -> None:
    def frames() -> Iterator[int]:
        yield 1
        raise RuntimeError("camera gone")

    def fails(number: int) -> int:
        raise ValueError(number)

    found = []
    with pytest.raises(RuntimeError, match="camera gone"):
        found += [item for batch in ready_batches(doubled, frames(), 3) for item, _ in batch]
    batch = next(ready_batches(fails, [5], 3))
    with pytest.raises(ValueError, match="5"):
        batch[0][1].result()


def test_no_more_than_two_batches_are_taken_ahead_and_none_after_closing() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    batches = ready_batches(doubled, numbers(), 2)
    used = len(next(batches))
    time.sleep(0.1)
    assert len(taken) <= used + BATCHES_AHEAD * max(2, reader_threads()) + 1
    batches.close()  # type: ignore[attr-defined]
    before = len(taken)
    time.sleep(0.05)
    assert len(taken) == before
    assert not [t for t in threading.enumerate() if t.name.startswith("ready_batches")]


@pytest.mark.parametrize(("ahead", "most"), [(3, 3), (None, BATCHES_AHEAD * max(40, reader_threads()))])
def test_exactly_so_many_items_are_taken_ahead(ahead: int | None, most: int) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    batches = ready_batches(doubled, numbers(), 40, ahead)
    used, end = len(next(batches)), time.monotonic() + 10
    while len(taken) < used + most:
        assert time.monotonic() < end
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(taken) == used + most
    batches.close()  # type: ignore[attr-defined]


def test_closing_early_prepares_no_more_and_no_thread_keeps_the_process_alive() -> None:
    prepared: list[int] = []

    def slow(number: int) -> None:
        time.sleep(0.01)
        prepared.append(number)

    batches = ready_batches(slow, range(100), 1, ahead=60)
    next(batches)
    feeders = [thread for thread in threading.enumerate() if thread.name == "ready_batches_feeder"]
    assert feeders and all(thread.daemon for thread in feeders)
    batches.close()  # type: ignore[attr-defined]
    assert len(prepared) < 40
