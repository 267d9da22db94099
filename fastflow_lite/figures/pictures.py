"""Figures as a notebook keeps them: sharp on a projector, light in the file, with a description in words."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from fastflow_lite.figures.layout import color_bars, panels
from fastflow_lite.figures.style import BLANK

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from PIL.Image import Image

SHOWN, DRAWN = 96, 160  # pixels an inch, on the page and in the file; 96 show ten points of text as ten points
COARSE = 120  # pixels an inch of a picture that is too heavy; more than a page shows still
LIGHT = 24_000  # bytes of a picture; a notebook with its text and ten of them stays below 450 KB
COLORS = 64  # of a PNG
MEDIAN_CUT, COVERAGE = 0, 1  # how Pillow chooses them: close to all pixels, or far apart, which makes lighter files
QUALITIES, COARSE_QUALITIES = (85, 70), (70, 55, 40)  # of a JPEG; the lowest shows no fault at this resolution
FALSE, AREA = 12, 3  # levels of 255 by which a color is another, over a square of so many pixels; a line is narrower
FALSE_SHARE = 0.02  # of a figure that may have other colors
_saved: WeakKeyDictionary[Figure, Image] = WeakKeyDictionary()  # the pictures of figures that are shown next


def show_in_notebooks() -> None:
    """Make a notebook keep each figure as `to_output` makes it."""
    from IPython import get_ipython
    from matplotlib.figure import Figure
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    shell = get_ipython()
    if shell is not None:
        set_matplotlib_formats()  # none of the backend's own
        shell.display_formatter.mimebundle_formatter.for_type(Figure, to_output)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, as `to_output` shows it; drawn once, it serves both."""
    image = _saved[figure] = _drawn(figure, DRAWN)
    image.save(path, "PNG", compress_level=1)  # in a third of the time
    figure.stale = False  # until somebody changes it


def to_output(figure: Figure) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return a figure in base64, and its size on the page and its description, both by MIME type.

    Charts become PNG of few colors; pictures with texture, and those to which few colors are false, become JPEG, or
    PNG of all colors where that is lighter. The first of these files that is light enough is taken, else the last;
    files of fewer pixels come last.
    """
    fine = _saved.pop(figure, None)
    if fine is None or figure.stale:
        fine = _drawn(figure, DRAWN)
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")  # what was drawn once is drawn again at the same places, without a search for them
    try:
        return _lightest(figure, fine)
    finally:
        figure.set_layout_engine(engine)


def _lightest(figure: Figure, fine: Image) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Choose among the files of a figure, of which `fine` is its picture."""
    few = light_png(fine)
    texture = (
        len(few) > len(_jpeg(fine, QUALITIES[0]))
        or (len(few) > LIGHT and not _is_mostly_ground(fine))
        or not _keeps_colors(fine, few)
    )
    kind, dots, image = "image/jpeg" if texture else "image/png", DRAWN, fine
    files = [_jpeg(fine, quality) for quality in QUALITIES] if texture else [few]
    if min(map(len, files)) > LIGHT:
        coarse = _drawn(figure, COARSE)
        smaller = [_jpeg(coarse, q) for q in COARSE_QUALITIES] if texture else [light_png(coarse, COVERAGE)]
        if texture or _keeps_colors(coarse, smaller[0]):
            dots, image, files = COARSE, coarse, smaller
    data = next((file for file in files if len(file) <= LIGHT), files[-1])
    # All colors take more than few of them: only where few are as light is the exact file worth its time.
    if texture and len(few) <= len(data) and len(exact := _png(fine)) <= len(data):
        kind, dots, image, data = "image/png", DRAWN, fine, exact
    size = {name: round(side * SHOWN / dots) for name, side in zip(("width", "height"), image.size, strict=True)}
    return {kind: base64.b64encode(data).decode()}, {kind: size | {"alt": describe(figure)}}


def _drawn(figure: Figure, dots: int) -> Image:
    from PIL import Image

    file = io.BytesIO()
    quickly = {"compress_level": 0}  # the file is read at once
    figure.savefig(file, format="png", dpi=dots, bbox_inches="tight", facecolor=BLANK, pil_kwargs=quickly)
    return Image.open(file).convert("RGB")


def _is_mostly_ground(image: Image) -> bool:
    """Return whether most pixels have one color, as those of lines and points on white have."""
    colors = image.getcolors(image.width * image.height) or []
    return 2 * max(count for count, _ in colors) > image.width * image.height


def _keeps_colors(image: Image, file: bytes) -> bool:
    """Return whether the colors of an image's file are those of the image, but for lines and a few small areas."""
    from PIL.Image import open as opened
    from scipy.ndimage import minimum_filter

    shown = np.asarray(opened(io.BytesIO(file)).convert("RGB"), dtype=np.int16)
    off = np.abs(shown - np.asarray(image, dtype=np.int16)).max(axis=-1)
    return bool((minimum_filter(off, AREA) > FALSE).mean() <= FALSE_SHARE)


def light_png(image: Image, choice: int = MEDIAN_CUT) -> bytes:
    """Return the PNG file of an image reduced to `COLORS` colors."""
    return _png(image.quantize(COLORS, method=choice))


def _png(image: Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _jpeg(image: Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
    return file.getvalue()


def describe(figure: Figure) -> str:
    """Return the words of a figure as one text: titles, names of rows, axes and lines, panel by panel.

    >>> from matplotlib.figure import Figure
    >>> figure = Figure()
    >>> axes = figure.subplots()
    >>> _ = axes.plot([1, 2], [3, 4], label="training"), axes.set(xlabel="epoch", ylabel="bits"), axes.legend()
    >>> describe(figure)
    'A chart: bits over epoch; training.'
    """
    told = [text for axes in panels(figure) if (text := _words(axes))]
    bars = [axes.get_ylabel() or axes.get_xlabel() for axes in color_bars(figure)]
    first = "A chart" if len(panels(figure)) == 1 else f"{len(panels(figure))} panels"
    words = ". ".join([*dict.fromkeys(told), *(f"colors: {bar}" for bar in dict.fromkeys(bars) if bar)])
    return " ".join(f"{first}: {words or 'no words'}.".replace("$", "").split())


def _words(axes: Any) -> str:
    """Return the words of one panel: its title, what is drawn over what, the names of its lines."""
    title, x, y = axes.get_title(), axes.get_xlabel(), axes.get_ylabel()
    legend = axes.get_legend()
    names = [text.get_text() for text in legend.get_texts()] if legend else []
    over = f"{y} over {x}" if x and y else x or y
    return "; ".join(part for part in (title, over, ", ".join(names)) if part)
