"""The set-up of every notebook: one call that checks parameters, seeds, sets the style and makes the output folder."""

from __future__ import annotations

import os
import random
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from fastflow_lite.course.parameters import check
from fastflow_lite.errors import ParameterError
from fastflow_lite.figures import style
from fastflow_lite.files import remove_leftovers
from fastflow_lite.machine import choose_device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """The run of a notebook: short or full, its device and its output folder."""

    fast: bool
    device: torch.device
    out_dir: Path

    def pick(self, full: T, fast: T) -> T:
        """Return `full`, or `fast` in a short run."""
        return fast if self.fast else full

    def keep(self, figure: Figure, name: str) -> Figure:
        """Save `figure` as `out_dir/name.png` and return it, to be shown."""
        from matplotlib import pyplot as plt

        from fastflow_lite.figures.pictures import save

        save(figure, self.out_dir / f"{name}.png")
        plt.close(figure)  # the returned figure is shown once, not a second time by the inline backend
        return figure


def setup(
    seed: int, fast: bool = False, out_dir: str | Path = "runs", device: str = "auto", **parameters: Any
) -> Session:
    """Check all parameters of the notebook, seed Python, NumPy and torch, set the look of figures, make `out_dir`.

    `device` is where the notebook computes, as `machine.choose_device` takes it; `parameters` are its others, by name.
    ParameterError has the name of a wrong one and the choices.
    FASTFLOW_LITE_FAST=1 in the environment makes any notebook short, whatever its parameter `fast` is.
    """
    check({"seed": seed, "fast": fast, "out_dir": str(out_dir), "device": device} | parameters)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    style.use()
    # tqdm.auto, which timm's hub client imports, complains where there are no widgets; none are needed.
    warnings.filterwarnings("ignore", message="IProgress not found")
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out_dir)
    return Session(fast or os.environ.get("FASTFLOW_LITE_FAST") == "1", choose_device(device), out_dir)


def reveal(what: str, guess: float | str | None, truth: float | str) -> None:
    """Print the true value beside the learner's guess; a guess may be None.

    ParameterError if one of both is a text and the other a number, since they cannot be compared.
    """
    shown = f"{truth:.3f}" if isinstance(truth, float) else truth
    if guess is None:
        print(f"{what}: {shown} (no guess made)")
    elif isinstance(guess, str) and isinstance(truth, str):
        print(f"{what}: {shown}; your guess {guess!r} was {'right' if guess == truth else 'another'}")
    elif isinstance(guess, str) or isinstance(truth, str):
        kind = "a text in quotes" if isinstance(truth, str) else "a number"
        raise ParameterError(f"{what}: your guess must be {kind}, or None, got {guess!r}")
    else:
        print(f"{what}: {shown}; your guess {guess} was off by {abs(guess - truth):.3f}")
