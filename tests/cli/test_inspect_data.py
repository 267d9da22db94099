"""The command inspect-data: what it prints, and its exit status."""

from pathlib import Path

import pytest
from datasets.trees import make_tree

from fastflow_lite.cli.main import main


def test_facts_then_warnings_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_tree(tmp_path / "a", "train/good/*4", "val/good/*1", "test/bad/*1", "test/ok/*1")
    (tmp_path / "a/train/good/1.png").write_bytes(b"")
    assert main(["inspect-data", str(tmp_path / "a")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "a, category a: MVTec layout: train, test",
        "train: 4 good",
        "test: 1 good, 1 bad (bad 1), 0 masks",
    ]
    told = [line for line in lines if line.startswith("warning: ")]
    assert "not used: the images in val of" in told[0]
    assert f"1 files cannot be used: image {tmp_path}/a/train/good/1.png" in told[-1]


def test_several_folders_and_a_category(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_tree(tmp_path, "a/good/*3", "b/train/ok/*2")
    assert main(["inspect-data", str(tmp_path / "a/good"), str(tmp_path / "b")]) == 0
    assert "train: 5 good" in capsys.readouterr().out
    assert main(["inspect-data", str(tmp_path), "--category", "b"]) == 0
    assert "train: 2 good" in capsys.readouterr().out


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_tree(tmp_path, "bad/*2")
    assert main(["inspect-data", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("fastflow-lite inspect-data: ") and told.err.count("\n") == 1
