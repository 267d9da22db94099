"""What a detector decided over weeks, in one SQLite file: score, decision, time and file hash of every image.

The file holds the calibration of each detector too, so that `drift` needs nothing else. Any program that reads SQLite
can look at it: `sqlite3 runs.sqlite "SELECT time, name, score, alarm FROM findings"`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastflow_lite.errors import DataError, no_file, printable

if TYPE_CHECKING:
    from fastflow_lite.detection.detector import Detector
    from fastflow_lite.detection.finding import Finding

APPLICATION_ID = 0x46464C4C  # "FFLL" in the header of the file: what `file` and SQLite tell one program's files by
VERSION = 1  # of the tables, in the header as `user_version`
BATCH, SECONDS = 64, 1.0  # a transaction holds at most so many rows, or those of so long
PATIENCE = 30.0  # seconds to wait for another process that writes to the same file
TABLES = (
    """CREATE TABLE detectors (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,  -- sha256 over what follows, the training set's fingerprint and the image size
    rule TEXT NOT NULL,                -- that set the threshold: conformal, quantile, best_f1 or fixed
    threshold REAL NOT NULL,           -- of raw scores
    promised_rate REAL,                -- of alarms among good parts; NULL where the rule promises none
    normal_scores TEXT NOT NULL        -- JSON list: raw scores of the good images that set the threshold
)""",
    """CREATE TABLE findings (
    id INTEGER PRIMARY KEY,
    detector INTEGER NOT NULL REFERENCES detectors,
    time TEXT NOT NULL,                -- UTC, as 2026-11-27T10:24:37.125Z
    name TEXT NOT NULL,
    sha256 TEXT,                       -- of the image file; NULL for an image that came from no file
    score REAL NOT NULL,               -- 0 to 1, 0.5 at the threshold
    raw_score REAL NOT NULL,
    alarm INTEGER NOT NULL,
    defect INTEGER                     -- 1 for a known defect, 0 for a part known to be good, NULL for unknown
)""",
    "CREATE INDEX findings_in_time ON findings (detector, time)",
)


class RunLog:
    """A log that the findings of one detector are added to; one process may write while others write and read.

    Rows are written in transactions of at most 64, at least once a second as long as findings come. So a killed process
    loses at most the last of these, and the file is never damaged. A file that is no log, or one of another version,
    raises DataError and stays as it is; a full disk or a lock that lasts longer than 30 s raises OSError.

    with RunLog("runs.sqlite", detector) as log:
        for finding in detector(folder):
            log.add(finding)
    """

    def __init__(self, path: str | Path, detector: Detector) -> None:
        self.path = Path(path)
        self._rows: list[tuple[object, ...]] = []
        self._written = -SECONDS
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._database = _connected(self.path, "rwc")
        try:
            with _transaction(self._database, self.path):
                _check_or_create(self._database, self.path)
                self._detector = _detector_id(self._database, detector)
        except BaseException:
            self._database.close()
            raise

    def add(self, finding: Finding, file_sha256: str | None = None, defect: bool | None = None) -> None:
        """Add one finding with the time of this call, and where they are known the file's hash and the true state."""
        row = (self._detector, _utc(datetime.now(UTC)), printable(finding.name), file_sha256)
        known = None if defect is None else int(defect)
        self._rows.append((*row, float(finding.score), float(finding.raw_score), int(finding.alarm), known))
        if len(self._rows) >= BATCH or time.monotonic() - self._written >= SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are not yet in the file. Where that fails they are kept for the next call."""
        if self._rows:
            with _transaction(self._database, self.path):
                insert = "INSERT INTO findings (detector, time, name, sha256, score, raw_score, alarm, defect)"
                self._database.executemany(f"{insert} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._rows)
            self._rows.clear()
            self._written = time.monotonic()

    def close(self) -> None:
        """Write what is left and close the file."""
        try:
            self.flush()
        finally:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class LoggedScores:
    """What a log holds of one detector, in order of time, without parts that are known to be defective.

    An image file that was judged again (the same sha256) is counted once, when it was first judged.
    """

    fingerprint: str
    rule: str
    threshold: float  # of raw scores
    promised_rate: float | None
    normal_scores: np.ndarray  # (N,) raw scores of the calibration, ascending
    times: np.ndarray  # (T,) datetime64[ms], UTC
    raw_scores: np.ndarray  # (T,)
    alarms: np.ndarray  # (T,) bool
    repeated: int  # images that were judged again, and left out
    defects: int  # images that are known to show a defect, and left out


def read_log(path: str | Path, since: datetime | None = None) -> list[LoggedScores]:
    """Read the findings of every detector in a log, from `since` on (UTC where it has no time zone).

    DataError for a file that does not exist, is no log, is of another version or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{no_file(path, '*.sqlite')}; `fastflow-lite predict ... --log FILE` writes it")
    database = _connected(path, "rw")  # not "ro": what a killed process left half written is taken back first
    try:
        with _errors_named(path):
            database.execute("BEGIN")  # all that follows is the state of one moment
            if _version(database, path) == 0:
                return []
            detectors = database.execute("SELECT * FROM detectors ORDER BY id").fetchall()
            start = "" if since is None else _utc(since if since.tzinfo else since.replace(tzinfo=UTC))
            return [_logged_scores(database, row, start) for row in detectors]
    finally:
        database.close()


