"""Progress of training and of judging: a bar in a terminal or a live notebook, else plain lines."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

SECONDS_BETWEEN = 10.0  # of two lines of `Count`, where there is no bar


def is_live(stream: TextIO | None = None) -> bool:
    """Return whether a person watches: a terminal, or a notebook that could also ask for input.

    `stream` is where is written, by default standard output.
    JupyterLab, VS Code and Colab let cells ask for input. Papermill, nbconvert and nbval do not; a bar would fill
    their logs. TERM=dumb is a terminal that cannot go back to the start of a line.
    FASTFLOW_LITE_PLAIN=1 turns bars off.
    """
    if os.environ.get("FASTFLOW_LITE_PLAIN"):
        return False
    if "IPython" in sys.modules:
        from IPython import get_ipython

        kernel = getattr(get_ipython(), "kernel", None)
        if kernel is not None:
            return bool(getattr(kernel, "_allow_stdin", False))
    return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """Count `steps` per epoch over `epochs` epochs and print how much time is left.

    `done` epochs were made before. Use as a context manager; `show=False` prints nothing.
    """

    def __init__(self, epochs: int, steps: int, done: int = 0, show: bool = True) -> None:
        self.epochs, self.show = epochs, show
        self.left, self.taken, self.began = (epochs - done) * steps, 0, time.monotonic()
        self.described = -math.inf  # when the text was last made
        live = show and is_live()
        self.bar = tqdm(total=epochs * steps, initial=done * steps, file=sys.stdout, leave=False, disable=not live)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def step(self, epoch: int, text: Callable[[], str]) -> None:
        """Count one batch of `epoch` (from 0); `text()` describes the state.

        It is called as often as a bar is drawn, at most ten times a second: it may wait for a GPU, and each drawing is
        a message to the browser.
        """
        self.taken += 1
        if self.bar.disable:
            return
        now = time.monotonic()
        if now - self.described >= self.bar.mininterval:
            self.described = now
            self.bar.set_description(f"epoch {epoch + 1}/{self.epochs}  {text()}", refresh=False)
        self.bar.update()

    def end_epoch(self, epoch: int, text: str) -> None:
        """Print one line about a finished epoch; above the bar if there is one."""
        if self.show:
            seconds = (time.monotonic() - self.began) / self.taken * (self.left - self.taken)
            line = f"epoch {epoch + 1}/{self.epochs}  {text}  {seconds:.0f} s left"
            self.bar.write(line, file=sys.stdout)
            sys.stdout.flush()


class Count:
    """Count on standard error, with the rate and the time left: a bar for a person, else a line now and then.

    `total` is the number of what is counted, in the plural `unit`. Use as a context manager; `show=False` prints
    nothing.
    """

    def __init__(
        self, total: int, clock: Callable[[], float] = time.monotonic, unit: str = "images", show: bool = True
    ) -> None:
        self.total, self.done, self.clock, self.unit, self.show = total, 0, clock, unit, show
        self.began = self.printed = clock()
        live = show and is_live(sys.stderr)
        self.bar = tqdm(total=total, unit=f" {unit}", file=sys.stderr, leave=False, disable=not live)

    def __enter__(self) -> Count:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def step(self, number: int = 1) -> None:
        """Count one, or `number` at once."""
        self.done += number
        self.bar.update(number)
        now = self.clock()
        if self.show and self.bar.disable and now - self.printed >= SECONDS_BETWEEN and self.done < self.total:
            self.printed, rate = now, self.done / (now - self.began)
            left = (self.total - self.done) / rate
            text = f"{self.done} of {self.total} {self.unit}, {rate:.1f} {self.unit}/s, {left:.0f} s left"
            print(text, file=sys.stderr, flush=True)

    def write(self, line: str, file: TextIO) -> None:
        """Print a line to `file`, above the bar if there is one."""
        self.bar.write(line, file=file)
        file.flush()
