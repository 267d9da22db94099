"""Grids of parameters and names of runs."""

from typing import Any

import numpy as np
import pytest

from fastflow_lite.batch.grid import expand, literal, parse_settings, run_name
from fastflow_lite.errors import DataError


def test_the_grid_is_the_product_in_order() -> None:
    grid = parse_settings(["b=1,2.5,'3'", "a=x,True"])
    points = expand(grid, ["a", "b"])
    assert [(point["b"], point["a"]) for point in points[:3]] == [(1, "x"), (1, True), (2.5, "x")]
    assert run_name(points[0], ["a", "b"]) == "a=x,b=1"
    names = {
        run_name(point, ["a", "b"]) for point in expand({"b": [3, "3", 3.0], "a": ["x/y", "x_y", "x,y"]}, ["a", "b"])
    }
    assert len(names) == 9 and not any("/" in name for name in names)
    assert len(run_name({"a": "x" * 500}, ["a"])) < 140


@pytest.mark.parametrize("text", ["01", "007", "1_000", "-01", "00.5", "\u0663", "+", ".", "1e", "inf", "nan", "0x1"])
def test_what_is_no_plain_number_stays_text(text: str) -> None:
    assert literal(text) == text


def test_numbers_are_numbers() -> None:
    assert [literal(text) for text in ("0", "-3", "+2", "10", "0.5", ".5", "5.", "1e-3", "0e0")] == [
        0, -3, 2, 10, 0.5, 0.5, 5.0, 0.001, 0.0
    ]  # fmt: skip


def test_values_of_a_text_parameter_stay_text() -> None:
    grid = parse_settings(["category=01,2024,1e3,'x,y',true", "seed=1"], {"category"})
    assert grid == {"category": ["01", "2024", "1e3", "x,y", "true"], "seed": [1]}


@pytest.mark.parametrize(
    ("grid", "why"),
    [
        ({"seed": 3}, "seed needs a list of one value or more, got 3"),
        ({"seed": np.arange(2)}, "seed needs a list"),
        ({"seed": None}, "seed needs a list"),
        (["seed"], r"grid must be names with lists of values, such as \{'seed': \[0, 1\]\}, got \['seed'\]"),
    ],
)
def test_what_is_no_list_of_values_is_named(grid: Any, why: str) -> None:
    with pytest.raises(DataError, match=why):
        expand(grid, ["seed"])
