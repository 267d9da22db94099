"""`Report`: the findings of a detector as one HTML file with the pictures in it, which opens without a network."""

from __future__ import annotations

import base64
import hashlib
import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastflow_lite.datasets.image_inputs import read_input
from fastflow_lite.detection.finding import Finding, Region
from fastflow_lite.detection.heat_colors import heat_colors
from fastflow_lite.detection.report_pictures import (
    OUTLINE_SIDE,
    PICTURE_SIDE,
    draw_map,
    draw_picture,
    fit_within,
    outline,
)
from fastflow_lite.errors import ArgumentError, DataError, check_whole, printable
from fastflow_lite.figures.style import ALARM_LINE, ANOMALOUS, NORMAL
from fastflow_lite.files import write_atomically

if TYPE_CHECKING:
    import jinja2

    from fastflow_lite.detection.detector import Detector

FOLDER = Path(__file__).parent
BINS = 100  # of the axis of scores; 0.5 is the border between two
MOST_REGIONS, MOST_UNUSABLE = 20, 100  # that are listed, of an image and of a report
PROMISES = {  # of the strategies of thresholds
    "conformal": "The threshold was set by conformal prediction from {count} normal images. A new normal image that is "
    "taken like them is an alarm with a probability of at most {rate}, on average over such sets of normal images.",
    "quantile": "The threshold is a quantile of the scores of {count} normal images; at most {rate} of them reach it. "
    "For new images this is an estimate, not a guarantee.",
    "best_f1": "The threshold has the best F1 on labeled validation images. No rate of false alarms is promised.",
    "fixed": "The threshold was chosen by hand. No rate of false alarms is promised.",
}


@dataclass(frozen=True)
class Card:
    """One finding in the page. `picture` and `heat_map` are data URIs; `outline` is an SVG path on `grid`."""

    name: str
    score: str
    raw_score: str
    alarm: bool
    size: tuple[int, int]
    shown_size: tuple[int, int]
    picture: str | None
    heat_map: str
    outline: str
    grid: tuple[int, int]
    regions: list[Region]
    region_count: int


class Bar(NamedTuple):
    """A bar of the axis of scores: `x` from 0 to `BINS`, height from 0 to 1, and the number of its images."""

    x: int
    height: float
    images: int
    kind: str


