"""`fastflow-lite predict`: what it prints and writes, and the status that it ends with."""

import csv
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fastflow_lite.cli import main as cli
from fastflow_lite.detection import Detector, Finding
from fastflow_lite.detection.run_log import read_log
from fastflow_lite.detection.watching import FolderWatch


def predict(*arguments: object) -> int:
    return cli.main(["predict", *map(str, arguments)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_an_image_and_a_summary(
    detector_file: Path, new_parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(detector_file, new_parts) == 0
    shown, errors = capsys.readouterr()
    *lines, summary = shown.splitlines()
    assert [line.split()[::2] for line in lines] == [
        [str(new_parts / "a.png"), "ok"],
        [str(new_parts / "sub/b.jpg"), "ok"],
        [str(new_parts / "sub/spot.png"), "ALARM"],
    ]
    assert summary.startswith("3 images, 1 alarms; ") and errors == ""


def test_everything_is_written(
    detector_file: Path, new_parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--csv", tmp_path / "s.csv", "--heatmaps", tmp_path / "heat", "--json-lines", "-"]
    assert predict(detector_file, new_parts, *places, "--fail-on-alarm") == 3
    shown, errors = capsys.readouterr()
    found = [json.loads(line) for line in shown.splitlines()]
    assert [row["alarm"] for row in found] == [False, False, True]
    assert errors.startswith("3 images, 1 alarms; ")
    judged = {finding.name: finding for finding in Detector.load(detector_file)(new_parts)}
    for row in rows(tmp_path / "s.csv"):
        finding = judged[row["path"]]
        assert float(row["score"]) == pytest.approx(finding.score) and row["alarm"] == str(int(finding.alarm))
        assert (int(row["height"]), int(row["width"])) == (48, 80)
    heat = sorted(path.relative_to(tmp_path / "heat").as_posix() for path in (tmp_path / "heat").rglob("*.png"))
    assert heat == ["a.png.heat.png", "sub/b.jpg.heat.png", "sub/spot.png.heat.png"]
    assert [row["heat_map"] for row in found] == [str(tmp_path / "heat" / name) for name in heat]


def test_a_report_is_written_and_an_older_one_stays_until_then(
    detector_file: Path, new_parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "new" / "report.html"
    (new_parts / "cut.png").write_bytes((new_parts / "a.png").read_bytes()[:500])
    assert predict(detector_file, new_parts, "--report", place) == 2
    page = place.read_text("utf-8")
    assert (
        f"Findings in {new_parts}" in page and f"{detector_file.name}</bdi>" in page and page.count("<li class=") == 3
    )
    assert f"Findings in {new_parts} and" not in page  # there is one folder
    assert "<b>1</b> alarm</span>" in page and "1 could not be judged" in page and "cut.png" in page
    place.write_text("old")
    assert predict(detector_file, new_parts, "--report", place, "--log", tmp_path) == 1
    assert place.read_text() == "old"


def test_files_and_folders_in_their_order(
    detector_file: Path, new_parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(detector_file, new_parts / "sub", new_parts / "a.png", "--batch-size", 1) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert [Path(name).name for name in names] == ["b.jpg", "spot.png", "a.png"]


def test_a_damaged_image_stops_no_other(
    detector_file: Path, new_parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, animation = new_parts / "sub" / "a_cut.png", new_parts / "c.gif"
    damaged.write_bytes((new_parts / "a.png").read_bytes()[:500])
    Image.new("L", (8, 8)).save(animation)
    places = ["--csv", tmp_path / "s.csv", "--json-lines", tmp_path / "s.jsonl"]
    assert predict(detector_file, new_parts, *places) == 2
    shown, errors = capsys.readouterr()
    assert len(shown.splitlines()) == 4 and "3 images, 1 alarms, 2 that cannot be used; " in shown
    assert [line.split(" cannot be decoded")[0] for line in errors.splitlines()] == [
        f"fastflow-lite predict: image {animation}", f"fastflow-lite predict: image {damaged}",
    ]  # fmt: skip
    assert {row["path"] for row in rows(tmp_path / "s.csv") if row["error"]} == {str(damaged), str(animation)}
    objects = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert len(objects) == 5 and [row["path"] for row in objects if "error" in row] == [str(animation), str(damaged)]
    assert predict(detector_file, new_parts, "--fail-on-alarm") == 3  # an alarm is not hidden by a damaged file


def test_ctrl_c_keeps_what_was_judged(
    detector_file: Path,
    new_parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    findings = Detector.findings

    def two(self: Detector, *args: Any, **options: Any) -> Iterator[Finding]:
        found = findings(self, *args, **options)
        yield next(found)
        yield next(found)
        raise KeyboardInterrupt

    monkeypatch.setattr(Detector, "findings", two)
    assert predict(detector_file, new_parts, "--csv", tmp_path / "s.csv", "--report", tmp_path / "r.html") == 130
    assert len(rows(tmp_path / "s.csv")) == 2
    assert (tmp_path / "r.html").read_text("utf-8").count("<li class=") == 2
    assert capsys.readouterr().out.splitlines()[-1].startswith("interrupted after 2 images, 0 alarms; ")


def test_what_cannot_be_judged_is_one_line_and_nothing_is_lost(
    detector_file: Path, new_parts: Path, tmp_path: Path, small_model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no detector")
    (tmp_path / "s.csv").write_text("old\n")
    small_model.save(tmp_path / "model.safetensors")
    for arguments, why in (
        ([detector_file, "nowhere"], "nowhere does not exist"),
        (["nowhere.safetensors", new_parts], "nowhere.safetensors does not exist"),
        ([tmp_path, new_parts], f"{tmp_path} is a folder: a file such as {tmp_path / 'model.safetensors'} is"),
        ([detector_file, tmp_path / "empty"], "empty holds no image"),
        ([tmp_path / "text", new_parts], "text is damaged, cut short, or no file of FastFlow Lite"),
        ([tmp_path / "model.safetensors", new_parts], "holds a model without a threshold"),
        ([detector_file, new_parts, "--heatmaps", new_parts / "heat"], "would be judged: give another folder"),
        ([detector_file, new_parts, "--batch-size", 0], "batch_size must be a whole number of at least 1, got 0"),
        ([detector_file, new_parts, "--json-lines", tmp_path], "it is a folder, and a file is expected"),
        ([detector_file, new_parts, "--report", tmp_path / "text" / "r.html"], "r.html cannot be written: "),
        ([detector_file, new_parts, "--report", tmp_path], "it is a folder, and a file is expected"),
        ([detector_file, new_parts, new_parts, "--watch"], "--watch takes one folder"),
        ([detector_file, new_parts / "a.png", "--watch"], "--watch takes one folder"),
        ([detector_file, new_parts, "--watch", "--report", tmp_path / "r.html"], "--watch does not end: leave one out"),
        ([detector_file, new_parts, "--csv", "-", "--json-lines", "-"], "cannot both be standard output"),
    ):
        options = [] if "--csv" in arguments else ["--csv", tmp_path / "s.csv"]
        assert predict(*arguments, *options) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("fastflow-lite predict: ") and why in line, line
        assert (tmp_path / "s.csv").read_text() == "old\n"


def test_the_log_has_every_judged_image(detector_file: Path, new_parts: Path, tmp_path: Path) -> None:
    (new_parts / "cut.png").write_bytes(b"damaged")
    assert predict(detector_file, new_parts, "--log", tmp_path / "runs.sqlite") == 2
    (logged,) = read_log(tmp_path / "runs.sqlite")
    assert (
        sorted(logged.alarms) == [False, False, True]
        and logged.threshold == Detector.load(detector_file).threshold.value
    )


@pytest.fixture
def few_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a watch be interrupted by Ctrl-C after four looks into its folder."""
    ready = FolderWatch.ready

    def counted(self: FolderWatch) -> list[Path]:
        self.polls = getattr(self, "polls", 0) + 1
        if self.polls > 4:
            raise KeyboardInterrupt
        return ready(self)

    monkeypatch.setattr(FolderWatch, "ready", counted)


@pytest.mark.usefixtures("few_polls")
def test_a_watch_goes_on_where_an_earlier_one_ended(
    detector_file: Path, new_parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--watch", "--csv", tmp_path / "s.csv", "--log", tmp_path / "runs.sqlite"]
    assert predict(detector_file, new_parts, *options, "--fail-on-alarm") == 3
    shown, errors = capsys.readouterr()
    assert len(shown.splitlines()) == 4 and errors == f"watching {new_parts}: 0 files judged before; Ctrl-C ends\n"
    (new_parts / "a.png").rename(new_parts / "new.png")
    assert predict(detector_file, new_parts, *options, "--fail-on-alarm") == 0
    shown, errors = capsys.readouterr()
    assert shown.startswith(f"{new_parts / 'new.png'}  ") and len(shown.splitlines()) == 2 and "3 files" in errors
    assert [Path(row["path"]).name for row in rows(tmp_path / "s.csv")][-1] == "new.png"
    assert len(rows(tmp_path / "s.csv")) == 4
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_status_1(detector_file: Path, new_parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(detector_file, new_parts, "--csv", "/dev/full") == 1
    assert capsys.readouterr().err.endswith("No space left on device: '/dev/full'\n")
