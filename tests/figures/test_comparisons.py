"""Charts of tables: a row for each thing compared, with its value and its interval."""

import math

import pandas as pd
import pytest

from fastflow_lite import Result
from fastflow_lite.batch.published import OURS, compare_with_published
from fastflow_lite.figures import comparisons
from fastflow_lite.files import METRIC_TITLES


def test_a_defect_has_two_bars(result: Result, without_masks: Result) -> None:
    axes = comparisons.per_defect(result).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["square (3)"]
    row = result.record["per_defect"][0]
    assert [bar.get_width() for bar in axes.patches] == [row["image_auroc"], row["pixel_auroc"]]
    comparisons.per_defect(without_masks).canvas.draw()


def test_a_class_has_a_bar_for_each_protocol() -> None:
    rows = [("cat", "a", 0.6), ("cat", "b", 0.7), ("dog", "a", 0.8), ("dog", "b", 0.9)]
    axes = comparisons.class_bars(pd.DataFrame(rows, columns=["class", "protocol", "exp_energy"])).axes[0]
    assert [[bar.get_height() for bar in bars] for bars in axes.containers] == [[0.6, 0.8], [0.7, 0.9]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog"]


def test_differences_of_one_seed_have_no_interval() -> None:
    cells = [("b", "image_auroc", 3, 0.1, 0.02), ("c", "image_auroc", 1, -0.1, math.nan)]
    table = pd.DataFrame(
        [dict(zip(("variant", "metric", "seeds", "difference", "half_width"), row, strict=True)) for row in cells]
    ).assign(category="x")
    axes = comparisons.difference_chart(table, "a", ["image_auroc"]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x: b", "x: c"]
    assert len(axes.containers) == 2
    assert [bars.has_xerr for bars in axes.containers] == [True, False]


def test_comparison_has_a_row_for_each_category() -> None:
    empty = dict.fromkeys(METRIC_TITLES, math.nan)
    same = {"dataset": "mvtec", "backbone": "resnet18"} | empty
    rows = [{"category": "screw", "image_auroc": 0.8 + 0.01 * seed, "pixel_auroc": 0.97} for seed in range(3)]
    rows.append({"category": "bottle", "image_auroc": 1.0, "pixel_auroc": 0.98})
    table = compare_with_published(pd.DataFrame([same | row for row in rows]), "mvtec")
    axes = comparisons.comparison_chart(table, "image_auroc").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bottle\nresnet18", "screw\nresnet18"]
    own = [bars for bars in axes.containers if bars.get_label() == OURS]
    assert [bars.has_xerr for bars in own] == [False, True], "one run of bottle, three of screw"
    assert [bars[0].get_xdata()[0] for bars in own] == pytest.approx([1.0, 0.81])


def test_an_interval_is_a_bar_from_low_to_high() -> None:
    axes = comparisons.interval_chart({"a": (0.1, 0.2, 0.4), "b": (0.0, 0.1, 0.3)}, "x", truth=0.15).axes[0]
    truth, *lines = axes.lines
    assert list(truth.get_xdata()) == [0.15, 0.15]
    assert [list(line.get_xdata()) for line in lines] == [[0.1, 0.4], [0.2], [0.0, 0.3], [0.1]]
    assert len(comparisons.interval_chart({"a": (0.1, 0.2, 0.4)}, "x").axes[0].lines) == 2


def test_a_found_bug_is_a_square() -> None:
    axes = comparisons.bugs_by_check({"bug": ["second"], "other": []}, ["first", "second"]).axes[0]
    marks = [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1]
    assert marks == ["o", "s", "o", "o"]
