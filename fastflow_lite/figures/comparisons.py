"""Figures that compare rows of a table: defects, classes, variants, published results, intervals, checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastflow_lite.figures.layout import WIDEST, as_label, legend_or_undefined, new_panel, open_frame, set_title
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, BLANK, FAINT, GUIDE, NORMAL
from fastflow_lite.files import METRIC_TITLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from fastflow_lite.evaluation.result import Result


def per_defect(result: Result) -> Figure:
    """Draw image and pixel AUROC of each kind of defect against the good images, on an axis that starts at 0.5."""
    rows = result.record["per_defect"]
    figure, axes = new_panel(5.6, 0.5 + 0.55 * max(2, len(rows)))
    places = np.arange(len(rows))
    for offset, key, color in ((-0.2, "image_auroc", ACCENT), (0.2, "pixel_auroc", ANOMALOUS)):
        values = np.array([row[key] for row in rows], dtype=float)
        bars = axes.barh(places + offset, np.nan_to_num(values), 0.36, color=color, label=key.replace("_auroc", ""))
        axes.bar_label(bars, [f"{v:.3f}" if np.isfinite(v) else "undefined" for v in values], padding=3)
    axes.set_yticks(places, [f"{row['defect']} ({row['images']})" for row in rows])
    axes.invert_yaxis()
    axes.set(xlim=(0.5, 1.06), xlabel="AUROC (0.5 is chance)")
    legend_or_undefined(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def class_bars(rows: pd.DataFrame, value: str = "exp_energy") -> Figure:
    """Draw the image AUROC in column `value` of each `class`, a bar for each `protocol`, with the line of chance."""
    table = rows.pivot(index="class", columns="protocol", values=value)
    figure, axes = new_panel(6.2, 3.0)
    table.plot.bar(ax=axes, color=[NORMAL, ANOMALOUS][: table.shape[1]], width=0.8, rot=40)
    axes.axhline(0.5, color=ACCENT, linewidth=0.8, linestyle="--")
    axes.set(xlabel="", ylabel="image AUROC", ylim=(0, 1))
    axes.legend(frameon=False, ncols=table.shape[1], loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def difference_chart(differences: pd.DataFrame, baseline: str, metrics: Sequence[str]) -> Figure:
    """Draw the rows of `ablation.differences` as points with their intervals, a panel for each metric.

    An open point has no interval, because there was one seed.
    """
    from matplotlib import pyplot as plt

    names = [as_label(f"{row.category}: {row.variant}") for row in differences[["category", "variant"]].itertuples()]
    order = list(dict.fromkeys(names))
    size = (WIDEST, 1.4 + 0.36 * len(order))
    figure, grid = plt.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axes, metric in zip(grid[0], metrics, strict=True):
        axes.axvline(0, color=ACCENT, linewidth=0.8)
        for name, (_, row) in zip(names, differences.iterrows(), strict=True):
            if row["metric"] == metric:
                known = row["seeds"] > 1
                error = row["half_width"] if known else None
                style: dict[str, Any] = {"color": NORMAL, "capsize": 3, "markerfacecolor": NORMAL if known else BLANK}
                axes.errorbar(row["difference"], order.index(name), xerr=error, fmt="o", **style)
        set_title(axes, METRIC_TITLES[metric])
        axes.set_xlabel(f"difference from {baseline}")
        axes.locator_params(axis="x", nbins=3)  # labels such as -0.0015 are wide
        axes.set_yticks(range(len(order)), order)
        open_frame(axes)
    grid[0][0].set_ylim(len(order) - 0.5, -0.5)
    return figure


def comparison_chart(comparison: pd.DataFrame, metric: str, ours: str = "FastFlow Lite") -> Figure:
    """Draw a table of `batch.published` as points, a row for each category and backbone.

    The source `ours` is in color, with its interval.
    """
    own_rows = comparison[comparison["source"] == ours]
    names = list(zip(own_rows["category"], own_rows["backbone"], strict=True))
    figure, axes = new_panel(6.4, 1.1 + 0.42 * len(names))
    markers = dict(zip(dict.fromkeys(comparison["source"]), "oD^sv<>P", strict=False)) | {ours: "o"}
    for height, (category, backbone) in enumerate(names):
        group = comparison[(comparison["category"] == category) & comparison["backbone"].isin([backbone, "unstated"])]
        for _, row in group.dropna(subset=[metric]).iterrows():
            own = row["source"] == ours
            style = {"color": NORMAL if own else ACCENT, "fmt": markers[row["source"]], "capsize": 3}
            error = row[f"{metric}_half_width"] if own and row["seeds"] > 1 else None
            place = height + (-0.12 if own else 0.12)  # else equal values would hide one another
            axes.errorbar(row[metric], place, xerr=error, label=row["source"], markersize=6, **style)
    axes.set_yticks(range(len(names)), [as_label(f"{category}\n{backbone}") for category, backbone in names])
    axes.set(xlabel=metric.replace("_auroc", " AUROC"), ylim=(len(names) - 0.5, -0.5))
    labels = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    axes.legend(labels.values(), labels.keys(), frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def interval_chart(rows: Mapping[str, tuple[float, float, float]], xlabel: str, truth: float | None = None) -> Figure:
    """Draw rows `(low, middle, high)` by name as bars with a dot, and a vertical line at `truth`."""
    figure, axes = new_panel(6.2, 0.9 + 0.32 * len(rows))
    if truth is not None:
        axes.axvline(truth, color=ANOMALOUS, linewidth=1.2, linestyle="--")
    for height, (low, middle, high) in enumerate(rows.values()):
        axes.plot([low, high], [height, height], color=NORMAL, linewidth=5, alpha=0.45, solid_capstyle="butt")
        axes.plot(middle, height, "o", color=NORMAL, markersize=6)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    return figure


def bugs_by_check(noticed: Mapping[str, Sequence[str]], checks: Sequence[str]) -> Figure:
    """Draw bugs as rows and `checks` as columns: a square where the check found the bug, else an empty circle.

    `noticed` lists the checks that found each bug.
    """
    figure, axes = new_panel(1.8 + 0.85 * len(checks), 0.8 + 0.3 * len(noticed))
    bugs = list(noticed)
    for row, bug in enumerate(bugs):
        axes.axhline(row, color=FAINT, linewidth=0.6, zorder=0)
        for column, check in enumerate(checks):
            if check in noticed[bug]:
                axes.plot(column, row, "s", color=ANOMALOUS, markersize=13, markerfacecolor=ANOMALOUS)
            else:
                axes.plot(column, row, "o", color=GUIDE, markersize=7, markerfacecolor=BLANK)
    axes.set_xticks(range(len(checks)), [check.replace(" ", "\n", 1) for check in checks])
    axes.set_yticks(range(len(bugs)), bugs)
    axes.set(xlim=(-0.5, len(checks) - 0.5), ylim=(len(bugs) - 0.4, -0.6))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
