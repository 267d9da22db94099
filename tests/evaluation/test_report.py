"""What people read: tables, the paragraph, progress. Also where numbers are undefined."""

import shutil
from pathlib import Path

import pytest

from fastflow_lite import FastFlow, evaluate
from fastflow_lite.course import reveal, setup
from fastflow_lite.datasets import open_dataset
from fastflow_lite.evaluation import Result, report
from fastflow_lite.progress import Progress


@pytest.fixture
def result(category: Path, small_model: FastFlow) -> Result:
    data = open_dataset(category.parent, category.name, image_size=(64, 48))
    return evaluate(small_model, data.test, normal=data.train)


@pytest.fixture
def without_masks(category: Path, small_model: FastFlow) -> Result:
    shutil.rmtree(category / "ground_truth")
    data = open_dataset(category.parent, category.name, image_size=(64, 48))
    return evaluate(small_model, data.test.subset([0, 1, 2]))


def test_tables_hold_the_numbers_of_the_result(result: Result) -> None:
    table = report.metrics_table(result)
    assert table.loc["exp_energy", "pixel AUROC"] == pytest.approx(
        result.variants["exp_energy"]["pixel_auroc"], abs=6e-4
    )
    assert "tempered (used below)" in table.index
    assert list(report.threshold_table(result).index) == ["fixed", "quantile", "best_f1"]
    assert list(report.defect_table(result).index) == ["square"]


def test_the_paragraph_says_what_the_record_says(result: Result) -> None:
    text = report.summary_paragraph(result)
    assert f"**{100 * result.image_auroc:.1f} %** of all pairs" in text
    assert f"AUPRO is **{result.aupro:.3f}**" in text
    assert "3 normal and 3 anomalous" in text
    assert "`quantile` finds" in text


def test_undefined_is_said_in_words(without_masks: Result) -> None:
    text = report.summary_paragraph(without_masks)
    assert "an undefined share" in text
    assert "no masks" in text
    assert "nan" not in text
    assert "image AUROC undefined" in report.summary_line(without_masks.record)


def test_plain_progress_is_one_line_an_epoch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTFLOW_LITE_PLAIN", "1")
    with Progress(epochs=3, steps=2, done=1) as bar:
        for epoch in (1, 2):
            for _ in range(2):
                bar.step(epoch, lambda: "1.0")
            bar.end_epoch(epoch, "1.000 bits/dim")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["2/3", "3/3"]
    assert lines[-1].endswith("0 s left")
    assert "\r" not in "".join(lines)


def test_reveal_accepts_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    reveal("share", None, 0.25)
    reveal("share", 0.5, 0.25)
    reveal("best", "nll", "exp_energy")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "share: 0.250 (no guess made)"
    assert said[1].endswith("off by 0.250")
    assert "another" in said[2]


def test_fast_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert setup(0, out_dir=tmp_path / "new" / "folder").pick("full", "fast") == "full"
    monkeypatch.setenv("FASTFLOW_LITE_FAST", "1")
    assert setup(0, out_dir=tmp_path).pick("full", "fast") == "fast"
