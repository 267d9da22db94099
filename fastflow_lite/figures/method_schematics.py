"""Schematics of the method as a whole, of the pixels that a cell depends on, and of a threshold."""

from __future__ import annotations

import math

from fastflow_lite.figures.drawing import SMALL, Drawing
from fastflow_lite.figures.style import ACCENT, ANOMALOUS, FAINT, NORMAL, VIOLET

FIELDS = {"layer1": (4, 43), "layer2": (8, 99), "layer3": (16, 211)}  # stride and receptive field in pixels
ROWS = (118.0, 232.0, 346.0)  # the heights of the three scales


def method() -> Drawing:
    """Draw the whole method: image, frozen backbone, three feature maps, three flows, one map, a decision."""
    drawing = Drawing(
        820,
        500,
        "FastFlow. A frozen backbone turns an image of 256 by 256 pixels into three feature maps, of 64 by 64, "
        "32 by 32 and 16 by 16 positions. A flow for each map turns it into z and a log-determinant. Each gives an "
        "anomaly map; the three are enlarged to the size of the image and averaged. The highest value is the score of "
        "the image, and a score at or above the threshold is an alarm.",
    )
    titles = ((60, "image"), (170, "backbone"), (292, "features"), (400, "normalize"), (500, "flows"), (622, "maps"))
    for x, title in (*titles, (757, "anomaly map")):
        drawing.text(x, 22, title, bold=True)
    _image(drawing, 20, 192, 80)
    drawing.arrow((100, 232), (124, 232))
    drawing.box(124, 52, 92, 366, "frozen\n(trained on\nother\nimages)", ACCENT, size=SMALL)
    drawing.box(370, 52, 62, 366, "mean 0,\ndeviation\n1", ACCENT, size=SMALL)
    for row, channels, cells, scale in zip(ROWS, (64, 128, 256), (64, 32, 16), (1, 2, 3), strict=True):
        _scale(drawing, row, channels, cells, scale)
    drawing.box(757 - 52, 180, 104, 104, "", FAINT)
    _hot_grid(drawing, 707, 182, 100, 10)
    drawing.text(757, 304, "enlarged,", size=SMALL)
    drawing.text(757, 322, "then averaged", size=SMALL)
    drawing.arrow((757, 336), (757, 372))
    drawing.box(702, 372, 110, 46, "highest value:\nscore", ACCENT, size=SMALL)
    drawing.arrow((757, 418), (757, 444))
    drawing.box(676, 444, 136, 40, "≥ threshold: alarm", ANOMALOUS, size=SMALL)
    drawing.text(20, 456, "Trained on normal images only: the flows (violet).", anchor="start")
    drawing.text(20, 480, "Never trained: the backbone. Set by held-out normal images: the threshold.", anchor="start")
    return drawing


def _scale(drawing: Drawing, row: float, channels: int, cells: int, scale: int) -> None:
    """Draw the way of one scale from the backbone to the fused map."""
    shown = {64: 8, 32: 4, 16: 2}[cells]
    drawing.arrow((216, row), (256, row))
    drawing.text(236, row - 14, f"1/{256 // cells}", size=SMALL)
    _grid(drawing, 256, row - 36, 72, shown, NORMAL)
    drawing.text(292, row + 50, f"{channels} × {cells} × {cells}", size=SMALL)
    drawing.arrow((328, row), (370, row))
    drawing.arrow((432, row), (456, row))
    drawing.box(456, row - 30, 88, 60, f"flow {scale}\n*K* steps", VIOLET)
    drawing.arrow((544, row), (586, row))
    drawing.text(563, row - 14, "*z*", size=SMALL)
    _hot_grid(drawing, 586, row - 36, 72, shown)
    drawing.text(622, row + 50, f"{cells} × {cells}", size=SMALL)
    drawing.arrow((658, row), (704, 232 + (row - 232) / 4))


def _image(drawing: Drawing, x: float, y: float, side: float) -> None:
    """Draw a woven part with a scratch."""
    _grid(drawing, x, y, side, 8, ACCENT)
    drawing.line((x + 48, y + 20), (x + 62, y + 34), color=ANOMALOUS, width=4)
    drawing.text(x + side / 2, y + side + 14, "256 × 256", size=SMALL)


