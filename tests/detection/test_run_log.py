"""The log: rows come back as they went in, two processes may write, a kill damages nothing, other files stay."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from fastflow_lite.detection import run_log
from fastflow_lite.detection.run_log import RunLog, read_log
from fastflow_lite.errors import DataError
from fastflow_lite.scoring.thresholds import Threshold, conformal


@dataclass(frozen=True)
class LoggedDetector:
    """Of a detector, what a log stores."""

    normal_scores: np.ndarray = field(default_factory=lambda: np.arange(40.0))
    threshold: Threshold = field(default_factory=lambda: conformal(np.arange(40.0), 0.05))
    promised_rate: float | None = 0.05
    train_sha256: str = "0" * 64
    size: tuple[int, int] = (64, 64)


@dataclass(frozen=True)
class LoggedFinding:
    """Of a finding, what a log stores."""

    name: str = "a.png"
    score: float = 0.25
    raw_score: float = 3.5
    alarm: bool = False


def rows(path: Path) -> list[tuple]:
    with sqlite3.connect(path) as database:
        return database.execute("SELECT * FROM findings ORDER BY id").fetchall()


def test_what_is_added_comes_back(tmp_path: Path) -> None:
    path, before = tmp_path / "new" / "runs.sqlite", np.datetime64(datetime.now(UTC).replace(tzinfo=None), "ms")
    with RunLog(path, LoggedDetector()) as log:
        log.add(LoggedFinding())
        log.add(LoggedFinding("b\udcff.png", 0.75, 0.1 + 0.2, True), "ab" * 32)
    (logged,) = read_log(path)
    assert logged.raw_scores.tolist() == [3.5, 0.1 + 0.2] and logged.alarms.tolist() == [False, True]
    assert (logged.threshold, logged.rule, logged.promised_rate) == (39.0 - 1 + 2**-47, "conformal", 0.05)
    assert logged.normal_scores.tolist() == list(range(40))
    assert before <= logged.times[0] <= logged.times[1] <= before + 60_000
    (one, two) = rows(path)
    assert one[3:] == ("a.png", None, 0.25, 3.5, 0, None) and two[3:6] == ("b\\udcff.png", "ab" * 32, 0.75)
    assert datetime.fromisoformat(one[2]).utcoffset() == timedelta(0)


def test_a_detector_is_stored_once_and_another_threshold_is_another_detector(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    other = replace(LoggedDetector(), threshold=Threshold(5.0, "fixed", ""), promised_rate=None)
    for detector in (LoggedDetector(), other, LoggedDetector()):
        with RunLog(path, detector) as log:
            log.add(LoggedFinding())
    first, second = read_log(path)
    assert (len(first.times), len(second.times)) == (2, 1)
    assert (second.rule, second.promised_rate) == ("fixed", None) and first.fingerprint != second.fingerprint


def test_a_file_judged_again_counts_once_and_known_defects_not_at_all(tmp_path: Path) -> None:
    with RunLog(tmp_path / "runs.sqlite", LoggedDetector()) as log:
        for number in (1, 2):
            log.add(LoggedFinding(raw_score=number), "ab" * 32)
            log.add(LoggedFinding(raw_score=10 + number))  # no file: two frames of a camera
        log.add(LoggedFinding(raw_score=20), defect=True)
        log.add(LoggedFinding(raw_score=30), defect=False)
    (logged,) = read_log(tmp_path / "runs.sqlite")
    assert logged.raw_scores.tolist() == [1, 11, 12, 30]
    assert (logged.repeated, logged.defects) == (1, 1)


def test_since_leaves_out_what_was_before(tmp_path: Path) -> None:
    with RunLog(tmp_path / "runs.sqlite", LoggedDetector()) as log:
        log.add(LoggedFinding())
    now = datetime.now(UTC)
    assert [len(log.times) for log in read_log(tmp_path / "runs.sqlite", now - timedelta(hours=1))] == [1]
    assert [len(log.times) for log in read_log(tmp_path / "runs.sqlite", now + timedelta(hours=1))] == [0]
    naive = now.replace(tzinfo=None) - timedelta(hours=1)  # read as UTC
    assert [len(log.times) for log in read_log(tmp_path / "runs.sqlite", naive)] == [1]


def test_rows_are_written_at_once_when_they_come_slowly_and_in_batches_when_they_come_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clock = tmp_path / "runs.sqlite", [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    log = RunLog(path, LoggedDetector())
    log.add(LoggedFinding())
    assert len(rows(path)) == 1  # the first one waits for nothing
    for _ in range(run_log.BATCH - 1):
        log.add(LoggedFinding())
    assert len(rows(path)) == 1
    log.add(LoggedFinding())
    assert len(rows(path)) == 1 + run_log.BATCH
    log.add(LoggedFinding())
    clock[0] += run_log.SECONDS
    log.add(LoggedFinding())
    assert len(rows(path)) == 3 + run_log.BATCH
    log.close()


def test_an_error_in_the_block_loses_no_row(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunLog(tmp_path / "runs.sqlite", LoggedDetector()) as log:
        for _ in range(5):
            log.add(LoggedFinding())
        raise KeyboardInterrupt
    assert len(rows(tmp_path / "runs.sqlite")) == 5


def test_several_writers_and_a_reader(tmp_path: Path) -> None:
    """Connections of SQLite lock one another in one process as in several."""
    path, errors = tmp_path / "runs.sqlite", []

    def write() -> None:
        try:
            with RunLog(path, LoggedDetector()) as log:
                for _ in range(20):
                    log.add(LoggedFinding())
                    log.flush()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert len(read_log(path)) <= 1
    assert not errors
    assert len(rows(path)) == 60


ENDLESS = """
import sys, types, importlib.util
spec = importlib.util.spec_from_file_location("run_log", sys.argv[1])  # without torch, which takes seconds
run_log = importlib.util.module_from_spec(spec)
sys.modules["run_log"] = run_log
spec.loader.exec_module(run_log)
threshold = types.SimpleNamespace(value=1.0, strategy="fixed")
calibration = dict(normal_scores=[0.5], threshold=threshold, promised_rate=None)
detector = types.SimpleNamespace(**calibration, train_sha256="", size=(1, 1))
finding = types.SimpleNamespace(name="a", score=0.1, raw_score=0.2, alarm=False)
log = run_log.RunLog(sys.argv[2], detector)
print("open", flush=True)
while True:
    log.add(finding)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_process_damages_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS, run_log.__file__, path], stdout=subprocess.PIPE)
        assert writer.stdout is not None and writer.stdout.readline() == b"open\n"
        time.sleep(0.1)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        (logged,) = read_log(path)
        assert len(logged.times) % run_log.BATCH == 1  # one alone, then whole batches
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with RunLog(path, LoggedDetector()):
            pass
        path.unlink()


