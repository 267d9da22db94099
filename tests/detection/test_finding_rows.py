"""Findings as lines: every field at its place, regions of alarms only."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastflow_lite.detection import Finding
from fastflow_lite.detection.finding_rows import (
    COLUMNS,
    csv_error,
    csv_header,
    csv_row,
    json_error,
    json_row,
    plain_row,
)
from fastflow_lite.errors import DataError

MAP = np.zeros((4, 6), np.float32)
MAP[0, 0], MAP[2:4, 2:5] = 0.9, 0.8  # the smaller region has the higher peak
ALARM = Finding("a,b\n.png", 0.75, 1.5, True, (4, 6), MAP, 0.5)


def cells(row: str) -> dict[str, str]:
    (fields,) = csv.reader([row], strict=True)
    return dict(zip(COLUMNS, fields, strict=True))


def test_a_row_has_the_largest_region() -> None:
    assert csv_header().split(",") == list(COLUMNS)
    row = cells(csv_row(replace(ALARM, name="a,b.png")))
    assert row == {
        "path": "a,b.png", "score": "0.75", "raw_score": "1.5", "alarm": "1", "height": "4", "width": "6",
        "regions": "2", "largest_top": "2", "largest_left": "2", "largest_height": "2", "largest_width": "3",
        "error": "",
    }  # fmt: skip


def test_a_name_is_no_formula_of_a_spreadsheet() -> None:
    assert cells(csv_row(replace(ALARM, name="=1+1.png")))["path"] == "'=1+1.png"
    assert cells(csv_error("@a.png", DataError("-1")))["error"] == "'-1"
    assert cells(csv_row(replace(ALARM, name="a", raw_score=-1.5)))["raw_score"] == "-1.5", "a number stays one"


def test_an_alarm_without_a_region_has_no_box() -> None:
    row = cells(csv_row(replace(ALARM, name="a", small_map=np.zeros((4, 6), np.float32))))
    assert (row["regions"], row["largest_top"]) == ("0", "")


def test_a_good_image_costs_no_map_of_its_size() -> None:
    good = replace(ALARM, name="a", alarm=False)
    assert cells(csv_row(good))["regions"] == "" and json.loads(json_row(good))["regions"] is None
    assert "map" not in vars(good)


def test_json_has_every_region() -> None:
    row = json.loads(json_row(ALARM))
    assert row["path"] == "a,b\n.png" and row["alarm"] is True and (row["height"], row["width"]) == (4, 6)
    assert [region["area"] for region in row["regions"]] == [1, 6]
    assert row["regions"][0]["peak"] == pytest.approx(0.9)
    assert "heat_map" not in row and json.loads(json_row(ALARM, Path("a.heat.png")))["heat_map"] == "a.heat.png"


def test_an_error_has_name_and_reason() -> None:
    error = DataError("image a is\ndamaged")
    row = cells(csv_error("a", error))
    assert row.pop("path") == "a" and row.pop("error") == "image a is damaged" and set(row.values()) == {""}
    assert json.loads(json_error("a", error)) == {"path": "a", "error": "image a is\ndamaged"}


def test_a_line_for_people_is_one_line() -> None:
    assert plain_row(ALARM) == "a,b\\n.png  0.750  ALARM"
    assert plain_row(replace(ALARM, name="\x1b.png", alarm=False)) == "\\x1b.png  0.750  ok"