def _logged_scores(database: sqlite3.Connection, detector: tuple[Any, ...], start: str) -> LoggedScores:
    number, fingerprint, rule, threshold, promised_rate, normal_scores = detector
    chosen = "FROM findings WHERE detector = ? AND time >= ?"
    good = f"{chosen} AND coalesce(defect, 0) = 0"
    # Beside min() SQLite gives the other columns of the row that holds the minimum.
    first = f"SELECT min(time), raw_score, alarm {good} GROUP BY coalesce(sha256, id) ORDER BY 1, id"
    rows = database.execute(first, (number, start)).fetchall()
    (every,), (kept,) = (database.execute(f"SELECT count(*) {of}", (number, start)).fetchone() for of in (chosen, good))
    return LoggedScores(
        fingerprint=fingerprint,
        rule=rule,
        threshold=float(threshold),
        promised_rate=None if promised_rate is None else float(promised_rate),
        normal_scores=np.sort(np.asarray(json.loads(normal_scores), np.float64)),
        times=np.array([moment.rstrip("Z") for moment, _, _ in rows], "datetime64[ms]"),
        raw_scores=np.array([score for _, score, _ in rows], np.float64),
        alarms=np.array([alarm for _, _, alarm in rows], bool),
        repeated=kept - len(rows),
        defects=every - kept,
    )


def _utc(moment: datetime) -> str:
    """Return a time as text that sorts as the times do: `2026-11-27T10:24:37.125Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    with _errors_named(path):
        place = f"{path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(place, timeout=PATIENCE, isolation_level=None, uri=True)


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into ours, with the path: OSError where the system refuses, DataError for the content."""
    try:
        yield
    except DataError:
        raise
    except sqlite3.OperationalError as error:
        raise OSError(errno.EIO, f"the log cannot be read or written ({error})", str(path)) from error
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        raise DataError(f"{path} is no log of FastFlow Lite, or is damaged ({error}); give another file") from error


@contextmanager
def _transaction(database: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Write all that the block writes, or nothing. It waits for other writers first."""
    with _errors_named(path):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise


def _version(database: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables, 0 for an empty file; DataError for another program's file or version."""
    (application,), (version,), (tables,) = (
        database.execute(query).fetchone()
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if application == version == tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise DataError(f"{path} is a SQLite file of another program; give another file")
    if version != VERSION:
        raise DataError(f"{path} has version {version} of the log, this FastFlow Lite has {VERSION}; give a new file")
    return version


def _check_or_create(database: sqlite3.Connection, path: Path) -> None:
    if _version(database, path) == 0:
        for statement in TABLES:
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {VERSION}")


def _detector_id(database: sqlite3.Connection, detector: Detector) -> int:
    """Return the number of the detector in the log, where it is added if it is new."""
    scores = json.dumps([float(score) for score in detector.normal_scores])
    facts = (detector.threshold.strategy, detector.threshold.value, detector.promised_rate, scores)
    whole = json.dumps([*facts, detector.train_sha256, list(detector.size)])
    fingerprint = hashlib.sha256(whole.encode()).hexdigest()
    columns = "(fingerprint, rule, threshold, promised_rate, normal_scores)"
    database.execute(f"INSERT OR IGNORE INTO detectors {columns} VALUES (?, ?, ?, ?, ?)", (fingerprint, *facts))
    (number,) = database.execute("SELECT id FROM detectors WHERE fingerprint = ?", (fingerprint,)).fetchone()
    return number
