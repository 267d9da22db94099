"""The one style of all figures: colors, lines and type.

A color means the same in all figures, and color is never the only difference: lines differ in their dashes as well,
points in their markers. A test keeps the colors apart for the three kinds of color blindness.
"""

from __future__ import annotations

import sys
from typing import Any

NORMAL, ANOMALOUS, ACCENT = "#3b6ea5", "#c8552b", "#444444"  # blue, orange, dark gray
GOLD, GREEN, VIOLET = "#d9a520", "#2a7f62", "#7a5195"  # what is neither normal nor anomalous
PALE_NORMAL, PALE_ANOMALOUS = "#a9c4de", "#e6b8a2"  # areas
GUIDE, FAINT = "#aaaaaa", "#dddddd"  # lines of chance, grids
TRUTH, BLANK = "black", "white"  # known and chosen values; open markers and gaps
MASK_LINE, ALARM_LINE, REGION_LINE, BOX_LINE = "white", "#ff3b1f", "#5ad1ff", "#ffd23f"  # on images and heat maps
HEAT, AMOUNTS, VALUES = "inferno", "Blues", "viridis"  # color maps of anomaly maps; of amounts from 0 up; of features
MASKS, MARKS, LABELS = "gray", "autumn", "tab20"  # color maps of masks; of what a threshold marks; of labels
RULES = {  # the line and color of a threshold, by its strategy
    "fixed": (":", VIOLET),
    "quantile": ("--", GREEN),
    "best_f1": ("-", GOLD),
    "conformal": ("-.", ACCENT),
}
LINES = ((NORMAL, "-"), (ANOMALOUS, "--"), (GOLD, "-."), (ACCENT, ":"))  # of several curves in one figure
MARKED = ((NORMAL, "o-"), (ANOMALOUS, "s--"), (GOLD, "^-."), (ACCENT, "d:"))  # of curves with few points

SIZED = (
    *(("axes", "title"), ("axes", "label"), ("figure", "label")),
    *(("legend", "font"), ("xtick", "label"), ("ytick", "label")),
)
SETTINGS: dict[Any, Any] = {
    "figure.dpi": 96,  # as a page shows them
    "savefig.dpi": 160,
    "font.size": 10,  # the smallest text of a figure, in points
    **dict.fromkeys((f"{of}.{size}size" for of, size in SIZED), 10),
}


def use() -> None:
    """Set matplotlib's defaults, and in a notebook the format of its pictures."""
    import matplotlib

    matplotlib.rcParams.update(SETTINGS)
    if "IPython" in sys.modules:
        from fastflow_lite.figures.pictures import show_in_notebooks  # which takes its colors from here

        show_in_notebooks()
