"""Figures of scores: how they are distributed, where a threshold lies, which pairs are ranked right, ROC and PRO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastflow_lite.figures.layout import (
    Array,
    Mask,
    legend_or_undefined,
    new_grid,
    new_panel,
    open_frame,
    outline,
    set_title,
    show_map,
)
from fastflow_lite.figures.style import (
    ACCENT,
    ANOMALOUS,
    BLANK,
    FAINT,
    GUIDE,
    LINES,
    NORMAL,
    PALE_ANOMALOUS,
    PALE_NORMAL,
    REGION_LINE,
    RULES,
    TRUTH,
)
from fastflow_lite.scoring.metrics import PRO_LIMIT, pro_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastflow_lite.evaluation.result import Result
    from fastflow_lite.scoring.thresholds import Threshold


def score_histogram(scores: Array, labels: Mask, thresholds: Sequence[Threshold]) -> Figure:
    """Draw image scores `(N,)` of normal and anomalous images as a histogram, and a line at each threshold."""
    figure, axes = new_panel(6.2, 3.0)
    histogram_by_label(axes, scores, labels)
    for k, rule in enumerate(thresholds):
        style, color = RULES[rule.strategy]
        width = 1.4 * (len(thresholds) - k)  # equal thresholds lie over one another, the widest below
        axes.axvline(
            rule.value, linestyle=style, color=color, linewidth=width, label=f"{rule.strategy} {rule.value:.3f}"
        )
    axes.set(xlabel="image score (higher is more anomalous)", ylabel="images")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def histogram_by_label(axes: Axes, scores: Array, labels: Mask, bins: int = 30) -> None:
    """Draw the histograms of normal and of anomalous scores `(N,)` over one another, in the same bins."""
    edges = np.linspace(scores.min(), scores.max(), bins + 1).tolist()
    axes.hist(scores[~labels], edges, color=NORMAL, alpha=0.75, label="normal")
    axes.hist(scores[labels], edges, color=ANOMALOUS, alpha=0.6, label="anomalous")


def score_histograms(
    values: Mapping[str, Array], xlabel: str, reference: Mapping[str, float], bins: int = 30
) -> Figure:
    """Draw histograms of scores by name as outlines over one another, with their means on the axis.

    `reference` values are vertical lines, by name.
    """
    figure, axes = new_panel(6.6, 3.1)
    edges = np.linspace(min(map(np.min, values.values())), max(map(np.max, values.values())), bins + 1).tolist()
    for (name, draws), (color, style) in zip(values.items(), LINES, strict=False):
        label = f"{name}: mean {np.mean(draws):.3f}"
        axes.hist(draws, edges, histtype="step", color=color, linestyle=style, linewidth=1.6, label=label)
        axes.plot(np.mean(draws), 0, "^", color=color, markersize=9, clip_on=False, zorder=3)
    for name, value in reference.items():
        axes.axvline(value, color=TRUTH, linewidth=1.2, linestyle=":", label=f"{name} {value:.3f}")
    axes.set(xlabel=xlabel, ylabel="splits")
    figure.legend(loc="outside upper center", ncols=len(values) + len(reference), frameon=False)
    return figure


def false_alarm_rates(found: Array, promised: float, step: float) -> Figure:
    """Draw how often each false alarm rate was found, in multiples of `step`, beside the promised rate and the mean."""
    figure, axes = new_panel(5.2, 2.6)
    values, counts = np.unique(np.round(found / step), return_counts=True)
    axes.bar(values * step, counts / counts.sum(), 0.7 * step, color=NORMAL)
    axes.axvline(promised, linestyle="--", color=ACCENT, label=f"promised {promised:.3f}")
    axes.axvline(float(found.mean()), linestyle=":", color=ANOMALOUS, linewidth=2, label=f"mean {found.mean():.3f}")
    axes.set(xlabel="false alarm rate among new normal images", ylabel="share of draws")
    axes.legend(frameon=False)
    return figure


def roc(result: Result) -> Figure:
    """Draw the ROC curves of images and of pixels; the line of chance is dashed."""
    from sklearn.metrics import roc_curve

    figure, axes = new_panel(3.8, 3.6)
    curves = [("images", result.labels, result.scores, result.image_auroc, ACCENT)]
    if np.isfinite(result.pixel_auroc):
        curves.append(("pixels", result.masks.ravel(), result.maps.ravel(), result.pixel_auroc, ANOMALOUS))
    for name, labels, values, area, color in curves:
        if np.isfinite(area):
            false, true, _ = roc_curve(labels, values)
            keep = np.unique(np.linspace(0, len(false) - 1, 2000).astype(int))
            axes.plot(false[keep], true[keep], color=color, label=f"{name}: AUROC {area:.3f}")
    axes.plot([0, 1], [0, 1], "--", color=GUIDE, linewidth=1)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    legend_or_undefined(axes, loc="lower right")
    return figure


def roc_and_pro(mask: Mask, scores: Array, limit: float = PRO_LIMIT) -> Figure:
    """Draw one map `(H, W)` with its mask outlined, its ROC curve and its PRO curve, the counted areas filled.

    AUPRO counts only what lies left of the false positive rate `limit`.
    """
    from sklearn.metrics import roc_curve

    figure, (panels,) = new_grid(1, 3, 2.6)
    show_map(panels[0], scores)
    outline(panels[0], mask, linewidth=2.0, color=REGION_LINE)
    set_title(panels[0], "map, and what is defective")
    false, true, _ = roc_curve(np.ravel(mask), np.ravel(scores))
    _filled_curve(panels[1], false, true, 1.0, "ROC: every pixel alike", "true positive rate")
    _filled_curve(panels[2], *pro_curve([mask], [scores]), limit, "PRO: every region alike", "per-region overlap")
    return figure


def _filled_curve(axes: Axes, x: Array, y: Array, limit: float, title: str, ylabel: str) -> None:
    """Draw a curve over the false positive rate with the area up to `limit` filled."""
    axes.plot(x, y, color=ACCENT, linewidth=1.4)
    inside = x <= limit
    ends = np.append(x[inside], limit), np.append(y[inside], np.interp(limit, x, y))
    axes.fill_between(*ends, color=NORMAL, alpha=0.35, linewidth=0)
    axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="false positive rate", ylabel=ylabel)
    set_title(axes, title)
    open_frame(axes)


def ranked_pairs(normal: Array, anomalous: Array) -> Figure:
    """Draw every pair of a normal score `(N,)` and an anomalous one `(M,)` as a tile, both sorted from high to low.

    The border between right and wrong tiles is the ROC curve, the share of right tiles the AUROC.
    """
    from matplotlib import pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    normal, anomalous = np.sort(normal)[::-1], np.sort(anomalous)[::-1]
    verdict = np.sign(anomalous[:, None] - normal[None, :])  # (M, N): 1 right, 0 tie, -1 wrong
    figure, axes = plt.subplots(figsize=(5.6, 3.7), layout="constrained")
    names = {"wrong": PALE_ANOMALOUS, "tie": FAINT, "right": PALE_NORMAL}
    extent = (0, len(normal), 0, len(anomalous))
    axes.imshow(verdict, cmap=ListedColormap(list(names.values())), vmin=-1, vmax=1, origin="lower", extent=extent)
    axes.set_aspect(len(normal) / len(anomalous))
    axes.hlines(range(len(anomalous) + 1), 0, len(normal), color=BLANK, linewidth=0.5)
    axes.vlines(range(len(normal) + 1), 0, len(anomalous), color=BLANK, linewidth=0.5)
    passed = (anomalous[:, None] > normal[None, :]).sum(axis=0)  # anomalous scores above each normal one
    axes.stairs(passed, np.arange(len(normal) + 1), baseline=None, color=ACCENT, linewidth=2.5, zorder=3)
    axes.locator_params(axis="both", integer=True)
    axes.set(xlabel="good images, highest score first", ylabel="defective images, highest score first")
    patches = [Patch(color=color, label=name) for name, color in names.items() if name != "tie" or 0 in verdict]
    axes.legend(handles=[*patches[::-1]], frameon=False, loc="upper left", bbox_to_anchor=(1, 1), title="pair ranked")
    return figure