class Report:
    """Collects findings and writes them as one HTML file: no network, and no library in it.

    All findings are counted and drawn on the axis of scores. The most anomalous ones have pictures, and only these are
    kept, small, so the memory is bounded. In the page they are sorted by score or name and limited to alarms; map and
    outline are switched on and off; the keyboard steps through them in a large view. Without scripts the page has the
    same content, in the order of the scores.

    Args:
        detector: The detector that made the findings.
        title: The title of the page.
        facts: Rows for the table at the top, such as the file of the detector or the date.
        most: The largest number of findings with pictures.

    >>> report = Report(detector, "Line 3, morning", {"detector": "part.safetensors"})  # doctest: +SKIP
    >>> for finding in detector.findings("new/"):  # doctest: +SKIP
    ...     report.add(finding)
    >>> report.write("report.html")  # doctest: +SKIP
    """

    def __init__(
        self, detector: Detector, title: str, facts: Mapping[str, object] | None = None, most: int = 200
    ) -> None:
        self.detector, self.title, self.facts = detector, title, dict(facts or {})
        self.most = check_whole("most", most, 0)
        self.alarms, self.count = 0, 0
        self._unusable: list[tuple[str, str]] = []
        self._unusable_count = 0
        self._bins = {"alarm": np.zeros(BINS, int), "calm": np.zeros(BINS, int)}
        self._kept: list[tuple[float, int, Card]] = []  # a heap: the least anomalous first, of equal ones the latest

    def add(self, finding: Finding, picture: Any = None) -> None:
        """Count a finding, and keep its pictures if it is among the most anomalous ones so far.

        `picture` is the image, in any form that the detector takes; without it the file `finding.name` is read. A file
        that cannot be read any more leaves the place of the picture empty. ArgumentError if the score is not finite.
        """
        if not math.isfinite(finding.raw_score):
            raise ArgumentError(f"{finding.name} has the score {finding.raw_score}; no decision can be reported")
        self.count += 1
        self.alarms += finding.alarm
        self._bins["alarm" if finding.alarm else "calm"][_bin(finding.score)] += 1
        key = (finding.raw_score, -self.count)
        if len(self._kept) < self.most:
            heapq.heappush(self._kept, (*key, self._card(finding, picture)))
        elif self._kept and key > self._kept[0][:2]:
            heapq.heapreplace(self._kept, (*key, self._card(finding, picture)))

    def add_unusable(self, name: str, error: Exception) -> None:
        """Count an image that could not be judged; the page lists it with the reason. For `on_error` of `findings`."""
        self._unusable_count += 1
        if self._unusable_count <= MOST_UNUSABLE:
            self._unusable.append((printable(name), printable(str(error))))

    def write(self, path: str | Path) -> None:
        """Write the page, whole or not at all. More findings may be added and the page written again."""
        cards = [card for _, _, card in sorted(self._kept, key=lambda kept: kept[:2], reverse=True)]
        folder = common_folder([card.name for card in cards])
        style = _colors() + (FOLDER / "report.css").read_text("utf-8")
        script = (FOLDER / "report.js").read_text("utf-8")
        page = _template().render(
            title=printable(self.title),
            facts=self._all_facts() | ({"folder": folder} if folder else {}),
            report=self,
            rule=rule_in_words(self.detector),
            bars=self._bars(),
            bin_count=BINS,
            cards=[replace(card, name=card.name[len(folder) :]) for card in cards],
            unusable=self._unusable,
            unusable_count=self._unusable_count,
            heat=["#{:02x}{:02x}{:02x}".format(*color) for color in heat_colors(np.linspace(0, 1, 11))],
            style=style,
            script=script,
            policy=f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
            f"style-src '{_digest(style)}'; script-src '{_digest(script)}'",
        )
        write_atomically(Path(path), lambda place: place.write_text(page, "utf-8", errors="backslashreplace"))

    def _card(self, finding: Finding, picture: Any) -> Card:
        shown_size, grid = fit_within(finding.size, PICTURE_SIDE), fit_within(finding.size, OUTLINE_SIDE)
        white_level = self.detector.model.input_format.white_level
        try:
            image = read_input(finding.name, finding.name if picture is None else picture, white_level)
            drawn = draw_picture(image, shown_size)
        except (DataError, OSError):
            drawn = None
        regions = finding.regions
        return Card(
            name=printable(finding.name),
            score=shown_score(finding),
            raw_score=f"{finding.raw_score:z.6g}",
            alarm=finding.alarm,
            size=finding.size,
            shown_size=shown_size,
            picture=drawn,
            heat_map=draw_map(finding.small_map),
            outline=outline(finding.small_map, finding.pixel_level, grid),
            grid=grid,
            regions=regions[:MOST_REGIONS],
            region_count=len(regions),
        )

    def _bars(self) -> list[Bar]:
        """Return the bars of findings, and those of the normal images that set the threshold."""
        normal = np.zeros(BINS, int)
        np.add.at(normal, [_bin(score) for score in self.detector.scale(self.detector.normal_scores)], 1)
        highest = np.sqrt(max(1, *(bins.max() for bins in self._bins.values())))
        heights = {kind: np.sqrt(bins) / highest for kind, bins in self._bins.items()}
        heights["normal"] = np.sqrt(normal / normal.max())
        return [
            Bar(int(x), float(heights[kind][x]), int(bins[x]), kind)
            for kind, bins in {**self._bins, "normal": normal}.items()
            for x in np.flatnonzero(bins)
        ]

    def _all_facts(self) -> dict[str, str]:
        """Return the rows of the table: those of the caller, then those of the detector."""
        detector = self.detector
        model, threshold, (height, width) = detector.model, detector.threshold, detector.size
        rows = {
            "threshold": f"raw score {threshold.value:.6g}, {threshold.strategy}: {threshold.note}",
            "network": f"{type(model).__name__} over {model.config.backbone}, images of {width} x {height} pixels",
            "weights": model.backbone.weights_info.description,
            "training images": f"sha256 {detector.train_sha256[:16]}" if detector.train_sha256 else "not recorded",
            "made with": ", ".join(f"{name} {version}" for name, version in detector.versions.items()),
        }
        if detector.tile is not None:
            rows["tiles"] = f"{detector.tile} pixels a side, at the size of the image; {detector.overlap} shared"
        if detector.ignore is not None:
            rows["left out"] = f"{detector.ignore.mean():.1%} of each image"
        own = {printable(str(name)): printable(str(value)) for name, value in self.facts.items()}
        return own | {name: value for name, value in rows.items() if name not in own}


def rule_in_words(detector: Detector) -> str:
    """Return what an alarm is, how the threshold was set, and which rate of false alarms it promises."""
    strategy, rate = detector.threshold.strategy, detector.promised_rate
    if rate is None and strategy not in ("fixed", "best_f1"):
        promise = "The threshold was given when the detector was made. No rate of false alarms is recorded."
    else:
        shown_rate = "" if rate is None else f"{100 * rate:.3g} %"
        promise = PROMISES.get(strategy, "").format(count=len(detector.normal_scores), rate=shown_rate)
    return f"An alarm is a score of 0.5 or more. {promise}"


def shown_score(finding: Finding) -> str:
    """Return the score with three digits, which are below 0.500 exactly where there is no alarm."""
    return f"{finding.score if finding.alarm else min(finding.score, 0.499):.3f}"


def common_folder(names: Sequence[str]) -> str:
    """Return the folder that all names are in, with the slash at its end, or "".

    >>> common_folder(["parts/a/1.png", "parts/b/1.png"]), common_folder(["a.png"]), common_folder([])
    ('parts/', '', '')
    """
    folders = [name.split("/")[:-1] for name in names]
    shared = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))
    return "".join(f"{parts[0]}/" for parts in shared)


def _bin(score: float) -> int:
    return min(int(score * BINS), BINS - 1)


def _digest(text: str) -> str:
    """Return the form in which a content security policy allows one inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _colors() -> str:
    return f":root {{ --alarm: {ANOMALOUS}; --calm: {NORMAL}; --line: {ALARM_LINE}; }}\n"


def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("report.html.jinja")
