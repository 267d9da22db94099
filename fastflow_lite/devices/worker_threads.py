"""Batches computed by several threads at once, each of which uses its share of torch's threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

MOST_WORKERS = 8  # each holds the activations of a batch
_SETTING = threading.Lock()

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count(device: torch.device) -> int:
    """Return how many threads shall compute batches: as many as torch uses, at most `MOST_WORKERS`; 1 on a GPU."""
    if device.type != "cpu" or "backend: OpenMP" not in torch.__config__.parallel_info():
        return 1
    return min(MOST_WORKERS, torch.get_num_threads())


def computed_ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield `function(item)` in order, computed by `workers` threads ahead; by the calling thread if there is one.

    The threads of one parallel operation wait for each other, and where another thread or program takes a core for a
    while, all wait. Batches that are computed side by side do not. The number of torch's threads in other threads is
    not changed. `items` are taken by the calling thread, one more than workers ahead. An exception of `items` is
    raised after the results before it.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "computed_ahead", _use_threads, (max(1, threads // workers), threads))
    try:
        ready = threading.Barrier(workers + 1)  # all threads have their number before the first result is used
        for _ in range(workers):
            pool.submit(ready.wait)
        ready.wait()
        yield from _in_order(pool, function, items, workers + 1)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    iterator, failure, ended = iter(items), None, False
    while waiting or not ended:
        while not ended and len(waiting) < ahead:
            try:
                waiting.append(pool.submit(function, next(iterator)))
            except StopIteration:
                ended = True
            except Exception as error:
                failure, ended = error, True
        if waiting:
            yield waiting.popleft().result()
    if failure is not None:
        raise failure


def _use_threads(threads: int, others: int) -> None:
    """Let operations that this thread starts use so many threads of torch; leave `others` the default for new threads.

    torch keeps the number for each thread that has started an operation, and a default for new ones. Setting one sets
    both, so another thread sets the default again.
    """
    with _SETTING:
        torch.get_num_threads()  # before its first use in a thread, the number that was set would be replaced
        torch.set_num_threads(threads)
        restore = threading.Thread(target=torch.set_num_threads, args=(others,))
        restore.start()
        restore.join()
