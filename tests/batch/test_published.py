"""Our records beside published figures."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from fastflow_lite.batch.published import OURS, compare_with_published
from fastflow_lite.batch.records import locate
from fastflow_lite.batch.table import half_width
from fastflow_lite.errors import DataError
from fastflow_lite.files import METRIC_TITLES


@pytest.fixture
def runs() -> pd.DataFrame:
    empty = dict.fromkeys(METRIC_TITLES, math.nan)
    same = {"dataset": "mvtec", "backbone": "resnet18"} | empty
    rows = [{"category": "screw", "image_auroc": 0.8 + 0.01 * seed, "pixel_auroc": 0.97} for seed in range(3)]
    rows.append({"category": "bottle", "image_auroc": 1.0, "pixel_auroc": 0.98})
    other = {"dataset": "toy", "category": "screw", "image_auroc": 0.1, "pixel_auroc": 0.1}
    return pd.DataFrame([same | row for row in [*rows, other]])


def test_only_what_can_be_compared_stands_side_by_side(runs: pd.DataFrame) -> None:
    found = compare_with_published(runs, "mvtec")
    assert set(found["category"]) == {"screw", "bottle"} and set(found["backbone"]) <= {"resnet18", "unstated"}
    ours = found[found["source"] == OURS].set_index("category")
    assert ours.loc["screw", "image_auroc"] == pytest.approx(0.81)
    assert ours.loc["screw", "image_auroc_half_width"] == pytest.approx(half_width(0.01, 3))
    assert math.isnan(ours.loc["bottle", "image_auroc_half_width"])
    anomalib = found[(found["source"] == "anomalib") & (found["category"] == "screw")]
    assert anomalib["image_auroc"].tolist() == [0.521]
    assert found["standing"].notna().all(), "a figure without a standing"


def test_runs_of_another_data_set_are_said_so(runs: pd.DataFrame) -> None:
    runs.loc[0, "dataset"] = None  # a run without the parameter
    with pytest.raises(DataError, match=r"no run is on the data set 'btad', but on mvtec, toy:"):
        compare_with_published(runs, "btad")
    with pytest.raises(DataError, match="the table has no column dataset"):
        compare_with_published(runs.drop(columns="dataset"), "mvtec")


def test_a_folder_that_is_nowhere_is_named() -> None:
    assert locate("benchmarks").is_dir()
    with pytest.raises(DataError, match="no folder nowhere with records"):
        locate("nowhere")
