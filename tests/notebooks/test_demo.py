"""What `make demo` prints: the story of the run, and its log where the run stopped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import demo
import pytest

from fastflow_lite import Result

LOG = """\
Executing Cell 7---------------------------------------
58 to train, 6 held out, 50 to test

Ending Cell 7------------------------------------------
weights: learned from formula-made images only, no photograph
epoch 1/8  0.180 bits/dim (-0.102 held out)  76 s left
<Figure size 400x300>
"""


def printing(text: str, status: int = 0) -> list[str]:
    return [sys.executable, "-c", f"import sys; print({text!r}); sys.exit({status})"]


def test_the_story_has_epochs_numbers_figures_and_what_is_next(
    result: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"strategy": "quantile", "recall": 0.9, "false_alarm_rate": 0.05}]
    (tmp_path / "result.json").write_text(json.dumps({**result.record, "thresholds": rows}))
    (tmp_path / "gallery.png").touch()
    assert demo.main(tmp_path, printing(LOG)) == 0
    printed = capsys.readouterr().out
    assert "58 to train" in printed and "epoch 1/8  0.180 bits/dim" in printed and "image AUROC" in printed
    assert "90 % of the defects found, 5 % false alarms" in printed
    assert f"{tmp_path / 'gallery.png'}  image, true mask" in printed and "loss.png" not in printed
    assert "Where to look next" in printed
    assert "Cell" not in printed and "<Figure" not in printed


def test_a_run_that_stops_shows_the_end_of_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(tmp_path, printing("ValueError: no such category", 1)) == 1
    assert "ValueError: no such category" in capsys.readouterr().err
