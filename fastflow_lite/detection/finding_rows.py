"""Findings as lines of text: of a CSV file, of JSON lines, and for people."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from fastflow_lite.detection.finding import Finding
from fastflow_lite.errors import no_formula, printable

BOX = ("top", "left", "height", "width")
COLUMNS = (
    *("path", "score", "raw_score", "alarm", "height", "width", "regions"),
    *(f"largest_{side}" for side in BOX),
    "error",
)


def csv_header() -> str:
    """Return the first line of the CSV file: `COLUMNS`."""
    return _csv_line(COLUMNS)


def csv_row(finding: Finding) -> str:
    """Return a finding as a line of the CSV file, in the order of `COLUMNS`.

    `alarm` is 1 or 0. The number of regions and the box of the largest one, in pixels of the image, are given of alarms
    only and are empty elsewhere: they cost a map at the size of the image. A name such as `=1+1.png` is written as
    `no_formula` returns it.
    """
    regions = finding.regions if finding.alarm else []
    box = [getattr(max(regions, key=lambda region: region.area), side) for side in BOX] if regions else [""] * len(BOX)
    count = len(regions) if finding.alarm else ""
    facts = (finding.name, finding.score, finding.raw_score, int(finding.alarm), *finding.size)
    return _csv_line((*facts, count, *box, ""))


def csv_error(name: str, error: Exception) -> str:
    """Return the line of the CSV file for an image that cannot be used: all fields empty but name and error."""
    return _csv_line((name, *[""] * (len(COLUMNS) - 2), " ".join(str(error).split())))


def json_row(finding: Finding, heat_map: Path | None = None) -> str:
    """Return a finding as one line of JSON, with the file of its heat map where there is one.

    The regions, highest peak first, are given of alarms only, for the same reason; elsewhere they are null.
    """
    height, width = finding.size
    regions = [region._asdict() for region in finding.regions] if finding.alarm else None
    facts = {"path": finding.name, "score": finding.score, "raw_score": finding.raw_score, "alarm": finding.alarm}
    place = {} if heat_map is None else {"heat_map": str(heat_map)}
    return json.dumps(facts | {"height": height, "width": width, "regions": regions} | place)


def json_error(name: str, error: Exception) -> str:
    """Return the line of JSON for an image that cannot be used."""
    return json.dumps({"path": name, "error": str(error)})


def plain_row(finding: Finding) -> str:
    """Return a finding as a line for people: name, score, and ALARM or ok."""
    return printable(f"{finding.name}  {finding.score:.3f}  {'ALARM' if finding.alarm else 'ok'}".replace("\n", "\\n"))


def _csv_line(fields: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([no_formula(field) for field in fields])
    return text.getvalue()
