"""A drawing of boxes, arrows and text as SVG: the same bytes on every machine, readable without any library."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from fastflow_lite.figures.style import ACCENT, BLANK, TRUTH

SIZE = 16  # pixels of text; 13.3 are 10 points
SMALL = 14  # the smallest text of a drawing
FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
HEAD = 9.0  # pixels, the length of an arrow's head

Point = tuple[float, float]


class Drawing:
    """A picture in pixels, drawn from back to front; a notebook shows it as SVG, or as PNG while it is not trusted.

    Text may hold `*x*` for italics, `_a` or `_{ab}` for an index below, `^s` or `^{ab}` for one above.

    >>> drawing = Drawing(200, 40, "one box")
    >>> drawing.box(10, 5, 100, 30, "*x*_a", "black")
    >>> drawing.svg().startswith("<svg ") and "<title>one box</title>" in drawing.svg()
    True
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        """Begin an empty picture; `title` describes it to those who cannot see it."""
        self.width, self.height, self.title = width, height, title
        self._parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        text: str,
        color: str,
        *,
        size: int = SIZE,
        dash: str = "",
    ) -> None:
        """Draw a rounded box in a pale shade of `color`, its edge in dashes, with lines of `text` in its middle."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{color}" '
            f'fill-opacity="0.16" stroke="{color}" stroke-width="1.6"{dashes}/>'
        )
        self.text(x + width / 2, y + height / 2, text, size=size)

    def bar(self, x: float, y: float, width: float, height: float, color: str, opacity: float = 1.0) -> None:
        """Draw a filled rectangle with a thin white edge."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{color}" '
            f'fill-opacity="{opacity:g}" stroke="{BLANK}" stroke-width="0.8"/>'
        )

    def frame(self, x: float, y: float, width: float, height: float, color: str, dash: str = "") -> None:
        """Draw the outline of a rectangle."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="none" stroke="{color}" '
            f'stroke-width="1.6"{dashes}/>'
        )

    def circle(self, x: float, y: float, radius: float, text: str = "", color: str = ACCENT) -> None:
        """Draw a white circle with a sign in it."""
        self._parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{BLANK}" stroke="{color}" stroke-width="1.6"/>'
        )
        self.text(x, y, text, size=18)

    def line(self, *points: Point, color: str = ACCENT, dash: str = "", width: float = 1.6) -> None:
        """Draw straight pieces from point to point."""
        way = " ".join(f"{x:g},{y:g}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(f'<polyline points="{way}" fill="none" stroke="{color}" stroke-width="{width:g}"{dashes}/>')

    def area(self, points: Sequence[Point], color: str) -> None:
        """Fill the polygon of `points` in a pale shade of `color`."""
        corners = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<polygon points="{corners}" fill="{color}" fill-opacity="0.4"/>')

    def arrow(self, *points: Point, color: str = ACCENT, dash: str = "", width: float = 1.6) -> None:
        """Draw straight pieces from point to point and a head at the last."""
        (x0, y0), (x1, y1) = points[-2:]
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        across, down = (x1 - x0) / length, (y1 - y0) / length
        foot = (x1 - HEAD * across, y1 - HEAD * down)
        self.line(*points[:-1], foot, color=color, dash=dash, width=width)
        sides = [(foot[0] + k * 0.45 * HEAD * down, foot[1] - k * 0.45 * HEAD * across) for k in (1, -1)]
        corners = " ".join(f"{x:g},{y:g}" for x, y in ((x1, y1), *sides))
        self._parts.append(f'<polygon points="{corners}" fill="{color}"/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = SIZE,
        anchor: str = "middle",
        color: str = TRUTH,
        bold: bool = False,
    ) -> None:
        """Write lines of `text` about the height `y`, centered at `x` or beginning or ending there (`anchor`)."""
        lines = text.split("\n")
        weight = ' font-weight="bold"' if bold else ""
        for k, line in enumerate(lines):
            if line:
                height = y + 0.35 * size + (k - (len(lines) - 1) / 2) * 1.25 * size
                self._parts.append(
                    f'<text x="{x:g}" y="{height:g}" font-size="{size}" text-anchor="{anchor}" fill="{color}"{weight}>'
                    f"{_marked_up(line, size)}</text>"
                )

    def svg(self) -> str:
        """Return the picture as one SVG element."""
        title = escape(self.title)
        start = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" font-family="{FONT}">'
        )
        ground = f'<rect width="{self.width}" height="{self.height}" fill="{BLANK}"/>'
        return "\n".join([start, f"<title>{title}</title>", ground, *self._parts, "</svg>"]) + "\n"

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
        """Return what a notebook keeps of the picture: SVG, and PNG for pages that do not show SVG."""
        from fastflow_lite.figures.drawing_as_png import to_png

        svg = self.svg()
        data = {"image/svg+xml": svg, "image/png": b64encode(to_png(svg)).decode(), "text/plain": self.title}
        return data, {"image/png": {"width": self.width, "height": self.height, "alt": self.title}}


MARK = re.compile(r"\*([^*]+)\*|([_^])(\w|\{[^}]*\})")


def _marked_up(line: str, size: int) -> str:
    """Return a line as SVG text, with tspan elements for italics and indices."""

    def replaced(found: re.Match[str]) -> str:
        if found[1] is not None:
            return f'<tspan font-style="italic">{found[1]}</tspan>'
        down = round((0.28 if found[2] == "_" else -0.38) * size, 1)
        index = found[3].strip("{}")
        # A tspan without width brings the line back to its height.
        return (
            f'<tspan dy="{down:g}" font-size="{round(0.84 * size)}">{index}</tspan><tspan dy="{-down:g}">\u200b</tspan>'
        )

    return MARK.sub(replaced, escape(line))
