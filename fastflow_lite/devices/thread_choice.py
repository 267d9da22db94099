"""The number of threads of a training on a processor that other processes use as well."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.functional import conv2d, relu

MUCH_SLOWER = 2.0  # than the fastest step: then the number is chosen anew
ALONE = 0.85  # of a core for each thread, or more, is what threads get that have the machine to themselves
ROUNDS = 5


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
        """Choose anew if fewer threads than possible were used for some steps: the cores may be free again."""
        if self.most > torch.get_num_threads() and self.fastest < math.inf:
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
        """Take all threads if each gets a core; else half of them, and so on down to one, whichever is fastest.

        The time alone does not tell whether another process needs the cores: in short measurements beside one, all
        threads were now and then as fast as fewer.
        """
        numbers = [self.most >> halvings for halvings in range(1, self.most.bit_length())]
        if not numbers:
            return
        chosen = self.most
        if measure(self.most)[1] < ALONE * self.most:
            chosen = numbers[0] if len(numbers) == 1 else min(numbers, key=median_seconds)
        torch.set_num_threads(chosen)
        self.fastest, self.slow_steps = math.inf, 0


def median_seconds(threads: int) -> float:
    """Return the median of some measurements: beside another process they differ much."""
    return statistics.median(measure(threads)[0] for _ in range(ROUNDS))


@torch.no_grad()
def measure(threads: int) -> tuple[float, float]:
    """Return the seconds of some small convolutions with this many threads, and the cores that these threads got."""
    torch.set_num_threads(threads)
    x, weight = torch.ones(8, 64, 32, 32), torch.ones(64, 64, 3, 3)
    relu(conv2d(x, weight, padding=1))  # starts the threads
    began, used = time.perf_counter(), time.process_time()
    for _ in range(10):
        relu(conv2d(x, weight, padding=1))
    seconds = time.perf_counter() - began
    return seconds, (time.process_time() - used) / seconds
