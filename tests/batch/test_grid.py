"""Grids of parameters and names of runs."""

from fastflow_lite.batch.grid import expand, parse_settings, run_name


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
