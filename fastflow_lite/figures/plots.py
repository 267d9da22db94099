"""Figures of a run. Each function returns a matplotlib figure; colors mean the same in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fastflow_lite.datasets.image_set import GOOD
from fastflow_lite.figures.style import ACCENT, ALARM_LINE, ANOMALOUS, GUIDE, MASK_LINE, NORMAL, RULES
from fastflow_lite.scoring.metrics import METRIC_TITLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastflow_lite.datasets.image_set import ImageSet
    from fastflow_lite.evaluation.evaluator import Result
    from fastflow_lite.training.history import History


def loss_curve(history: History) -> Figure:
    """Negative log-likelihood in bits per dimension after each epoch, of training and held-out images."""
    figure, axes = _figure(5.2, 3.0)
    epochs = np.arange(1, history.epochs + 1)
    axes.plot(epochs, history.bits_per_dim, "o-", color=NORMAL, label="training images (mean over the epoch)")
    if history.held_out:
        axes.plot(epochs, history.held_out, "s--", color=ACCENT, label="held-out normal images (after the epoch)")
    axes.set(xlabel="epoch", ylabel="bits per dimension")
    axes.locator_params(axis="x", integer=True)
    axes.legend(frameon=False)
    return figure


def contact_sheet(train: ImageSet, test: ImageSet, indices: Sequence[int]) -> Figure:
    """A row of training images over a row of test images, the mask's outline on those."""
    columns = max(len(indices), 4)
    figure, grid = new_grid(2, columns, 1.6)
    for axes in grid.ravel():
        axes.axis("off")
    for axes, index in zip(grid[0], np.linspace(0, len(train) - 1, columns).astype(int), strict=True):
        picture(axes, train[index][0])
        axes.set_title("train: good", fontsize=8)
    for axes, index in zip(grid[1], indices, strict=False):
        image, mask = test[index]
        picture(axes, image)
        axes.set_title(f"test: {test.defects[index]}", fontsize=8)
        if mask.any():
            axes.contour(mask.numpy(), levels=[0.5], colors=MASK_LINE, linewidths=1.0)
    return figure


def two_color_scales(result: Result, images: ImageSet, indices: Sequence[int]) -> Figure:
    """The same maps stretched each to its own range, and on one range for all."""
    figure, grid = new_grid(len(indices), 3, 1.75)
    low, high = heat_range(result)
    for row, index in zip(grid, indices, strict=True):
        picture(row[0], images[index][0])
        row[1].imshow(result.maps[index], cmap="inferno")
        row[2].imshow(result.maps[index], cmap="inferno", vmin=low, vmax=high)
        row[0].set_ylabel(result.defects[index], fontsize=8)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    for axes, title in zip(grid[0], ("image", "its own range (misleads)", "one range for all"), strict=True):
        axes.set_title(title, fontsize=8)
    return figure


