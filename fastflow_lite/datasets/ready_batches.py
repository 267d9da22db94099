"""Batches of whatever is ready: items of an iterable, such as camera frames, prepared by threads ahead of their use."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from fastflow_lite.datasets.read_ahead import BATCHES_AHEAD, reader_threads

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def ready_batches(
    prepare: Callable[[Item], Prepared], items: Iterable[Item], batch_size: int, ahead: int | None = None
) -> Iterator[list[tuple[Item, Future[Prepared]]]]:
    """Yield lists of at most `batch_size` items with the futures of `prepare(item)`, in order.

    Where the number of items is known, every list but the last is full. Of an iterator, a list holds what is ready, so
    that a slow camera does not delay the images that it has given. At most `ahead` items are prepared ahead; default:
    `BATCHES_AHEAD` batches, at least two items a thread. An exception of the iterator is raised after the items before
    it. When the iterator of lists is closed, no more items are taken.
    """
    feeder = _Feeder(prepare, items, batch_size, ahead)
    waits = isinstance(items, Sized)
    try:
        while batch := feeder.take(batch_size, waits):
            yield batch
    finally:
        feeder.close()


class _Feeder(Generic[Item, Prepared]):
    """A thread that takes items and hands them to the threads that prepare them."""

    def __init__(
        self, prepare: Callable[[Item], Prepared], items: Iterable[Item], batch_size: int, ahead: int | None
    ) -> None:
        ahead = ahead or BATCHES_AHEAD * max(batch_size, reader_threads())
        threads = min(reader_threads(), ahead)
        self.prepare, self.items = prepare, items
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="ready_batches")
        self.waiting: queue.Queue[tuple[Item, Future[Prepared]] | None] = queue.Queue()
        self.room = threading.Semaphore(ahead)
        self.closed, self.ended = threading.Event(), False
        self.error: BaseException | None = None
        # a daemon: a camera may let it wait for ever
        threading.Thread(target=self._feed, name="ready_batches_feeder", daemon=True).start()

    def take(self, most: int, waits: bool) -> list[tuple[Item, Future[Prepared]]]:
        """Return the next items: `most`, or those that are ready if not `waits`. An empty list is the end."""
        batch: list[tuple[Item, Future[Prepared]]] = []
        while len(batch) < most and not self.ended:
            try:
                entry = self.waiting.get(block=waits or not batch)
            except queue.Empty:
                break
            if entry is None:
                self.ended = True
            else:
                batch.append(entry)
                self.room.release()
        if self.ended and not batch and self.error is not None:
            raise self.error
        return batch

    def close(self) -> None:
        """Take no more items, and wait for those that threads have begun to prepare, or for all at the end."""
        self.closed.set()
        self.room.release()
        self.pool.shutdown(wait=True, cancel_futures=not self.ended)

    def _feed(self) -> None:
        try:
            iterator = iter(self.items)
            while True:
                self.room.acquire()
                if self.closed.is_set():
                    return
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                if self.closed.is_set():
                    return
                self.waiting.put((item, self.pool.submit(self.prepare, item)))
        except BaseException as error:
            self.error = error
        finally:
            self.waiting.put(None)
