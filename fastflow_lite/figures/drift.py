"""The figure of a log: the scores of new images beside those of the calibration, and the evidence of drift in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastflow_lite.figures.layout import Array, open_frame
from fastflow_lite.figures.style import ANOMALOUS, GUIDE, LINES, PALE_NORMAL, RULES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST, MOST = 10, 30  # bins; between them as many as twice the root of the calibration's images
STRONGEST = 1e6  # evidence beyond it leaves the panel, so that the limit is never a line at its bottom


class LoggedDetector(NamedTuple):
    """What is drawn of one detector."""

    title: str
    normal_scores: Array  # (N,) raw scores of the calibration
    raw_scores: Array  # (T,) of new images
    threshold: float
    rule: str
    times: NDArray[np.datetime64]  # (T,)
    evidence: Mapping[str, Array]  # martingales (T,), by name


def drift(detectors: Sequence[LoggedDetector], limit: float) -> Figure:
    """Draw a column for each detector: histograms of its scores above, its evidence of drift over time below.

    Evidence that reaches `limit` shows drift. What lies far above the threshold is counted in the last bin.
    """
    from matplotlib import pyplot as plt

    size = (5.4 * len(detectors) + 0.4, 5.6)
    figure, grid = plt.subplots(2, len(detectors), figsize=size, squeeze=False, layout="constrained")
    names = dict.fromkeys(name for detector in detectors for name in detector.evidence)
    looks = dict(zip(names, LINES, strict=False))
    for (upper, lower), detector in zip(grid.T, detectors, strict=True):
        _draw_scores(upper, detector)
        _draw_evidence(lower, detector, looks, limit)
    return figure


def _draw_scores(axes: Axes, detector: LoggedDetector) -> None:
    both = np.concatenate([detector.normal_scores, detector.raw_scores])
    low, high = both.min(), max(detector.normal_scores.max(), detector.threshold)
    bins = int(np.clip(2 * np.sqrt(len(detector.normal_scores)), FEWEST, MOST))
    edges = np.linspace(low, min(both.max(), high + 0.5 * (high - low)), bins + 1)
    for name, scores, color, fill in (
        ("calibration", detector.normal_scores, PALE_NORMAL, True),
        ("new", detector.raw_scores, ANOMALOUS, False),
    ):
        shares = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)
        axes.stairs(shares, edges, fill=fill, color=color, linewidth=1.6, label=f"{name}: {len(scores):,} images")
    style, color = RULES.get(detector.rule, RULES["fixed"])
    axes.axvline(detector.threshold, linestyle=style, color=color, linewidth=1.6, label="threshold")
    far = both.max() > edges[-1]
    axes.set(
        xlabel="raw score" + (" (higher ones are counted in the last bin)" if far else ""), ylabel="share of images"
    )
    axes.set_title(detector.title)
    axes.legend(frameon=False)
    open_frame(axes)


def _draw_evidence(axes: Axes, detector: LoggedDetector, looks: Mapping[str, tuple[str, str]], limit: float) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    for name, values in detector.evidence.items():
        color, style = looks[name]
        axes.plot(detector.times, values, style, color=color, drawstyle="steps-post", linewidth=1.4, label=name)
        reached = np.flatnonzero(values >= limit)[:1]
        axes.plot(detector.times[reached], values[reached], "o", color=color, markersize=6)
    axes.axhline(limit, color=GUIDE, linestyle="--", linewidth=1.2, label=f"limit {limit:g}")
    every = np.concatenate([*detector.evidence.values(), [limit]])
    axes.set(yscale="log", ylim=(max(every.min(), 1 / STRONGEST) / 2, 5 * np.clip(every.max(), limit, STRONGEST)))
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set(xlabel="time (UTC)", ylabel="evidence of drift")
    axes.legend(frameon=False)
    open_frame(axes)
