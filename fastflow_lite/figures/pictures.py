"""Figures as a notebook keeps them: sharp on a projector, light in the file, with a description in words."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from fastflow_lite.figures.layout import color_bars, panels
from fastflow_lite.figures.style import BLANK

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

SHOWN, DRAWN = 96, 160  # pixels an inch, on the page and in the file; 96 show ten points of text as ten points
COARSE = 120  # pixels an inch of a picture that is too heavy; more than a page shows still
LIGHT = 24_000  # bytes of a picture; a notebook with its text and ten of them stays below 450 KB
COLORS = 64  # of a PNG
MEDIAN_CUT, COVERAGE = 0, 1  # how Pillow chooses them: close to all pixels, or far apart, which makes lighter files
QUALITIES, COARSE_QUALITIES = (85, 70), (70, 55, 40)  # of a JPEG; the lowest shows no fault at this resolution


def show_in_notebooks() -> None:
    """Make a notebook keep each figure as `to_output` makes it."""
    from IPython import get_ipython
    from matplotlib.figure import Figure
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    shell = get_ipython()
    if shell is not None:
        set_matplotlib_formats()  # none of the backend's own
        shell.display_formatter.mimebundle_formatter.for_type(Figure, to_output)


def to_output(figure: Figure) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return a figure in base64, and its size on the page and its description, both by MIME type.

    Charts become PNG of few colors, pictures with texture JPEG. The first of these files that is light enough is taken,
    else the last; files of fewer pixels come last.
    """
    dots, image = DRAWN, _drawn(figure, DRAWN)
    kind, files = "image/png", [light_png(image)]
    weight = len(files[0])
    texture = weight > len(_jpeg(image, QUALITIES[0])) or (weight > LIGHT and not _is_mostly_ground(image))
    if texture:
        kind, files = "image/jpeg", [_jpeg(image, quality) for quality in QUALITIES]
    if min(map(len, files)) > LIGHT:
        dots = min(DRAWN, COARSE)
        image = _drawn(figure, dots)
        files = [_jpeg(image, quality) for quality in COARSE_QUALITIES] if texture else [light_png(image, COVERAGE)]
    data = next((file for file in files if len(file) <= LIGHT), files[-1])
    size = {name: round(side * SHOWN / dots) for name, side in zip(("width", "height"), image.size, strict=True)}
    return {kind: base64.b64encode(data).decode()}, {kind: size | {"alt": describe(figure)}}


def _drawn(figure: Figure, dots: int) -> Image:
    from PIL import Image

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots, bbox_inches="tight", facecolor=BLANK)
    return Image.open(file).convert("RGB")


def _is_mostly_ground(image: Image) -> bool:
    """Return whether most pixels have one color, as those of lines and points on white have."""
    colors = image.getcolors(image.width * image.height) or []
    return 2 * max(count for count, _ in colors) > image.width * image.height


def light_png(image: Image, choice: int = MEDIAN_CUT) -> bytes:
    """Return the PNG file of an image reduced to `COLORS` colors."""
    file = io.BytesIO()
    image.quantize(COLORS, method=choice).save(file, "PNG", optimize=True)
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
