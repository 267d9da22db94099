"""Where the findings of a run go: files of scores, heat maps, a report and a log, each only where it was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fastflow_lite.detection import finding_rows
from fastflow_lite.detection.finding import Finding
from fastflow_lite.detection.heat_pictures import HeatPictures
from fastflow_lite.detection.line_file import LineFile
from fastflow_lite.errors import DataError
from fastflow_lite.files import sha256_of_file

if TYPE_CHECKING:
    from fastflow_lite.detection.detector import Detector
    from fastflow_lite.detection.report import Report
    from fastflow_lite.detection.run_log import RunLog


@dataclass
class Counts:
    """How many images were judged, gave an alarm, or could not be used."""

    judged: int = 0
    alarms: int = 0
    unusable: int = 0


class Outputs:
    """All that a run writes of its findings, opened before the first one so that a wrong place is refused then.

    Args:
        detector: The detector whose findings these are.
        places: The files and folders that are judged.
        csv: A CSV file, see `finding_rows.COLUMNS`.
        json_lines: A file of JSON lines, or "-" for standard output.
        heatmaps: A folder for a picture of each map.
        report: An HTML file, see `Report`, written at the end, also after an error or Ctrl-C.
        facts: Rows for the table of the report.
        log: A log of runs, see `RunLog`.
        append: Keep the lines of earlier runs in `csv` and `json_lines`.
    """

    def __init__(
        self,
        detector: Detector,
        places: Sequence[Path],
        *,
        csv: str | Path | None = None,
        json_lines: str | Path | None = None,
        heatmaps: Path | None = None,
        report: str | Path | None = None,
        facts: Mapping[str, object] | None = None,
        log: str | Path | None = None,
        append: bool = False,
    ) -> None:
        self.counts, self._open = Counts(), ExitStack()
        self._csv: LineFile | None = None
        self._json: LineFile | None = None
        self._log: RunLog | None = None
        self._report: Report | None = None
        with ExitStack() as opened:  # closes what is open where the next cannot be opened
            if csv is not None:
                self._csv = opened.enter_context(LineFile(csv, finding_rows.csv_header(), append=append))
            if json_lines is not None:
                self._json = opened.enter_context(LineFile(json_lines, append=append))
            level = detector.model.input_format.white_level
            self._heat = None if heatmaps is None else HeatPictures(heatmaps, places, level)
            if log is not None:
                from fastflow_lite.detection.run_log import RunLog

                self._log = opened.enter_context(RunLog(log, detector))
            if report is not None:  # last, so that what cannot be opened leaves an older report as it is
                from fastflow_lite.detection.report import Report

                check_place(report)
                more = f" and {len(places) - 1} more" if len(places) > 1 else ""
                self._report = Report(detector, f"Findings in {places[0]}{more}", facts)
                opened.callback(self._report.write, report)
            self._open = opened.pop_all()

    def add(self, finding: Finding) -> None:
        """Write one finding to all places. DataError, and then nowhere, if its image has gone before it was drawn."""
        heat_map = None if self._heat is None else self._heat.add(finding)
        if self._csv is not None:
            self._csv.write(finding_rows.csv_row(finding))
        if self._json is not None:
            self._json.write(finding_rows.json_row(finding, heat_map))
        if self._report is not None:
            self._report.add(finding)
        if self._log is not None:
            self._log.add(finding, _sha256(Path(finding.name)))
        self.counts.judged += 1
        self.counts.alarms += finding.alarm

    def fail(self, name: str, error: DataError) -> None:
        """Write that an image cannot be used."""
        if self._csv is not None:
            self._csv.write(finding_rows.csv_error(name, error))
        if self._json is not None:
            self._json.write(finding_rows.json_error(name, error))
        if self._report is not None:
            self._report.add_unusable(name, error)
        self.counts.unusable += 1

    def flush(self) -> None:
        """Write to the log what it still holds back."""
        if self._log is not None:
            self._log.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def _sha256(path: Path) -> str | None:
    try:
        return sha256_of_file(path)
    except OSError:  # the file has gone since it was judged
        return None


def check_place(path: str | Path) -> None:
    """Raise DataError if a file cannot be written at `path` later; make its folder."""
    place = Path(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
    if place.is_dir():
        raise DataError(f"{path} cannot be written: it is a folder, and a file is expected")
    if not os.access(place if place.exists() and not place.is_file() else place.parent, os.W_OK):
        raise DataError(f"{path} cannot be written: {place.parent} is not writable")
