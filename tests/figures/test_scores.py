"""Histograms, thresholds, ROC and PRO: counts and lines are those of the scores."""

import numpy as np
import pytest

from fastflow_lite import Result
from fastflow_lite.figures import scores as score_figures
from fastflow_lite.figures.style import RULES
from fastflow_lite.scoring.thresholds import Threshold, conformal, quantile


def test_every_rule_is_a_line_of_its_own_look_and_every_image_is_counted() -> None:
    scores, labels = np.arange(10.0), np.arange(10) > 6
    rules: list[Threshold] = [quantile(scores[:7]), conformal(scores[:7], 0.2)]
    axes = score_figures.score_histogram(scores, labels, rules).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [rule.value for rule in rules]
    assert [(line.get_linestyle(), line.get_color()) for line in axes.lines] == [
        RULES["quantile"],
        RULES["conformal"],
    ]
    normal, anomalous = (sum(bar.get_height() for bar in bars) for bars in axes.containers)
    assert (normal, anomalous) == (7, 3)


def test_a_histogram_of_one_class_draws(without_masks: Result) -> None:
    one = without_masks
    figure = score_figures.score_histogram(one.scores, one.labels, one.thresholds)
    figure.canvas.draw()
    assert sum(bar.get_height() for bar in figure.axes[0].containers[1]) == 0


def test_score_histograms_mark_means_and_references() -> None:
    axes = score_figures.score_histograms({"a": np.array([0.0, 1.0]), "b": np.array([1.0, 3.0])}, "x", {"r": 2}).axes[0]
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "^"]
    assert means == [0.5, 2.0]
    assert axes.lines[-1].get_xdata() == [2, 2]


def test_every_rate_is_a_bar() -> None:
    bars = score_figures.false_alarm_rates(np.array([0.0, 0.0, 0.1, 0.2]), 0.1, 0.1).axes[0].patches
    assert [bar.get_height() for bar in bars] == [0.5, 0.25, 0.25]


def test_roc_names_both_areas_or_reads_undefined(result: Result, without_masks: Result) -> None:
    names = [text.get_text() for text in score_figures.roc(result).axes[0].get_legend().get_texts()]
    assert names == [f"images: AUROC {result.image_auroc:.3f}", f"pixels: AUROC {result.pixel_auroc:.3f}"]
    assert score_figures.roc(without_masks).axes[0].texts[0].get_text() == "undefined"


def test_the_filled_areas_are_auroc_and_aupro_up_to_the_limit() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:4, 2:6] = True
    figure = score_figures.roc_and_pro(mask, mask.astype(float), limit=0.3)  # a perfect map
    _, left, right = figure.axes
    for axes, limit in ((left, 1.0), (right, 0.3)):
        x, y = axes.collections[0].get_paths()[0].vertices.T
        assert 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) == pytest.approx(limit)


def test_the_border_of_right_pairs_counts_them() -> None:
    axes = score_figures.ranked_pairs(np.array([0.1, 0.3, 0.4, 0.5]), np.array([0.4, 0.6, 0.2])).axes[0]
    verdict = np.asarray(axes.images[0].get_array())
    assert ((verdict > 0).sum(), (verdict == 0).sum()) == (7, 1)
    border = next(patch for patch in axes.patches if hasattr(patch, "get_data"))
    assert border.get_data().values.tolist() == [1, 1, 2, 3]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["right", "tie", "wrong"]
