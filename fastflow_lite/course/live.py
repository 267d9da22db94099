"""Views with a slider that need no kernel: HTML with a script, and a still picture where scripts do not run.

They need no network and work in a page exported from a notebook. `widgets` has views that need a kernel.
"""

from __future__ import annotations

import json
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from fastflow_lite.course.views import draw_coupling
from fastflow_lite.errors import ArgumentError
from fastflow_lite.figures.change_of_variables import map_between_densities
from fastflow_lite.figures.curves import curve_panels
from fastflow_lite.figures.pictures import to_output
from fastflow_lite.figures.scores import score_histogram
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, GREEN, GUIDE, NORMAL
from fastflow_lite.scoring.thresholds import fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LiveView:
    """A view that a notebook shows as HTML."""

    def __init__(self, script: str, data: dict[str, Any], still: Figure) -> None:
        """Join the template, the JavaScript file `script` of this folder, its data and a still figure."""
        from matplotlib import pyplot as plt

        plt.close(still)
        folder = files("fastflow_lite.course")
        pictures, metadata = to_output(still)
        ((kind, picture),) = pictures.items()
        self.words = metadata[kind]["alt"]
        values = {
            "alt": self.words.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;"),
            "kind": kind,
            "still": picture,
            "data": json.dumps(data).replace("<", "\\u003c"),  # no text in it can end the script
            "draw": folder.joinpath(script).read_text(encoding="utf-8").strip(),
        }
        self.html = Template(folder.joinpath("live.html").read_text(encoding="utf-8")).substitute(values)

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.words


def slope() -> LiveView:
    """Make the view of z = slope * x: a strip of x, its image, both densities and the log of the slope."""
    x = np.linspace(-3, 3, 301)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    still = map_between_densities(x, 2 * x, density, density / 2, [(0.5, 1.5)])
    range_of = {"name": "slope", "low": 0.4, "high": 3.0, "step": 0.05, "value": 2.0}
    return LiveView("live_slope.js", range_of | {"first": NORMAL, "second": GREEN, "axis": ACCENT}, still)


def threshold(scores: np.ndarray, labels: np.ndarray) -> LiveView:
    """Make the view of a threshold over image scores `(N,)` with `labels` `(N,)`: histogram, ROC point, counts."""
    if len(scores) != len(labels) or not len(scores) or not np.isfinite(scores).all():
        raise ArgumentError(f"threshold needs as many finite scores as labels, got {len(scores)} and {len(labels)}")
    low, high = float(scores.min()), float(scores.max())
    step = (high - low) / 200 or 0.01
    middle = (low + high) / 2
    data = {"name": "threshold", "low": low - step, "high": high + step, "step": step, "value": middle}
    groups = {
        name: [round(float(score), 6) for score in scores[labels == kind]]
        for name, kind in (("normal", False), ("anomalous", True))
    }
    still = score_histogram(scores, labels, [fixed(middle)])
    return LiveView("live_threshold.js", data | groups | {"first": NORMAL, "second": ANOMALOUS, "axis": ACCENT}, still)


def clamp() -> LiveView:
    """Make the view of the clamp of a log-scale: s over the output of the sub-net, the largest stretch."""
    raw = np.linspace(-8, 8, 161)
    still = curve_panels({"s": {"s with clamp 2": 2 * np.tanh(raw / 2), "no clamp": raw}}, raw, "raw")
    data = {"name": "clamp", "low": 0.5, "high": 5.0, "step": 0.1, "value": 2.0}
    return LiveView("live_clamp.js", data | {"first": NORMAL, "second": ANOMALOUS, "axis": ACCENT}, still)


def coupling() -> LiveView:
    """Make the view of a coupling of the plane: a grid and two squares, for a factor of its sub-net."""
    data = {"name": "scale", "low": -2.0, "high": 2.0, "step": 0.1, "value": 0.8, "words": ACCENT}
    return LiveView("live_coupling.js", data | {"first": NORMAL, "second": GREEN, "axis": GUIDE}, draw_coupling())
