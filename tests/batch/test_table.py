"""The table of results, from records written by hand: nothing is run here."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fastflow_lite import batch
from fastflow_lite.cli import main as cli
from fastflow_lite.errors import DataError

SET = [(category, seed) for category in ("bottle", "screw") for seed in (0, 1, 10)]


def record(folder: Path, auroc: float | None, **more: Any) -> None:
    """A result as the notebooks write it, shortened."""
    metrics = {"image_auroc": auroc, "pixel_auroc": None, "aupro": 0.5, "image_ap": 0.75, "pixel_ap": 0.25}
    content = {"metrics": metrics, "seconds": {"training": 2.5, "scoring": 1.5}, "epochs": 8} | more
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(content))


def state(folder: Path, state: str, parameters: dict[str, Any], **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"state": state, "parameters": parameters, "seconds": 9.0, "attempts": 2} | more
    (folder / "run.json").write_text(json.dumps(content))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Six runs; bottle has image AUROC 0.8, 0.9, 1.0, screw 0.5, undefined, 0.7."""
    aurocs = iter((0.8, 0.9, 1.0, 0.5, None, 0.7))
    for category, seed in SET:
        folder = tmp_path / "runs" / f"category={category},seed={seed}"
        state(folder, "done", {"category": category, "seed": seed, "epochs": 8})
        record(folder, next(aurocs), parameters={"seed": -1}, weights={"description": "a file"})
    return tmp_path / "runs"


def test_one_row_a_run(runs: Path) -> None:
    table = batch.table(runs)
    assert list(zip(table["category"], table["seed"], strict=True)) == SET  # counted: 10 comes after 1
    assert table["image_auroc"].tolist()[:4] == [0.8, 0.9, 1.0, 0.5]
    assert math.isnan(table["image_auroc"][4]) and table["pixel_auroc"].isna().all()
    assert set(table["weights_used"]) == {"a file"} and set(table["epochs_made"]) == {8}
    assert set(table["seconds"]) == {9.0}
    assert batch.varying(table) == ["category", "seed"]


def test_means_over_seeds_leave_out_what_is_undefined(runs: Path) -> None:
    bottle, screw = batch.means(batch.table(runs), ["category"]).to_dict("records")
    assert (bottle["category"], bottle["runs"], bottle["image_auroc_n"]) == ("bottle", 3, 3)
    assert bottle["image_auroc"] == pytest.approx(0.9) and bottle["image_auroc_std"] == pytest.approx(0.1)
    assert (screw["runs"], screw["image_auroc_n"]) == (3, 2)
    assert screw["image_auroc"] == pytest.approx(0.6) and screw["image_auroc_std"] == pytest.approx(math.sqrt(0.02))
    assert math.isnan(screw["pixel_auroc"]) and screw["pixel_auroc_n"] == 0


def test_both_tables_are_printed_as_markdown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert "| bottle | 10 | 1.000 | - | 0.500 | 0.750 | 0.250 | 9 | 8 | a file |" in printed
    assert "The same in all runs: epochs=8." in printed
    assert "| bottle | 3 | 0.900 ± 0.100 | - | 0.500 ± 0.000 |" in printed
    assert "| screw | 3 | 0.600 ± 0.141 (n=2) | - |" in printed


def test_means_by_a_chosen_parameter(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table", str(runs), "--by", "seed"]) == 0
    assert "| 10 | 2 | 0.850 ± 0.212 |" in capsys.readouterr().out
    assert cli.main(["table", str(runs), "--by", "sed"]) == 2
    assert "there are category, seed, epochs" in capsys.readouterr().err


def test_csv_holds_every_run_unrounded(runs: Path, tmp_path: Path) -> None:
    assert cli.main(["table", str(runs), "--csv", str(tmp_path / "all.csv")]) == 0
    table = pd.read_csv(tmp_path / "all.csv")
    assert len(table) == 6 and table["image_auroc"][5] == 0.7 and table["epochs"].tolist() == [8] * 6


def test_failed_and_unfinished_runs_are_named_and_not_counted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"type": "ValueError", "message": "first line\nthe last line", "traceback": "..."}
    state(runs / "category=cable,seed=0", "failed", {"category": "cable", "seed": 0}, error=error)
    record(runs / "category=cable,seed=0", 0.1)  # written before the notebook failed: no result
    state(runs / "category=pill,seed=0", "running", {"category": "pill", "seed": 0})
    assert len(batch.table(runs)) == 6
    cli.main(["table", str(runs)])
    printed = capsys.readouterr().out.splitlines()
    assert "failed: category=cable,seed=0: ValueError: the last line (attempts: 2)" in printed
    assert "unfinished: category=pill,seed=0" in printed


def test_a_damaged_file_is_named_and_left_out(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "category=screw,seed=1" / "result.json").write_text('{"metrics": {')
    (runs / "category=screw,seed=10" / "run.json").write_text("[]")
    with pytest.warns(UserWarning, match=r"left out: .*seed=1.*json"):
        assert len(batch.table(runs)) == 4
    capsys.readouterr()
    assert cli.main(["table", str(runs)]) == 0
    printed = capsys.readouterr().err.splitlines()
    assert [line.rpartition("/")[2].split(":")[0] for line in printed] == ["result.json", "run.json"]


def test_records_without_a_batch_count_too(tmp_path: Path) -> None:
    model, size = {"backbone": "resnet18", "seed": 3}, [64, 48]
    record(tmp_path / "demo", 0.9, data={"category": "weave"}, model=model, parameters={"image_size": size})
    record(tmp_path / ".hidden", 0.1)
    (row,) = batch.table(tmp_path).to_dict("records")
    assert (row["run"], row["category"], row["backbone"], row["seed"]) == ("demo", "weave", "resnet18", 3)
    assert row["image_size"] == "[64, 48]" and row["seconds"] == 4.0


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no result\.json"):
        batch.table(tmp_path / "nowhere")


def test_only_failures_are_a_table_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state(tmp_path / "seed=0", "failed", {"seed": 0}, error={"type": "KilledWorker", "message": ""})
    assert batch.table(tmp_path).empty
    assert cli.main(["table", str(tmp_path)]) == 0
    assert "failed: seed=0: KilledWorker (attempts: 2)" in capsys.readouterr().out
