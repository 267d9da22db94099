"""What `fastflow-lite train` refuses before it reads data or loads weights."""

import re
from pathlib import Path

import pytest

from fastflow_lite.cli import main as cli
from fastflow_lite.cli import train


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--backbone", "resnet81"], "backbone must be one of .* got 'resnet81'"),
        (["--backbone", "resnet34"], "weights must be 'timm', 'random' or a file with weights of resnet34"),
        (["--weights", "nowhere.pth"], "weights must be .* or a file that exists, got 'nowhere.pth'"),
        (["--image-size", "100"], r"image_size must be .* a multiple of 16 \(near: 96 and 112\).* got 100"),
        (["--seed", "-1"], "seed must be a whole number of at least 0 and below 2\\*\\*32, got -1"),
        (["--seed", str(2**32)], "seed must be a whole number"),
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
    monkeypatch.setattr(train, "open_dataset", reached)
    monkeypatch.setattr(train, "FastFlow", reached)
    out = [] if "--out" in options else ["--out", "new"]
    assert cli.main(["train", *options, *out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(why, line), line
    assert not Path("new").exists()


def test_a_size_that_does_not_fit_another_network_is_refused_before_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "open_dataset", lambda *_, **__: pytest.fail("data were read"))
    options = ["--backbone", "resnet10t", "--weights", "random", "--image-size", "100", "--steps", "1"]
    assert cli.main(["train", *options, "--out", str(tmp_path)]) == 2
    assert "image size (100, 100)" in capsys.readouterr().err
