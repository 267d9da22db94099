"""The decisions about a batch of images as one HTML file with the pictures in it, without scripts or other files."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from fastflow_lite.datasets.image_set import GOOD, ImageSet
from fastflow_lite.errors import ArgumentError
from fastflow_lite.figures.style import ALARM_LINE, ANOMALOUS, HEAT, NORMAL
from fastflow_lite.files import write_atomically
from fastflow_lite.scoring.thresholds import Threshold

if TYPE_CHECKING:
    import jinja2

TEMPLATE = Path(__file__).with_name("old_report.html.jinja")
JPEG_QUALITY = 85
AXIS_WIDTH, AXIS_MARGIN = 640, 10  # of the drawing of all scores, in pixels
COLORS = {"normal": NORMAL, "anomalous": ANOMALOUS, "threshold": ALARM_LINE}


class Card(NamedTuple):
    """One image in the page. `picture` and `heat_map` are data URIs."""

    name: str
    score: str
    alarm: bool
    picture: str
    heat_map: str


class ScoreAxis(NamedTuple):
    """All scores on one line: x positions in pixels, and whether each score is an alarm."""

    width: int
    left: int
    right: int
    scores: list[tuple[str, bool]]
    threshold: str
    anchor: str
    lowest: str
    highest: str


def write_html(
    path: str | Path,
    images: ImageSet,
    maps: np.ndarray,
    scores: np.ndarray,
    threshold: Threshold,
    title: str,
    facts: Mapping[str, object] | None = None,
    most: int = 60,
) -> None:
    """Write the page: the decision rule, all scores on one line, and the images, highest score first.

    `Report` takes its place: `report = Report(detector, title, facts)`, `report.add(finding)` for each finding of
    `detector.findings(folder)`, `report.write(path)`.

    A known defect is named with its image. Without labels the page has no statement about right or wrong decisions.

    Args:
        path: The HTML file.
        images: The images that were judged.
        maps: Anomaly maps `(N, H, W)` of `images`; all share one color range.
        scores: Image scores `(N,)`.
        threshold: The rule that decides what is an alarm.
        title: The title of the page.
        facts: More rows for the table at the top.
        most: The largest number of images that are shown. All are counted.

    Raises:
        ArgumentError: `images`, `maps` and `scores` have different lengths, or a value is NaN or infinite.
    """
    if not len(images) == len(maps) == len(scores):
        raise ArgumentError(
            f"{len(images)} images, {len(maps)} maps and {len(scores)} scores; they must belong together"
        )
    if not np.isfinite(maps).all():
        raise ArgumentError("maps hold values that are NaN or infinite; no decision can be reported")
    alarms = threshold.decide(scores)
    rows = {
        "images": f"{len(images)}, {int(alarms.sum())} of them alarms",
        "an alarm is": f"a score of {threshold.value:.4f} or more",
        "set by": f"{threshold.strategy}: {threshold.note}",
    } | dict(facts or {})
    page = _template().render(
        title=title,
        rows=rows,
        axis=_score_axis(scores, alarms, threshold.value),
        cards=_cards(images, maps, scores, alarms, most),
        image_count=len(images),
        colors=COLORS,
    )
    write_atomically(Path(path), lambda place: place.write_text(page, "utf-8", errors="backslashreplace"))


def _template() -> jinja2.Template:
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATE.parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template(TEMPLATE.name)


def _cards(images: ImageSet, maps: np.ndarray, scores: np.ndarray, alarms: np.ndarray, most: int) -> list[Card]:
    """Return the cards of the images with the highest scores, `most` at most."""
    low, high = float(np.median(maps)), float(np.quantile(maps, 0.999))
    return [
        Card(
            name=_display_name(images, int(i)),
            score=f"{scores[i]:z.3f}",
            alarm=bool(alarms[i]),
            picture=_data_uri(_picture(images[i][0])),
            heat_map=_data_uri(_heat_map(maps[i], low, high)),
        )
        for i in np.argsort(-scores, kind="stable")[:most]
    ]


def _display_name(images: ImageSet, index: int) -> str:
    """Return the name of the image file, with the kind of defect where one is known."""
    sample = images.samples[index]
    return sample.image.name if sample.defect == GOOD else f"{sample.image.name} ({sample.defect})"


def _picture(image: Tensor) -> Image.Image:
    """Convert an image `(3, H, W)` in [0, 1]."""
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def _heat_map(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Draw a map `(H, W)` in colors, `low` dark and `high` bright."""
    from matplotlib import colormaps

    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return Image.fromarray((colormaps[HEAT](scaled)[..., :3] * 255).astype(np.uint8))


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _score_axis(scores: np.ndarray, alarms: np.ndarray, threshold: float) -> ScoreAxis:
    """Compute where the drawing has each score and the threshold."""
    low, high = min(float(scores.min()), threshold), max(float(scores.max()), threshold)
    length = AXIS_WIDTH - 2 * AXIS_MARGIN

    def position(value: float) -> float:
        return AXIS_MARGIN + length * (value - low) / max(high - low, 1e-12)

    return ScoreAxis(
        width=AXIS_WIDTH,
        left=AXIS_MARGIN,
        right=AXIS_WIDTH - AXIS_MARGIN,
        scores=[(f"{position(s):.1f}", bool(a)) for s, a in zip(scores.tolist(), alarms, strict=True)],
        threshold=f"{position(threshold):.1f}",
        anchor="end" if position(threshold) > AXIS_WIDTH / 2 else "start",
        lowest=f"{low:z.3f}",
        highest=f"{high:z.3f}",
    )
