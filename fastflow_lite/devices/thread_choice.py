"""The number of threads of a training on a processor that other processes use as well."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.functional import conv2d, relu

MUCH_SLOWER = 2.0  # than the fastest step: then the number is chosen anew
WORTH_IT = 0.8  # of the time with all threads: fewer threads are taken only below it, since they change rounding


class ThreadChoice:
    """Chooses how many threads torch uses, and gives all of them back at the end. Use as a context manager.

    The threads of a parallel operation wait for each other. Where another process keeps one core busy, two threads on
    two cores need many times as long as one thread. On a GPU, and with one thread, nothing is measured or changed.
    """

    def __init__(self, device: torch.device) -> None:
        self.most = torch.get_num_threads() if device.type == "cpu" else 1
        self.fastest, self.slow_steps = math.inf, 0

    def __enter__(self) -> None:
        self.choose()

    def __exit__(self, *_: object) -> None:
        if self.most > 1:
            torch.set_num_threads(self.most)

    def start_epoch(self) -> None:
        """Choose anew if fewer threads than possible are used: the cores may be free again."""
        if self.most > 1 and torch.get_num_threads() < self.most:
            self.choose()

    @contextmanager
    def step(self, images: int) -> Iterator[None]:
        """Time a step on `images` images; after three slow ones in a row choose anew."""
        began = time.perf_counter()
        yield
        seconds = (time.perf_counter() - began) / images
        self.fastest = min(self.fastest, seconds)
        self.slow_steps = self.slow_steps + 1 if seconds > MUCH_SLOWER * self.fastest else 0
        if self.most > 1 and self.slow_steps == 3:  # one alone may be the small last batch
            self.choose()

    def choose(self) -> None:
        """Measure all threads, half of them, and so on down to one; take the fastest number."""
        numbers = [self.most >> halvings for halvings in range(self.most.bit_length())]
        if len(numbers) > 1:
            seconds = {number: measure(number) for number in numbers}
            best = min(numbers, key=seconds.__getitem__)
            torch.set_num_threads(best if seconds[best] < WORTH_IT * seconds[self.most] else self.most)
            self.fastest, self.slow_steps = math.inf, 0


@torch.no_grad()
def measure(threads: int) -> float:
    """Return the seconds that ten small convolutions take with this many threads."""
    torch.set_num_threads(threads)
    x, weight = torch.ones(8, 64, 32, 32), torch.ones(64, 64, 3, 3)
    relu(conv2d(x, weight, padding=1))  # starts the threads
    began = time.perf_counter()
    for _ in range(10):
        relu(conv2d(x, weight, padding=1))
    return time.perf_counter() - began
