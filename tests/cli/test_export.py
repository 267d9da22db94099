"""`fastflow-lite export`."""

from pathlib import Path

import pytest
import torch
from tiny import Constant, started

from fastflow_lite import FastFlow
from fastflow_lite.cli import main as cli
from fastflow_lite.cli.export import FORMATS
from fastflow_lite.detection import Detector, export_formats


def test_the_choices_are_the_formats() -> None:
    assert tuple(export_formats.FORMATS) == FORMATS


@pytest.mark.slow
def test_a_program_lies_beside_its_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, model = tmp_path / "part.safetensors", started(FastFlow(Constant(0.5, 2.0), steps=1, hidden=4))
    detector = Detector.calibrate(model, torch.rand(3, 3, 32, 32), rule=0.0, size=(32, 32))
    monkeypatch.setattr(Detector, "load", {file: detector}.__getitem__)  # a network of its own is no option here
    assert cli.main(["export", str(file), "--format", "torch"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{file.with_suffix('.pt2')}: ") and line.count("\n") == 1
    assert "images of 32 x 32 pixels" in line and "at most" in line
    assert file.with_suffix(".pt2").is_file()


def test_another_suffix_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "part.safetensors", "--format", "torch", "--out", "part.onnx"]) == 2
    assert capsys.readouterr().err == (
        "fastflow-lite export: --out must end in .pt2 for --format torch, got part.onnx\n"
    )


def test_a_missing_extra_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_formats, "find_spec", lambda name: None)
    assert cli.main(["export", str(tmp_path / "part.safetensors"), "--format", "onnx"]) == 2
    found = capsys.readouterr().err
    assert "pip install 'fastflow-lite[export]'" in found and found.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_threshold_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(tmp_path / "no.safetensors"), "--format", "torch"]) == 2
    assert "no.safetensors" in capsys.readouterr().err
