"""A drawing is well-formed SVG, the same each time, with text of at least ten points."""

import base64
import io
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from draw_schematics import DRAWINGS
from PIL import Image

from fastflow_lite.figures.drawing import Drawing

SVG = "{http://www.w3.org/2000/svg}"
TEN_POINTS = 10 * 96 / 72
drawn = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


@drawn
def test_it_is_svg_with_a_title(draw: Callable[[], Drawing]) -> None:
    root = ElementTree.fromstring(draw().svg())
    title = root.find(f"{SVG}title")
    assert root.tag == f"{SVG}svg" and title is not None and len(title.text or "") > 60
    assert draw().svg() == draw().svg()


@drawn
def test_text_is_large_and_the_picture_fits_a_page(draw: Callable[[], Drawing]) -> None:
    root = ElementTree.fromstring(draw().svg())
    assert int(root.get("width", "0")) <= 820
    texts = root.findall(f"{SVG}text")
    assert len(texts) > 6
    assert all(int(text.get("font-size", "0")) > TEN_POINTS for text in texts)


@drawn
def test_everything_lies_within_the_picture(draw: Callable[[], Drawing]) -> None:
    root = ElementTree.fromstring(draw().svg())
    width, height = (float(root.get(side, "0")) for side in ("width", "height"))
    for rectangle in root.findall(f"{SVG}rect"):
        x, y, across, down = (float(rectangle.get(name, "0")) for name in ("x", "y", "width", "height"))
        assert min(x, y) >= 0 and x + across <= width and y + down <= height
    for text in root.findall(f"{SVG}text"):
        assert 0 < float(text.get("x", "-1")) < width and 0 < float(text.get("y", "-1")) < height


def test_a_notebook_keeps_svg_and_png_of_one_size_with_the_title_as_words() -> None:
    drawing = Drawing(120, 48, "a box")
    drawing.box(10, 10, 100, 28, "*x*_a", "black")
    data, more = drawing._repr_mimebundle_()
    assert data == {"image/svg+xml": drawing.svg(), "image/png": data["image/png"], "text/plain": "a box"}
    assert more == {"image/png": {"width": 120, "height": 48, "alt": "a box"}}
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size == (150, 60)


def test_marks_become_italics_and_indices() -> None:
    drawing = Drawing(100, 40, "marks")
    drawing.text(50, 20, "*x*_a < *e*^{2s}")
    svg = drawing.svg()
    assert '<tspan font-style="italic">x</tspan><tspan dy="4.5" font-size="13">a</tspan><tspan dy="-4.5">' in svg
    assert "&lt;" in svg and 'dy="-6.1" font-size="13">2s</tspan>' in svg


def test_an_arrow_ends_at_its_last_point() -> None:
    drawing = Drawing(100, 40, "arrow")
    drawing.arrow((10, 20), (90, 20))
    heads = re.findall(r'<polygon points="([^"]+)"', drawing.svg())
    assert heads == ["90,20 81,15.95 81,24.05"]
