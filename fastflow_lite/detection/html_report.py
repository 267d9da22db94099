"""A batch of judged images as one HTML file: pictures inside, no script, nothing fetched, no server needed."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from fastflow_lite.datasets.image_set import GOOD, ImageSet
from fastflow_lite.figures.style import ALARM_LINE, ANOMALOUS, HEAT, NORMAL
from fastflow_lite.files import write_atomically
from fastflow_lite.scoring.thresholds import Threshold

QUALITY = 85  # of the JPEG pictures
WIDTH, HEIGHT = 640, 90  # of the strip of scores, in pixels

STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }}
h1 {{ font-size: 1.5em; margin-bottom: 0; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
td {{ padding: 2px 1.2em 2px 0; vertical-align: top; }}
td:first-child {{ color: #666; }}
.cards {{ margin-top: 1em; display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 14px; }}
svg {{ display: block; margin-bottom: 1em; }}
figure {{ margin: 0; border-top: 5px solid {NORMAL}; }}
figure.alarm {{ border-color: {ANOMALOUS}; }}
figure div {{ position: relative; }}
figure img {{ width: 100%; display: block; image-rendering: auto; }}
figure .map {{ position: absolute; inset: 0; opacity: 0; }}
figcaption {{ font-size: 13px; overflow-wrap: anywhere; }}
#maps:checked ~ .cards .map {{ opacity: 1; }}
.cards div:hover .map {{ opacity: 1; }}
#maps:checked ~ .cards div:hover .map {{ opacity: 0; }}
@media print {{ figure {{ break-inside: avoid; }} }}
"""
# The browser itself refuses whatever this page might want from elsewhere.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
    """Write the page: what was decided and by which rule, all scores on one line, the images, highest score first.

    `maps` `(N, H, W)` and `scores` `(N,)` belong to `images`; all maps share one color range. `facts` become rows of
    the table at the top. At most `most` images are shown, all of them counted. A known defect is named with its
    image; without labels nothing is said about right or wrong. ValueError where lengths differ.
    """
    if not len(images) == len(maps) == len(scores):
        raise ValueError(f"{len(images)} images, {len(maps)} maps and {len(scores)} scores; they must belong together")
    alarms = threshold.decide(scores)
    low, high = float(np.median(maps)), float(np.quantile(maps, 0.999))
    order = np.argsort(-scores, kind="stable")[:most]
    cards = [
        _card(images[i][0], _heat(maps[i], low, high), float(scores[i]), bool(alarms[i]), _name(images, int(i)))
        for i in order
    ]
    rows = {
        "images": f"{len(images)}, {int(alarms.sum())} of them alarms",
        "an alarm is": f"a score of {threshold.value:.4f} or more",
        "set by": f"{threshold.strategy}: {threshold.note}",
    } | dict(facts or {})
    left_out = "" if len(order) == len(images) else f"<p>The {len(order)} images with the highest scores:</p>"
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
{_table(rows)}
{_strip(scores, alarms, threshold.value)}
{left_out}
<input type="checkbox" id="maps"><label for="maps"> show the anomaly maps (or point at an image)</label>
<div class="cards">{"".join(cards)}</div>
</body></html>
"""
    write_atomically(Path(path), lambda place: place.write_text(page, encoding="utf-8"))


def _name(images: ImageSet, index: int) -> str:
    """The file as a person would say it, with the kind of defect where one is known."""
    sample = images.samples[index]
    return sample.image.name if sample.defect == GOOD else f"{sample.image.name} ({sample.defect})"


def _card(image: Tensor, heat: Image.Image, score: float, alarm: bool, name: str) -> str:
    picture = Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())
    mark, said = (' class="alarm"', "alarm") if alarm else ("", "no alarm")
    safe = html.escape(name)
    return (
        f'<figure{mark}><div><img src="{_uri(picture)}" alt="{safe}">'
        f'<img class="map" src="{_uri(heat)}" alt="anomaly map of {safe}"></div>'
        f"<figcaption><b>{score:z.3f}</b> {said}<br>{safe}</figcaption></figure>\n"
    )


def _heat(values: np.ndarray, low: float, high: float) -> Image.Image:
    """A map `(H, W)` in colors, `low` dark and `high` bright."""
    from matplotlib import colormaps

    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return Image.fromarray((colormaps[HEAT](scaled)[..., :3] * 255).astype(np.uint8))


def _uri(picture: Image.Image) -> str:
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"


def _table(rows: Mapping[str, object]) -> str:
    cells = (f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return f"<table>{''.join(cells)}</table>"


def _strip(scores: np.ndarray, alarms: Sequence[bool] | np.ndarray, cut: float) -> str:
    """Every score as a line on one axis, with the threshold: a drawing in the page itself."""
    low, high = min(float(scores.min()), cut), max(float(scores.max()), cut)

    def place(value: float) -> float:
        return 10 + (WIDTH - 20) * (value - low) / max(high - low, 1e-12)

    lines = "".join(
        f'<line x1="{place(s):.1f}" x2="{place(s):.1f}" y1="25" y2="60" stroke="{ANOMALOUS if a else NORMAL}" '
        f'stroke-opacity="0.7" stroke-width="2"/>'
        for s, a in zip(scores.tolist(), np.asarray(alarms).tolist(), strict=True)
    )
    side = "end" if place(cut) > WIDTH / 2 else "start"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="all scores and the threshold">'
        f'<line x1="10" x2="{WIDTH - 10}" y1="60" y2="60" stroke="#999"/>{lines}'
        f'<line x1="{place(cut):.1f}" x2="{place(cut):.1f}" y1="14" y2="66" stroke="{ALARM_LINE}" '
        f'stroke-dasharray="4 3" stroke-width="2"/>'
        f'<text x="{place(cut):.1f}" y="11" font-size="12" text-anchor="{side}">threshold</text>'
        f'<text x="10" y="78" font-size="12">{low:z.3f}</text>'
        f'<text x="{WIDTH - 10}" y="78" font-size="12" text-anchor="end">{high:z.3f}</text></svg>'
    )
