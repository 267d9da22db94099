"""Set-up of a notebook, and what it prints of a guess."""

import os
from pathlib import Path

import pytest
import torch

from fastflow_lite.course import reveal, setup
from fastflow_lite.errors import ParameterError
from fastflow_lite.files import unfinished_path


def test_reveal_accepts_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    reveal("share", None, 0.25)
    reveal("share", 0.5, 0.25)
    reveal("best", "nll", "exp_energy")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "share: 0.250 (no guess made)"
    assert lines[1].endswith("off by 0.250")
    assert "another" in lines[2]


@pytest.mark.parametrize(("guess", "truth", "kind"), [(1, "1", "a text"), ("1", 1.0, "a number")])
def test_reveal_compares_numbers_with_numbers_and_texts_with_texts(
    guess: float | str, truth: float | str, kind: str
) -> None:
    with pytest.raises(ParameterError, match=f"rate: your guess must be {kind}"):
        reveal("rate", guess, truth)


def test_fast_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert setup(0, out_dir=tmp_path / "new" / "folder").pick("full", "fast") == "full"
    monkeypatch.setenv("FASTFLOW_LITE_FAST", "1")
    assert setup(0, out_dir=tmp_path).pick("full", "fast") == "fast"


def test_what_killed_processes_left_is_removed_but_not_what_is_being_written(tmp_path: Path) -> None:
    old, new = (unfinished_path(tmp_path / "result.json") for _ in range(2))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    setup(0, out_dir=tmp_path)
    assert list(tmp_path.iterdir()) == [new]


def test_the_session_takes_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert setup(0, out_dir=tmp_path).device == torch.device("cuda")
    assert setup(0, out_dir=tmp_path, device="cuda:1").device == torch.device("cuda", 1)
    assert setup(0, out_dir=tmp_path, device="cpu").device == torch.device("cpu")
