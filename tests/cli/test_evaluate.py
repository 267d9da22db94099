"""`fastflow-lite evaluate`: metrics, decisions by name, and what is not known."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from tiny import parts

from fastflow_lite.cli import main as cli


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    """A data set in MVTec layout with masks; one defect has no spot and one good image has one."""
    folder = tmp_path / "parts"
    for part, spots in (("train/good", [0]), ("test/good", [0, 0, 1]), ("test/spot", [1, 0])):
        (folder / part).mkdir(parents=True)
        for k, spot in enumerate(spots):
            Image.fromarray(parts(1, seed=k, spot=bool(spot))[0]).save(folder / part / f"{k}.png")
    (folder / "ground_truth/spot").mkdir(parents=True)
    for k in range(2):
        mask = Image.new("L", (64, 64))
        mask.paste(255, (21, 21, 32, 32))
        mask.save(folder / f"ground_truth/spot/{k}_mask.png")
    return folder


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def test_wrong_decisions_are_named(
    detector_file: Path, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(detector_file, labeled, "--out", tmp_path / "new" / "r.json") == 0
    shown, errors = capsys.readouterr()
    layout, metrics, decisions, *wrong, place = shown.splitlines()
    assert layout == "parts: MVTec layout: train, test, ground_truth"
    assert metrics.startswith("parts: image AUROC 0.") and "pixel AUROC" in metrics and errors == ""
    assert decisions.endswith("1 of 3 good images are false alarms; 1 of 2 defects are missed")
    assert wrong == [f"false alarm: {labeled / 'test/good/2.png'}", f"missed: {labeled / 'test/spot/1.png'}"]
    assert place == f"record: {tmp_path / 'new' / 'r.json'}"
    record = json.loads((tmp_path / "new" / "r.json").read_text())
    assert record["decisions"]["recall"] == 0.5 and len(record["images"]) == 5


def test_missing_labels_are_said(detector_file: Path, labeled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(labeled / "ground_truth")
    assert evaluate(detector_file, labeled) == 0
    assert "no metric of pixels, since defects have no masks" in capsys.readouterr().out
    shutil.rmtree(labeled / "test" / "spot")
    assert evaluate(detector_file, labeled) == 0
    shown = capsys.readouterr().out
    assert "0 of 3 images show a defect, and metrics need both kinds" in shown
    assert "no image is known to show a defect, so missed ones are not counted" in shown


def test_a_folder_without_a_test_set_is_judged_as_trained_or_whole(
    detector_file: Path, labeled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (labeled / "test" / "spot").rename(labeled / "bad")
    (labeled / "test" / "good").rename(labeled / "good")
    for part in ("train", "test", "ground_truth"):
        shutil.rmtree(labeled / part)
    assert evaluate(detector_file, labeled, "--all") == 0
    layout, _, decisions, *_ = capsys.readouterr().out.splitlines()
    assert layout.endswith("normal good; defects bad; all 3 normal images are judged, also any that were trained on")
    assert "of 3 good images" in decisions and "of 2 defects" in decisions
    assert evaluate(detector_file, labeled) == 0
    layout, _, decisions, *_ = capsys.readouterr().out.splitlines()
    assert layout.endswith("1 of 3 normal images are for the test, related ones on one side")
    assert "of 1 good images" in decisions


def test_what_cannot_be_evaluated_is_one_line(
    detector_file: Path, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(detector_file, labeled, "--out", tmp_path) == 2
    assert "it is a folder, and a file is expected" in capsys.readouterr().err
    shutil.rmtree(labeled / "test")
    shutil.rmtree(labeled / "ground_truth")
    cases = {
        (): "for a test (MVTec layout: train): give --all",
        ("--all",): "to judge (MVTec layout: train): add a folder",
    }
    for option, why in cases.items():
        assert evaluate(detector_file, labeled, *option) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"holds no image {why}" in line


def test_images_of_a_test_alone_are_judged(
    detector_file: Path, labeled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(labeled / "train")
    assert evaluate(detector_file, labeled) == 0
    assert "of 3 good images" in capsys.readouterr().out