def _grid(drawing: Drawing, x: float, y: float, side: float, cells: int, color: str) -> None:
    """Draw a square of cells in two shades."""
    width = side / cells
    drawing.bar(x, y, side, side, color, 0.3)
    for row in range(cells):
        for column in range(row % 2, cells, 2):
            drawing.bar(x + width * column, y + width * row, width, width, color, 0.26)


def _hot_grid(drawing: Drawing, x: float, y: float, side: float, cells: int) -> None:
    """Draw an anomaly map: strong color where the scratch is, faint elsewhere."""
    width = side / cells
    drawing.bar(x, y, side, side, ANOMALOUS, 0.06)
    for row in range(cells):
        for column in range(cells):
            across, down = (column + 0.5) / cells - 0.69, (row + 0.5) / cells - 0.34
            shade = round(1 - 2.6 * (across**2 + down**2) ** 0.5, 2)
            if shade > 0.06:
                drawing.bar(x + width * column, y + width * row, width, width, ANOMALOUS, shade)


def receptive_field() -> Drawing:
    """Draw the pixels that one cell of each of ResNet-18's three maps depends on, in an image of 256 pixels."""
    drawing = Drawing(
        820,
        366,
        "One cell of a feature map in an image of 256 by 256 pixels. A cell of layer 1 stands for 4 by 4 pixels and "
        "can depend on 43 by 43; of layer 2 for 8 by 8 and 99 by 99; of layer 3 for 16 by 16 and 211 by 211.",
    )
    for column, (layer, (stride, field)) in enumerate(FIELDS.items()):
        left, top, side = 12 + 270 * column, 36, 256
        drawing.text(left + side / 2, 18, f"{layer}: {side // stride} × {side // stride} cells", bold=True)
        drawing.bar(left, top, side, side, FAINT, 0.6)
        x, y = left + side / 2, top + side / 2
        for share, shade in ((1.0, 0.12), (0.7, 0.16), (0.45, 0.22)):
            width = share * field
            drawing.bar(x - width / 2, y - width / 2, width, width, NORMAL, shade)
        drawing.frame(x - field / 2, y - field / 2, field, field, NORMAL, dash="6 4")
        drawing.bar(x - stride / 2, y - stride / 2, stride, stride, ANOMALOUS)
        drawing.text(left + side / 2, 310, f"one cell: {stride} × {stride} pixels", size=SMALL)
        drawing.text(left + side / 2, 330, f"can depend on: {field} × {field}", size=SMALL, color=NORMAL)
    drawing.text(
        410, 354, "Orange: the pixels a cell stands for. Blue: those it depends on, the middle ones most.", size=SMALL
    )
    return drawing


def threshold() -> Drawing:
    """Draw one threshold between the scores of normal and of anomalous images, and the two kinds of mistakes."""
    drawing = Drawing(
        820,
        330,
        "Scores of normal images on the left and of anomalous images on the right overlap. Normal images at or above "
        "the threshold are false alarms; anomalous images below it are misses.",
    )
    ground, place = 250, 440
    for center, width, height, color in ((300, 75, 170, NORMAL), (560, 105, 120, ANOMALOUS)):
        curve = [
            (x, round(ground - height * math.exp(-(((x - center) / width) ** 2) / 2), 1)) for x in range(40, 781, 5)
        ]
        wrong = [point for point in curve if (point[0] >= place) == (color == NORMAL)]
        drawing.area([(wrong[0][0], ground), *wrong, (wrong[-1][0], ground)], color)
        drawing.line(*curve, color=color, width=2.4)
    drawing.arrow((30, ground), (792, ground))
    drawing.text(790, ground + 22, "image score", anchor="end")
    drawing.line((place, 30), (place, ground + 8), width=2.4)
    drawing.text(place, 16, "threshold", bold=True)
    drawing.text(270, 60, "normal images", color=NORMAL)
    drawing.text(600, 110, "anomalous images", color=ANOMALOUS)
    drawing.arrow((500, 284), (466, 244), color=NORMAL)
    drawing.text(506, 288, "false alarms", anchor="start", color=NORMAL)
    drawing.arrow((366, 284), (412, 240), color=ANOMALOUS)
    drawing.text(360, 288, "misses", anchor="end", color=ANOMALOUS)
    drawing.text(
        410,
        316,
        "Further right: fewer false alarms, more misses. Held-out normal images set it; no defect is needed.",
        size=SMALL,
    )
    return drawing