def test_a_file_that_is_no_log_stays_as_it_is(tmp_path: Path) -> None:
    text, foreign, newer = (tmp_path / name for name in ("notes.txt", "foreign.sqlite", "newer.sqlite"))
    text.write_text("a line of text that is longer than the header of a file of SQLite, which is 100 bytes " * 9)
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE parts (id)")
    with RunLog(newer, LoggedDetector()):
        pass
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 7")
    for path, message in (
        (text, "notes.txt is no log of FastFlow Lite, or is damaged"),
        (foreign, "foreign.sqlite is a SQLite file of another program"),
        (newer, "newer.sqlite has version 7 of the log, this FastFlow Lite has 1"),
    ):
        before = path.read_bytes()
        with pytest.raises(DataError, match=message):
            RunLog(path, LoggedDetector())
        with pytest.raises(DataError, match=message):
            read_log(path)
        assert path.read_bytes() == before


def test_a_missing_file_is_not_made_and_an_empty_one_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.sqlite does not exist"):
        read_log(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()
    (tmp_path / "empty.sqlite").touch()
    assert read_log(tmp_path / "empty.sqlite") == []


def test_values_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunLog(path, LoggedDetector()) as log:
        log.add(LoggedFinding())
    with sqlite3.connect(path) as database:
        database.execute("UPDATE findings SET raw_score = 'high'")
    with pytest.raises(DataError, match=r"runs\.sqlite is no log of FastFlow Lite, or is damaged"):
        read_log(path)


def test_a_lock_that_lasts_and_a_folder_are_errors_of_the_system_and_rows_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match="the log cannot be read or written"):
        RunLog(tmp_path, LoggedDetector())
    monkeypatch.setattr(run_log, "PATIENCE", 0.05)
    path = tmp_path / "runs.sqlite"
    log = RunLog(path, LoggedDetector())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OSError, match="database is locked") as raised:
        log.add(LoggedFinding())
    assert (raised.value.errno, raised.value.filename) == (errno.EIO, str(path))
    other.execute("ROLLBACK")
    other.close()
    log.close()
    assert len(rows(path)) == 1


def test_since_holds_the_moment_itself_and_no_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunLog(path, LoggedDetector()) as log:
        log.add(LoggedFinding())
    moment = datetime.fromisoformat(rows(path)[0][2])
    for later, count in ((-1, 1), (0, 1), (1, 0)):
        since = moment + timedelta(milliseconds=later)
        assert [len(log.times) for log in read_log(path, since)] == [count]
        assert [len(log.times) for log in read_log(path, since.replace(tzinfo=None))] == [count]
        assert [len(log.times) for log in read_log(path, since.astimezone(timezone(timedelta(hours=9))))] == [count]
