"""The map of the course: every notebook, what leads to it, and three ways through."""

from __future__ import annotations

from fastflow_lite.figures.drawing import SMALL, Drawing
from fastflow_lite.figures.style import ACCENT, GOLD, GREEN, GUIDE, VIOLET

WIDTH, HEIGHT = 122, 66  # of a notebook's box, in pixels
PLACES = {  # the column and row of a notebook, and its title
    "00": (0, 0, "in one\nhour"),
    "01": (1, 0, "a good part,\na bad part"),
    "02": (0, 1, "change of\nvariables"),
    "03": (1, 1, "a coupling\nby hand"),
    "04": (2, 1, "is my log-det\nright?"),
    "05": (3, 1, "stacking\nflows"),
    "06b": (4, 1, "FastFlow from\nscratch"),
    "06": (0, 2, "from pixels\nto features"),
    "07": (4, 2, "FastFlow:\nthe method"),
    "A1": (5, 2, "the bundled\nweights"),
    "08": (0, 3, "reading\nthe map"),
    "09": (1, 3, "judging\nhonestly"),
    "10": (2, 3, "MVTec AD,\nBTAD"),
    "11": (3, 3, "CIFAR-10"),
    "14": (4, 3, "results"),
    "16": (5, 3, "your own\nimages"),
    "12": (0, 4, "ablations"),
    "13": (1, 4, "what the\nflow did"),
    "15": (2, 4, "debugging\na flow"),
    "17": (3, 4, "rivals"),
    "18": (4, 4, "why not\npixels"),
    "19": (5, 4, "capstone"),
}
ROUTES = {
    "I have an hour": (GOLD, ("00",)),
    "I have parts to inspect": (GREEN, ("01", "07", "08", "09", "16", "10", "19")),
    "I want to know why it works": (VIOLET, ("02", "03", "04", "05", "06b", "07", "13", "15", "18")),
}


def course() -> Drawing:
    """Draw the map of the course; dots mark the notebooks of three routes."""
    ways = "; ".join(f"{name}: {', '.join(numbers)}" for name, (_, numbers) in ROUTES.items())
    drawing = Drawing(820, 582, f"The map of the course. Notebooks 02 to 06b and 06 lead to 07. {ways}.")
    rows = ((1, "How a flow works", 5), (3, "Use it, judge it", 6), (4, "Understand it", 5))
    for row, title, columns in rows:
        x, y = _corner(0, row)
        drawing.text(x, y - 20, title, anchor="start", bold=True)
        drawing.frame(x - 8, y - 8, (WIDTH + 12) * columns + 4, HEIGHT + 16, GUIDE, dash="4 4")
    x, y = _corner(0, 2)
    drawing.text(x, y - 20, "What it looks at", anchor="start", bold=True)
    _arrows(drawing)
    for number, (column, row, title) in PLACES.items():
        _notebook(drawing, number, *_corner(column, row), title)
    for k, (name, (color, _)) in enumerate(ROUTES.items()):
        drawing.bar(300, 24 + 26 * k, 14, 14, color)
        drawing.text(322, 31 + 26 * k, name, anchor="start")
    return drawing


def _corner(column: int, row: int) -> tuple[float, float]:
    """Return the upper left corner of the box in this column and row."""
    return 16 + column * (WIDTH + 12), 16 + row * 122


def _notebook(drawing: Drawing, number: str, x: float, y: float, title: str) -> None:
    """Draw the box of a notebook: its number, its title, and a dot for each route that it is on."""
    drawing.box(x, y, WIDTH, HEIGHT, "", VIOLET if number == "07" else ACCENT)
    drawing.text(x + 8, y + 13, number, size=SMALL, anchor="start", bold=True)
    drawing.text(x + WIDTH / 2, y + 42, title, size=SMALL)
    colors = [color for color, numbers in ROUTES.values() if number in numbers]
    for k, color in enumerate(colors):
        drawing.bar(x + WIDTH - 20 - 18 * k, y + 6, 14, 14, color)


def _arrows(drawing: Drawing) -> None:
    """Draw what leads to what: along the rows, and down to 07 and on from it."""
    for column in range(4):
        x, y = _corner(column, 1)
        drawing.arrow((x + WIDTH, y + HEIGHT / 2), (x + WIDTH + 12, y + HEIGHT / 2))
    (x6, y6), (x7, y7) = _corner(0, 2), _corner(4, 2)
    drawing.arrow((x6 + WIDTH, y6 + HEIGHT / 2), (x7, y7 + HEIGHT / 2))
    drawing.arrow((x7 + WIDTH / 2, y7 - 48), (x7 + WIDTH / 2, y7))
    drawing.arrow((x7 + WIDTH, y7 + HEIGHT / 2), (x7 + WIDTH + 12, y7 + HEIGHT / 2))
    drawing.arrow((x7 + WIDTH / 2, y7 + HEIGHT), (x7 + WIDTH / 2, y7 + 114))
    across = x7 - 6
    drawing.arrow((x7 + WIDTH / 2, y7 + HEIGHT + 14), (across, y7 + HEIGHT + 14), (across, y7 + 236), dash="")
