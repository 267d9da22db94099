"""The PNG of a drawing has its size, its shapes at their places, and its text beside its anchor."""

import io

import numpy as np
import pytest
from draw_schematics import DRAWINGS
from PIL import Image

from fastflow_lite.figures.drawing import Drawing
from fastflow_lite.figures.drawing_as_png import DRAWN, to_png
from fastflow_lite.figures.pictures import SHOWN

SCALE = DRAWN / SHOWN


def pixels(drawing: Drawing) -> np.ndarray:
    """Return the picture `(height, width, 3)` of `drawing`."""
    return np.asarray(Image.open(io.BytesIO(to_png(drawing.svg()))).convert("RGB"))


def at(picture: np.ndarray, x: float, y: float) -> list[int]:
    """Return the color at a point given in pixels of the drawing."""
    return picture[round(y * SCALE), round(x * SCALE)].tolist()


def columns(picture: np.ndarray) -> np.ndarray:
    """Return the places from left to right, in pixels of the drawing, where something is drawn."""
    return np.flatnonzero((picture < 128).any(axis=(0, 2))) / SCALE


def test_shapes_lie_where_the_drawing_has_them() -> None:
    drawing = Drawing(200, 80, "shapes")
    drawing.bar(10, 10, 20, 20, "#ff0000")
    drawing.box(50, 10, 40, 40, "", "#0000ff")
    drawing.circle(120, 30, 12, color="#00ff00")
    drawing.area([(150, 10), (190, 10), (190, 50)], "#000000")
    drawing.arrow((10, 65), (100, 65), color="#ff00ff")
    picture = pixels(drawing)
    assert picture.shape == (round(80 * SCALE), round(200 * SCALE), 3)
    assert at(picture, 20, 20) == [255, 0, 0] and at(picture, 40, 20) == [255, 255, 255]
    assert at(picture, 70, 30) == pytest.approx([214, 214, 255], abs=2)  # a pale shade
    assert at(picture, 50, 30)[2] > 200 and at(picture, 50, 30)[0] < 128  # its edge
    assert at(picture, 120, 30) == [255, 255, 255] and at(picture, 132, 30)[0] < 128  # only the edge
    assert at(picture, 180, 20) == pytest.approx([153, 153, 153], abs=2) and at(picture, 155, 40) == [255, 255, 255]
    assert at(picture, 95, 63)[1] < 128 <= at(picture, 50, 63)[1]  # the head is wider than the line


def test_a_dashed_line_has_gaps() -> None:
    drawing = Drawing(200, 20, "dashes")
    drawing.line((0, 10), (200, 10), dash="10 10", width=2, color="black")
    row = (pixels(drawing)[round(10 * SCALE), :, 0] < 128).astype(int)
    assert (np.diff(row) == -1).sum() == 10 and row.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("anchor", "left", "right"), [("start", 100, 160), ("middle", 70, 130), ("end", 40, 100)])
def test_text_lies_beside_its_anchor(anchor: str, left: float, right: float) -> None:
    drawing = Drawing(200, 40, "text")
    drawing.text(100, 20, "*one* _a two", anchor=anchor)
    drawn = columns(pixels(drawing))
    assert left - 12 < drawn.min() < left + 12 and right - 12 < drawn.max() < right + 12
    assert anchor == "middle" or abs(drawn.min() - left) < 3 or abs(drawn.max() - right) < 3


def test_an_index_lies_lower_than_the_line_and_the_line_goes_on_at_its_height() -> None:
    def lowest(text: str) -> float:
        drawing = Drawing(100, 40, "marks")
        drawing.text(50, 20, text)
        return float(np.flatnonzero((pixels(drawing) < 128).any(axis=(1, 2))).max()) / SCALE

    assert lowest("x_x x") > lowest("xxx") + 2 > lowest("x^x x")


def test_a_schematic_is_light_and_the_same_each_time() -> None:
    svg = DRAWINGS["threshold"]().svg()
    first, second = to_png(svg), to_png(svg)
    assert first == second and len(first) < 40_000