def typical_indices(result: Result) -> list[int]:
    """One image a kind: of each the one with the median score, so nobody chose a pretty one."""
    kinds = [GOOD, *sorted(set(result.defects) - {GOOD})]
    picked = []
    for kind in kinds:
        members = np.flatnonzero(np.array(result.defects) == kind)
        if len(members):
            picked.append(int(members[np.argsort(result.scores[members])[len(members) // 2]]))
    return picked


def gallery(result: Result, images: ImageSet, indices: Sequence[int] | None = None) -> Figure:
    """Rows of image, mask, heat map and contour. One color scale for all rows, from the normal images.

    The contour is drawn at `result.pixel_threshold`, which held-out normal pixels set.
    """
    indices = typical_indices(result) if indices is None else list(indices)
    low, high = heat_range(result)
    figure, grid = new_grid(len(indices), 4, 1.75)
    for row, index in zip(grid, indices, strict=True):
        image, _ = images[index]
        for axes in row:
            picture(axes, image)
            axes.set(xticks=[], yticks=[])
        row[1].imshow(result.masks[index], cmap="gray", vmin=0, vmax=1)
        row[2].imshow(result.maps[index], cmap="inferno", vmin=low, vmax=high)
        if result.masks[index].any():
            row[3].contour(result.masks[index], levels=[0.5], colors=MASK_LINE, linewidths=0.8)
        if result.maps[index].min() < result.pixel_threshold < result.maps[index].max():
            row[3].contour(
                result.maps[index],
                levels=[result.pixel_threshold],
                colors=ALARM_LINE,
                linewidths=1.4,
                linestyles="solid",
            )
        row[0].set_ylabel(f"{result.defects[index]}\n{result.scores[index]:.3f}", fontsize=8)
    for axes, title in zip(grid[0], ("image", "mask", "anomaly map", "contour"), strict=True):
        axes.set_title(title, fontsize=9)
    return figure


def maps_side_by_side(
    result: Result, images: ImageSet, others: dict[str, np.ndarray], indices: Sequence[int] | None = None
) -> Figure:
    """Rows of image, the result's own map and other maps `(N, H, W)` by name, each map on one range for all rows."""
    indices = typical_indices(result)[:4] if indices is None else list(indices)
    figure, grid = new_grid(len(indices), 2 + len(others), 1.75)
    judged = {"anomaly map": result.maps} | others
    ranges = [np.quantile(maps, (0.05, 0.999)) for maps in judged.values()]
    for row, index in zip(grid, indices, strict=True):
        picture(row[0], images[index][0])
        if result.masks[index].any():
            row[0].contour(result.masks[index], levels=[0.5], colors=MASK_LINE, linewidths=0.8)
        row[0].set_ylabel(result.defects[index], fontsize=8)
        for axes, maps, (low, high) in zip(row[1:], judged.values(), ranges, strict=True):
            axes.imshow(maps[index], cmap="inferno", vmin=low, vmax=high)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    for axes, title in zip(grid[0], ("image", *judged), strict=True):
        axes.set_title(title, fontsize=8)
    return figure


def heat_range(result: Result) -> tuple[float, float]:
    """Where the color scale begins and ends: the middle of the normal pixels, the top of all.

    One range for the whole set. A range per image would paint a hot spot on every normal one.
    """
    normal = result.maps[~result.labels] if (~result.labels).any() else result.maps
    return float(np.median(normal)), float(np.quantile(result.maps, 0.999))


def score_histogram(result: Result) -> Figure:
    """Image scores of normal and anomalous test images, with every threshold that was set."""
    figure, axes = _figure(6.2, 3.0)
    bins = np.linspace(result.scores.min(), result.scores.max(), 31).tolist()
    axes.hist(result.scores[~result.labels], bins, color=NORMAL, alpha=0.75, label="normal")
    axes.hist(result.scores[result.labels], bins, color=ANOMALOUS, alpha=0.6, label="anomalous")
    for rule in result.thresholds:
        style, color = RULES[rule.strategy]
        axes.axvline(rule.value, linestyle=style, color=color, linewidth=1.8, label=f"{rule.strategy} {rule.value:.3f}")
    axes.set(xlabel="image score (higher is more anomalous)", ylabel="images")
    axes.legend(frameon=False, fontsize=8)
    return figure


def roc(result: Result) -> Figure:
    """ROC of images and of pixels. The chance line is dashed."""
    from sklearn.metrics import roc_curve

    figure, axes = _figure(3.8, 3.6)
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
    _legend(axes, loc="lower right")
    return figure


def per_defect(result: Result) -> Figure:
    """Image and pixel AUROC of each kind of defect against the good images. The axis starts at 0.5."""
    rows = result.record["per_defect"]
    figure, axes = _figure(5.6, 0.5 + 0.55 * max(2, len(rows)))
    places = np.arange(len(rows))
    for offset, key, color in ((-0.2, "image_auroc", ACCENT), (0.2, "pixel_auroc", ANOMALOUS)):
        values = np.array([row[key] for row in rows], dtype=float)
        bars = axes.barh(places + offset, np.nan_to_num(values), 0.36, color=color, label=key.replace("_auroc", ""))
        axes.bar_label(bars, [f"{v:.3f}" if np.isfinite(v) else "undefined" for v in values], padding=3, fontsize=8)
    axes.set_yticks(places, [f"{row['defect']} ({row['images']})" for row in rows])
    axes.invert_yaxis()
    axes.set(xlim=(0.5, 1.06), xlabel="AUROC (0.5 is chance)")
    _legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def class_bars(rows: pd.DataFrame, value: str = "prob") -> Figure:
    """Image AUROC `value` of each `class`, a bar a `protocol`, with the line of chance."""
    table = rows.pivot(index="class", columns="protocol", values=value)
    figure, axes = _figure(6.2, 3.0)
    table.plot.bar(ax=axes, color=[NORMAL, ANOMALOUS][: table.shape[1]], width=0.8, rot=40)
    axes.axhline(0.5, color=ACCENT, linewidth=0.8, linestyle="--")
    axes.set(xlabel="", ylabel="image AUROC", ylim=(0, 1))
    axes.legend(frameon=False, ncols=table.shape[1], loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def difference_chart(differences: pd.DataFrame, baseline: str, metrics: Sequence[str]) -> Figure:
    """`ablation.differences` as points with their intervals, a panel a metric; an open point has no interval."""
    from matplotlib import pyplot as plt

    names = [f"{row.category}: {row.variant}" for row in differences[["category", "variant"]].itertuples()]
    order = list(dict.fromkeys(names))
    size = (7.4, 0.9 + 0.28 * len(order))
    figure, grid = plt.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axes, metric in zip(grid[0], metrics, strict=True):
        axes.axvline(0, color=ACCENT, linewidth=0.8)
        for name, (_, row) in zip(names, differences.iterrows(), strict=True):
            if row["metric"] == metric:
                known = row["seeds"] > 1
                error = row["half_width"] if known else None
                style = {"color": NORMAL, "capsize": 3, "markerfacecolor": NORMAL if known else "white"}
                axes.errorbar(row["difference"], order.index(name), xerr=error, fmt="o", **style)
        axes.set_title(f"{METRIC_TITLES[metric]}, less {baseline}'s", fontsize=8)
        axes.set_yticks(range(len(order)), order, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].set_ylim(len(order) - 0.5, -0.5)
    return figure


def comparison_chart(beside: pd.DataFrame, metric: str, ours: str = "FastFlow Lite") -> Figure:
    """`published.beside` as points, a row a category and backbone; the source `ours` in color, with its interval."""
    own_rows = beside[beside["source"] == ours]
    names = list(zip(own_rows["category"], own_rows["backbone"], strict=True))
    figure, axes = _figure(6.4, 1.1 + 0.42 * len(names))
    markers = dict(zip(dict.fromkeys(beside["source"]), "oD^sv<>P", strict=False)) | {ours: "o"}
    for height, (category, backbone) in enumerate(names):
        group = beside[(beside["category"] == category) & beside["backbone"].isin([backbone, "unstated"])]
        for _, row in group.dropna(subset=[metric]).iterrows():
            own = row["source"] == ours
            style = {"color": NORMAL if own else ACCENT, "fmt": markers[row["source"]], "capsize": 3}
            error = row[f"{metric}_half_width"] if own and row["seeds"] > 1 else None
            place = height + (-0.12 if own else 0.12)  # else equal figures would hide one another
            axes.errorbar(row[metric], place, xerr=error, label=row["source"], markersize=6, **style)
    axes.set_yticks(range(len(names)), [f"{category}\n{backbone}" for category, backbone in names], fontsize=8)
    axes.set(xlabel=metric.replace("_auroc", " AUROC"), ylim=(len(names) - 0.5, -0.5))
    labels = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    axes.legend(labels.values(), labels.keys(), frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def picture(axes: Axes, image: Tensor) -> None:
    """Draw an image `(3, H, W)`."""
    axes.imshow(image.permute(1, 2, 0).numpy())


def _legend(axes: Axes, **place: Any) -> None:
    """A legend, or the word "undefined" where nothing could be drawn."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, **place)
    else:
        axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center", va="center")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def new_grid(rows: int, columns: int, side: float) -> tuple[Figure, np.ndarray]:
    from matplotlib import pyplot as plt

    size = (columns * side + 0.3, rows * side + 0.2)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
