"""The picture of a drawing as PNG, for pages that show no SVG: JupyterLab, as long as it does not trust a notebook.

matplotlib draws the shapes of the SVG with its own font, so the picture has the same pixels on every machine.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from fastflow_lite.figures.pictures import SHOWN, light_png

if TYPE_CHECKING:
    from matplotlib.patches import Patch, PathPatch

DRAWN = 120  # pixels an inch; sharp on a projector, and light, because the SVG stands beside it
NARROW = 0.9  # width of letters: DejaVu Sans is wider than the fonts for which drawings leave room
ANCHORS = {"start": 0.0, "middle": 0.5, "end": 1.0}  # share of a line of text that lies left of its x


def to_png(svg: str) -> bytes:
    """Return the PNG of a `Drawing`'s SVG."""
    from matplotlib.figure import Figure
    from PIL import Image

    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    figure = Figure(figsize=(width / SHOWN, height / SHOWN))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for element in root:
        for patch in _patches(element):
            axes.add_artist(patch)  # unlike add_patch, it does not measure each curve for limits that are set
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DRAWN)
    return light_png(Image.open(file).convert("RGB"))


def _patches(element: ElementTree.Element) -> Iterator[Patch]:
    """Yield the patches of one element: a shape has one, a text one for each piece in one font."""
    from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle

    tag, has = element.tag.rpartition("}")[2], element.attrib
    x, y, width, height, rx = (float(has.get(name, 0)) for name in ("x", "y", "width", "height", "rx"))
    if tag == "rect" and rx:
        yield FancyBboxPatch((x, y), width, height, boxstyle=f"round,pad=0,rounding_size={rx}", **_style(has))
    elif tag == "rect":
        yield Rectangle((x, y), width, height, **_style(has))
    elif tag == "circle":
        yield Circle((float(has["cx"]), float(has["cy"])), float(has["r"]), **_style(has))
    elif tag in ("polyline", "polygon"):
        points = [[float(number) for number in point.split(",")] for point in has["points"].split()]
        yield Polygon(points, closed=tag == "polygon", **_style(has))
    elif tag == "text":
        yield from _letters(element, x, y)


def _style(has: dict[str, str]) -> dict[str, Any]:
    """Return the colors and the line of a shape as keywords of a patch."""
    from matplotlib.colors import to_rgba

    pixels = float(has.get("stroke-width", 0))
    dashes = [float(length) / pixels for length in has.get("stroke-dasharray", "").split()]
    return {
        "facecolor": to_rgba(has["fill"], None if has["fill"] == "none" else float(has.get("fill-opacity", 1))),
        "edgecolor": has.get("stroke", "none"),
        "linewidth": 72 / 96 * pixels,  # in points
        "linestyle": (0, dashes) if dashes else "-",  # in line widths
        "capstyle": "butt",
        "joinstyle": "miter",
    }


def _letters(element: ElementTree.Element, x: float, y: float) -> Iterator[PathPatch]:
    """Yield the pieces of a line of text, one after another; the line begins, ends or has its middle at `x`."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    has = element.attrib
    spans = [pair for span in element for pair in ((span.text, span.attrib), (span.tail, {}))]
    pieces, length = [], 0.0
    for text, changed in [(element.text, {}), *spans]:
        y += float(changed.get("dy", 0))
        font = FontProperties(
            family="DejaVu Sans",
            style="italic" if "font-style" in changed else "normal",
            weight=has.get("font-weight", "normal"),
            size=float(changed.get("font-size", has["font-size"])),
        )
        piece = (text or "").replace("\u200b", "")
        if piece.strip():  # matplotlib makes no path of spaces alone
            pieces.append((TextPath((0, 0), piece, prop=font), length, y))
        # The dot makes spaces at the end of the piece count. Its edges are straight: it ends at its rightmost vertex.
        with_dot, dot = (TextPath((0, 0), end, prop=font).vertices[:, 0].max() for end in (piece + ".", "."))
        length += NARROW * (with_dot - dot)
    for path, before, baseline in pieces:
        left = x - ANCHORS[has["text-anchor"]] * length + before
        placed = path.transformed(Affine2D().scale(NARROW, -1).translate(left, baseline))
        yield PathPatch(placed, facecolor=has["fill"], linewidth=0)
