"""`fastflow-lite drift`, on logs of drawn scores."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fastflow_lite.cli import main as cli
from fastflow_lite.detection.run_log import RunLog
from fastflow_lite.scoring.thresholds import Threshold, conformal

RNG = np.random.default_rng(0)
NORMAL = np.sort(RNG.standard_normal(200))
STEADY = RNG.standard_normal(600)


@dataclass(frozen=True)
class LoggedDetector:
    threshold: Threshold
    promised_rate: float | None = 0.05
    train_sha256: str = ""
    size: tuple[int, int] = (64, 64)

    @property
    def normal_scores(self) -> np.ndarray:
        return NORMAL


@dataclass(frozen=True)
class LoggedFinding:
    raw_score: float
    alarm: bool
    name: str = "a.png"
    score: float = 0.5


CONFORMAL = LoggedDetector(conformal(NORMAL, 0.05))


def write(path: Path, scores: np.ndarray, detector: LoggedDetector = CONFORMAL) -> Path:
    with RunLog(path, detector) as log:
        for score, alarm in zip(scores.tolist(), detector.threshold.decide(scores).tolist(), strict=True):
            log.add(LoggedFinding(score, alarm))
    return path


def printed(capsys: pytest.CaptureFixture[str], *options: object) -> str:
    assert cli.main(["drift", *map(str, options)]) == 0
    return capsys.readouterr().out


def test_a_steady_log_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, write(tmp_path / "runs.sqlite", STEADY), "--fail-on-drift")
    assert ": conformal threshold, 200 images of calibration" in text and "  images     600, 20" in text
    alarms = int(CONFORMAL.threshold.decide(STEADY).sum())
    assert f"  alarms     {alarms} of 600 = {alarms / 600:.1%} (95% interval " in text
    assert "  last 100   " in text and "  promised   5.0% of good images" in text
    assert "holds: the alarms do not contradict the promised rate." in text
    assert "Scores without alarm are like those of the calibration." in text and "NO LONGER" not in text


def test_drift_has_a_time_and_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "runs.sqlite", STEADY + 1)
    text = printed(capsys, path)
    assert "NO LONGER HOLDS since 20" in text and "Scores without alarm are higher than in the calibration" in text
    assert cli.main(["drift", str(path), "--fail-on-drift"]) == 3


def test_lower_scores_and_true_defects_have_their_own_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, write(tmp_path / "lower.sqlite", STEADY - 1))
    assert "holds: " in text and "SCORES MOVED" in text and "defects may stay below the threshold" in text
    path = write(tmp_path / "defects.sqlite", np.where(np.arange(600) % 5, STEADY, 50))
    assert "NO LONGER HOLDS" in (text := printed(capsys, path)) and "whether the alarms are true defects" in text
    with sqlite3.connect(path) as log:
        log.execute("UPDATE findings SET defect = 1 WHERE raw_score = 50")
    assert "left out: 120 known defects" in (text := printed(capsys, path)) and "holds: " in text


def test_every_detector_is_reported_and_one_without_a_promise_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "runs.sqlite", STEADY)
    write(path, STEADY[:50], LoggedDetector(Threshold(2.0, "best_f1", ""), None))
    text = printed(capsys, path)
    assert text.count("\n  verdict") == 2 and "The rule best_f1 promises no rate that could be tested." in text


@pytest.mark.parametrize("name", ["drift.png", "deep/drift.SVG"])
def test_the_figure_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = write(tmp_path / "runs.sqlite", STEADY[:50])
    write(path, STEADY[:2], LoggedDetector(Threshold(2.0, "fixed", ""), None))
    assert f"figure: {tmp_path / name}" in printed(capsys, path, "--figure", tmp_path / name)
    assert (tmp_path / name).stat().st_size > 5000


def test_since_and_empty_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "runs.sqlite", STEADY[:5])
    assert "images     5," in printed(capsys, path, "--since", "2020-01-01")
    assert f"{path} holds no image since 2100-01-01T08:00Z" in printed(capsys, path, "--since", "2100-01-01T08:00Z")
    assert f"{tmp_path / 'b'} holds no image\n" == printed(capsys, write(tmp_path / "b", STEADY[:0]))


def test_wrong_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "runs.sqlite", STEADY[:5])
    for options, message in (
        ([tmp_path / "none.sqlite"], "none.sqlite does not exist"),
        (
            [tmp_path],
            f"{tmp_path} is a folder: a file such as {path} is expected; `fastflow-lite predict ... --log FILE",
        ),
        ([path, "--since", "monday"], "--since must be a time as 2026-11-01 or 2026-11-01T08:00, got 'monday'"),
        ([path, "--figure", tmp_path / "drift.doc"], "--figure must end in one of"),
        ([path, "--figure", tmp_path / "drift"], "--figure must end in one of"),
    ):
        assert cli.main(["drift", *map(str, options)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("fastflow-lite drift: ") and message in line
