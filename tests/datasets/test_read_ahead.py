"""Reading ahead: order, bounds, errors at their place, threads that end, and pinned memory."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastflow_lite.datasets.read_ahead import BATCHES_AHEAD, read_ahead, reader_threads
from fastflow_lite.errors import DataError

SIZE = (4, 6)


def picture(index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image of the value `index`, not contiguous as a decoded one, and a mask that is True for odd numbers."""
    return torch.full((4, 6, 3), float(index)).permute(2, 0, 1), torch.full(SIZE, index % 2 == 1)


def reader_names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("read_ahead")]


def until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads do; fail after ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@given(st.integers(0, 20), st.integers(1, 9))
def test_batches_come_in_order_and_whole(count: int, batch_size: int) -> None:
    def read(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        time.sleep(0.0005 * ((7 * index) % 3))  # a later image may be ready before an earlier one
        return picture(index)

    batches = list(read_ahead(read, count, batch_size, SIZE))
    assert [len(images) for images, _ in batches] == [
        len(range(count)[k : k + batch_size]) for k in range(0, count, batch_size)
    ]
    assert all(part.is_contiguous() for batch in batches for part in batch)
    found = [pair for images, masks in batches for pair in zip(images, masks, strict=True)]
    for index, (image, mask) in enumerate(found):
        assert torch.equal(image, picture(index)[0]) and torch.equal(mask, picture(index)[1])


@pytest.mark.parametrize("batch_size", [1, 5])
def test_no_more_images_are_read_than_two_batches_ahead(batch_size: int) -> None:
    read: list[int] = []

    def note(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        read.append(index)
        return picture(index)

    ahead = BATCHES_AHEAD * max(batch_size, reader_threads())
    batches = read_ahead(note, 1000, batch_size, SIZE)
    for number in (1, 2, 3):
        next(batches)
        until(lambda: len(read) == number * batch_size + ahead)  # noqa: B023  (called before the next round)
        time.sleep(0.02)
        assert len(read) == number * batch_size + ahead
    batches.close()  # type: ignore[attr-defined]


def test_a_consumer_that_stops_ends_the_threads() -> None:
    began, release = [], threading.Event()

    def read(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        began.append(index)
        if index >= 2:
            release.wait(10)
        return picture(index)

    for _ in read_ahead(read, 100, 2, SIZE):
        threading.Timer(0.05, release.set).start()
        break
    until(lambda: not reader_names())
    assert len(began) <= 2 + reader_threads()


def test_an_error_comes_in_its_turn_and_ends_the_threads() -> None:
    def read(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if index == 5:
            raise DataError("image 5.png cannot be decoded")
        return picture(index)

    seen = []
    with pytest.raises(DataError, match=r"5\.png cannot be decoded"):
        for images, _ in read_ahead(read, 100, 2, SIZE):
            seen += images[:, 0, 0, 0].tolist()
    assert seen == [0, 1, 2, 3]
    assert not reader_names()


def test_a_batch_stays_as_it_is_while_later_ones_are_read() -> None:
    batches = read_ahead(picture, 20, 2, SIZE)
    first = next(batches)[0]
    assert len(list(batches)) == 9
    assert first[:, 0, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("pin", [True, False])
def test_pinned_memory_is_used_where_it_is_asked_for(pin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned, empty = [], torch.empty

    def note(*shape: int, pin_memory: bool, **options: Any) -> torch.Tensor:
        pinned.append(pin_memory)
        return empty(*shape, **options)

    monkeypatch.setattr(torch, "empty", note)
    images, masks = next(read_ahead(picture, 3, 3, SIZE, pin))
    assert pinned == [pin, pin]
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert masks[:, 0, 0].tolist() == [False, True, False]


def test_one_thread_a_core_and_at_most_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in ((1, 1), (2, 2), (8, 8), (64, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert reader_threads() == threads
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert reader_threads() == 1
