"""Batches of images with their masks, read by threads ahead of their use."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import torch
from torch import Tensor

MOST_THREADS = 8
BATCHES_AHEAD = 2

Pair = tuple[Tensor, Tensor]  # an image and its mask, or a batch of both


def reader_threads() -> int:
    """Return the number of threads that read images: one a core, at most `MOST_THREADS`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, cores)


def read_ahead(
    read: Callable[[int], Pair], count: int, batch_size: int, size: tuple[int, int], pin: bool = False
) -> Iterator[Pair]:
    """Yield images `(B, 3, *size)` and masks `(B, *size)` of the indices below `count`, in order.

    Threads call `read`, which returns one image and its mask, up to `BATCHES_AHEAD` batches (at least two images a
    thread) before they are used. An image and its mask need 13 bytes a pixel: with batches of eight of 256 x 256, 27 MB
    for the batch in use, the next one and two ahead. Each thread holds one file's image in full size besides.

    `pin` puts batches in page-locked memory, from which a CUDA device copies while it computes.

    An exception of `read` is raised where its image is due. When the iterator is closed, images that no thread has
    begun are not read.
    """
    threads, indices = reader_threads(), iter(range(count))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read_ahead")
    try:  # Pillow releases Python's lock while it decodes
        ahead = islice(indices, BATCHES_AHEAD * max(batch_size, threads))
        waiting: deque[Future[Pair]] = deque(pool.submit(read, index) for index in ahead)
        while waiting:
            images, masks = _allocate(min(batch_size, len(waiting)), size, pin)
            for image, mask in zip(images, masks, strict=True):
                found = waiting.popleft().result()
                waiting.extend(pool.submit(read, index) for index in islice(indices, 1))
                image.copy_(found[0])
                mask.copy_(found[1])
            yield images, masks
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _allocate(count: int, size: tuple[int, int], pin: bool) -> Pair:
    images = torch.empty(count, 3, *size, pin_memory=pin)
    return images, torch.empty(count, *size, dtype=torch.bool, pin_memory=pin)
